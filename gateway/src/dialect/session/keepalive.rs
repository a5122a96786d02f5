//! Keepalive and liveness monitoring for one session: whether the client still answers, and how much its
//! link carries.

use std::time::Duration;

use roverline_protocol::native;
use roverline_protocol::service_level::{Ladder, ServiceLevel, Step};
use roverline_protocol::status::EventKind;

use crate::connection::close_reason::CloseReason;
use crate::connection::outbox::Outbox;
use crate::dialect::session::SessionContext;
use crate::endpoint::events::EventDetails;
use crate::limits;

/// A client without a sign of life for this long gets nothing more queued in the network.
const CLIENT_SILENT_MS: u64 = 1_500;
/// Interval of WebSocket pings to clients whose dialect has no sign of life of its own.
const PING_MS: u64 = 1_000;

/// Monitors one session; its dialect polls it several times a second.
#[derive(Default)]
pub(super) struct SessionMonitor {
    ladder: Ladder,
    polled_at: Option<Duration>,
    pinged_at: Duration,
    lost: u64,
    reported_at: Duration,
    reported_shed: u64,
}

/// A change of the session's service level, to be reported to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReport {
    /// The current service level.
    pub level: ServiceLevel,
    /// The reason for it.
    pub reason: String,
    /// Samples not sent because of it, since the session began.
    pub shed: u64,
}

const PING: Duration = Duration::from_millis(PING_MS);
const SILENT: Duration = Duration::from_millis(CLIENT_SILENT_MS);
const STALLED: Duration = Duration::from_millis(limits::CLIENT_STALL_MS);
const REPORT_INTERVAL: Duration = Duration::from_millis(limits::SHED_REPORT_MS);
/// A gap between two polls that is longer than this means that this process was suspended.
const SUSPENDED_AFTER: Duration = Duration::from_millis(CLIENT_SILENT_MS / 2);

impl SessionMonitor {
    /// Checks the session at `now` (monotonic): returns a report for the client, or an error that ends
    /// the session.
    pub(super) fn poll(
        &mut self,
        context: &SessionContext,
        now: Duration,
    ) -> Result<Option<ServiceReport>, CloseReason> {
        let outbox = context.info.outbox();
        context.endpoint.counters.links.count(&context.info);
        match self.check_liveness(outbox, now) {
            Liveness::Gone(silence) => {
                let reason = format!("no sign of life for {} s", silence.as_secs());
                let cause = format!("{}: {reason}", context.info.client());
                let details = EventDetails::default();
                context.endpoint.record_of_session(&context.info, EventKind::Stalled, &cause, details);
                return Err(CloseReason::new(native::CLOSE_SILENT, reason));
            }
            Liveness::Silent => return Ok(None),
            Liveness::Alive => {}
        }
        let step = self.measure(outbox, now);
        if let Some(step) = &step {
            note(context, step);
        }
        Ok(self.service_report(outbox, step, now))
    }

    fn check_liveness(&mut self, outbox: &Outbox, now: Duration) -> Liveness {
        let polled_at = self.polled_at.replace(now);
        if polled_at.is_none_or(|at| now.saturating_sub(at) > SUSPENDED_AFTER) {
            // This process was suspended, so the client's silence in that time does not count.
            outbox.note_activity(now);
            self.ladder.forget();
        }
        if now.saturating_sub(self.pinged_at) >= PING {
            self.pinged_at = now;
            outbox.ping();
            outbox.measure_link(now);
        }
        let silence = outbox.idle_for(now);
        let away = silence >= SILENT;
        if outbox.pause(away, now) {
            self.ladder.forget();
            tracing::debug!(?silence, away, "a client's signs of life");
        }
        match away {
            _ if silence >= STALLED => Liveness::Gone(silence),
            true => Liveness::Silent,
            false => Liveness::Alive,
        }
    }

