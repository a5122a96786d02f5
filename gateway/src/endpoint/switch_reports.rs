//! Clients' reports that they switched endpoints: bounded per session and per address, and recorded only if
//! the client has a right to act. Those of observers are counted.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::native::SwitchReport;
use roverline_protocol::status::EventKind;

use crate::access::Role;
use crate::connection::client_address::ClientAddress;
use crate::endpoint::Endpoint;
use crate::endpoint::events::EventDetails;
use crate::endpoint::sessions::SessionInfo;

/// The period in which reports are counted.
const PERIOD_MS: u64 = 60_000;
/// Reports of one session in a period.
const REPORTS_PER_SESSION: u32 = 12;
/// Reports of one address in a period.
const REPORTS_PER_ADDRESS: u32 = 120;
/// Sessions and addresses that are remembered.
const REMEMBERED: usize = 1_024;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Reporter {
    Session(u64),
    Address(ClientAddress),
}

/// The reports of the current period.
#[derive(Default)]
pub struct SwitchReports(Mutex<HashMap<Reporter, (Duration, u32)>>);

impl SwitchReports {
    /// Counts a report at `now` (monotonic); returns whether it is within the bounds.
    fn admits(&self, session: u64, address: ClientAddress, now: Duration) -> bool {
        let period = Duration::from_millis(PERIOD_MS);
        let mut seen = self.0.lock();
        if seen.len() >= REMEMBERED {
            seen.retain(|_, (begun, _)| now.saturating_sub(*begun) < period);
        }
        if seen.len() >= REMEMBERED {
            return false;
        }
        let mut count = |reporter, most| {
            let (begun, count) = seen.entry(reporter).or_insert((now, 0));
            if now.saturating_sub(*begun) >= period {
                (*begun, *count) = (now, 0);
            }
            *count = count.saturating_add(1);
            *count <= most
        };
        count(Reporter::Session(session), REPORTS_PER_SESSION)
            && count(Reporter::Address(address), REPORTS_PER_ADDRESS)
    }
}

impl Endpoint {
    /// Records an event of a session. Events of observers are only counted: a client without rights must not write
    /// into the team's log or cause messages to other clients.
    pub fn record_of_session(
        &self,
        session: &SessionInfo,
        kind: EventKind,
        cause: &str,
        details: EventDetails,
    ) {
        if session.identity().role < Role::Operator {
            self.counters.fairness.observers_events.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.events.record(kind, cause, details);
    }

    /// Records a failover reported by a client.
    pub fn record_failover(&self, session: &SessionInfo, report: SwitchReport) {
        let fairness = &self.counters.fairness;
        if session.identity().role < Role::Operator {
            fairness.observers_switched.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let now = roverline_source::clock::monotonic();
        if !self.switch_reports.admits(session.id, ClientAddress::of(session.peer().ip()), now) {
            fairness.refused_switch_reports.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if let Some(blackout) = report.blackout_ms {
            self.counters.failovers.add(blackout);
        }
        let cause = format!("{}: {}", session.client(), report.cause);
        let details = EventDetails {
            from: report.from,
            to: report.to,
            blackout_ms: report.blackout_ms,
            replayed: Some(report.replayed),
            missing: Some(report.missing),
            by: Some(session.label()),
            client: session.client_name(),
            trace_id: report.trace_id.and_then(|id| id.parse().ok()),
        };
        self.events.record(EventKind::Failover, &cause, details);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_bounded_by_session_and_by_address() {
        let reports = SwitchReports::default();
        let address = ClientAddress::of("10.0.0.1".parse().unwrap());
        let at = Duration::from_secs;
        let admitted = |session, now| (0..1_000).filter(|_| reports.admits(session, address, now)).count();
        assert_eq!(admitted(1, at(5)), REPORTS_PER_SESSION as usize);
        let by_others: usize = (2..100).map(|session| admitted(session, at(6))).sum();
        assert_eq!(by_others, (REPORTS_PER_ADDRESS - REPORTS_PER_SESSION) as usize);
        assert_eq!(admitted(1, at(64)), 0);
        assert_eq!(admitted(1, at(70)), REPORTS_PER_SESSION as usize);
        assert!(
            (200..5_000).map(|session| reports.admits(session, address, at(70))).filter(|ok| *ok).count()
                < 200
        );
        assert!(reports.0.lock().len() <= REMEMBERED + 1);
    }
}