    fn measure(&mut self, outbox: &Outbox, now: Duration) -> Option<Step> {
        let (waited, lost) = outbox.measure(now);
        let newly_lost = lost.saturating_sub(std::mem::replace(&mut self.lost, lost));
        let step = self.ladder.observe(now, waited, newly_lost)?;
        outbox.set_level(step.to);
        Some(step)
    }

    fn service_report(
        &mut self,
        outbox: &Outbox,
        step: Option<Step>,
        now: Duration,
    ) -> Option<ServiceReport> {
        let due = now.saturating_sub(self.reported_at) >= REPORT_INTERVAL;
        if step.is_none() && !due {
            return None;
        }
        let shed = outbox.stats().shed;
        if step.is_none() && shed == self.reported_shed {
            return None;
        }
        (self.reported_at, self.reported_shed) = (now, shed);
        let level = self.ladder.level();
        let reason = step.map_or_else(|| "the link does not carry all".to_owned(), |step| step.reason);
        Some(ServiceReport { level, reason, shed })
    }
}

enum Liveness {
    Alive,
    Silent,
    Gone(Duration),
}

fn note(context: &SessionContext, step: &Step) {
    let kind = if step.to > step.from { EventKind::Degraded } else { EventKind::Recovered };
    let details = EventDetails {
        from: Some(step.from.word().to_owned()),
        to: Some(step.to.word().to_owned()),
        ..EventDetails::default()
    };
    let cause = format!("{}: {}", context.info.client(), step.reason);
    context.endpoint.record_of_session(&context.info, kind, &cause, details);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use roverline_protocol::Priority;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn first_silent(monitor: &mut SessionMonitor, outbox: &Outbox, from: u64, to: u64) -> Option<u64> {
        (from..to)
            .step_by(100)
            .find(|now| matches!(monitor.check_liveness(outbox, ms(*now)), Liveness::Silent))
    }

    #[test]
    fn a_silent_client_is_paused_and_one_that_never_answered_is_not() {
        let (mut monitor, outbox) = (SessionMonitor::default(), Outbox::new());
        assert_eq!(first_silent(&mut monitor, &outbox, 0, 60_000), None);
        outbox.expect_liveness();
        outbox.note_activity(ms(60_000));
        assert_eq!(first_silent(&mut monitor, &outbox, 60_000, 70_000), Some(61_500));
        assert!(outbox.is_paused());
        outbox.note_activity(ms(61_600));
        assert_eq!(first_silent(&mut monitor, &outbox, 61_600, 62_000), None);
        assert!(!outbox.is_paused());
        let gone = (62_000..100_000)
            .step_by(100)
            .find(|now| matches!(monitor.check_liveness(&outbox, ms(*now)), Liveness::Gone(_)));
        assert_eq!(gone, Some(91_600));
    }

    #[test]
    fn a_suspended_gateway_does_not_count_as_client_silence() {
        let (mut monitor, outbox) = (SessionMonitor::default(), Outbox::new());
        outbox.expect_liveness();
        first_silent(&mut monitor, &outbox, 0, 1_000);
        assert!(matches!(monitor.check_liveness(&outbox, ms(50_000)), Liveness::Alive));
    }

    #[test]
    fn a_standing_queue_lowers_the_service_level_and_is_reported() {
        let (mut monitor, outbox) = (SessionMonitor::default(), Outbox::new());
        outbox.every(1, Priority::State, Bytes::from_static(b"x"), ms(0));
        let step = (100..3_000).step_by(100).find_map(|now| monitor.measure(&outbox, ms(now)));
        assert_eq!(outbox.level(), ServiceLevel::Reduced);
        let report = monitor.service_report(&outbox, step, ms(1_300)).unwrap();
        assert_eq!((report.level, report.shed), (ServiceLevel::Reduced, 0));
        assert_eq!(monitor.service_report(&outbox, None, ms(9_000)), None);
        outbox.count_shed();
        assert_eq!(monitor.service_report(&outbox, None, ms(9_100)).unwrap().shed, 1);
    }
}
