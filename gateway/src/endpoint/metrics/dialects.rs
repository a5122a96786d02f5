//! Delivery counters by dialect, including sessions that have ended.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use roverline_protocol::api::DialectDocument;
use roverline_protocol::status::SessionDocument;

use crate::connection::dialect::Dialect;

/// Counters by dialect.
#[derive(Debug, Default)]
pub struct DialectCounters(Mutex<ByDialect>);

#[derive(Debug, Default)]
struct ByDialect {
    /// Names of the dialects that are shown even if no client speaks them.
    declared: Vec<&'static str>,
    /// Totals of ended sessions.
    ended: BTreeMap<String, DialectDocument>,
    /// The values last reported.
    reported: BTreeMap<String, DialectDocument>,
}

fn add(into: &mut DialectDocument, session: &SessionDocument) {
    into.delivered += session.sent;
    into.delivered_bytes += session.sent_bytes;
    into.dropped += session.dropped;
}

impl DialectCounters {
    /// Shows these dialects, with zeros until a client speaks them.
    pub fn declare(&self, dialects: impl Iterator<Item = Dialect>) {
        self.0.lock().declared = dialects.map(Dialect::name).collect();
    }

    /// Adds an ended session to the totals.
    pub fn add_ended(&self, session: &SessionDocument) {
        let mut tables = self.0.lock();
        add(tables.ended.entry(session.dialect.clone()).or_default(), session);
    }

    /// The counters of all dialects, including these running sessions.
    pub fn documents(&self, sessions: &[SessionDocument]) -> BTreeMap<String, DialectDocument> {
        let mut tables = self.0.lock();
        let mut all = tables.ended.clone();
        for name in &tables.declared {
            all.entry((*name).to_owned()).or_default();
        }
        for session in sessions {
            let counts = all.entry(session.dialect.clone()).or_default();
            counts.sessions += 1;
            add(counts, session);
        }
        // A plain session may turn out to be a rosbridge session and move its counts there. A counter never
        // decreases, because Prometheus reads that as a restart.
        for (dialect, counts) in &mut all {
            let reported = tables.reported.entry(dialect.clone()).or_default();
            counts.delivered = counts.delivered.max(reported.delivered);
            counts.delivered_bytes = counts.delivered_bytes.max(reported.delivered_bytes);
            counts.dropped = counts.dropped.max(reported.dropped);
            *reported = *counts;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(dialect: &str, sent: u64) -> SessionDocument {
        SessionDocument {
            id: 1,
            peer: String::new(),
            dialect: dialect.to_owned(),
            role: String::new(),
            client: String::new(),
            sent,
            sent_bytes: sent * 10,
            dropped: 1,
            queued_bytes: 0,
            service: Default::default(),
            shed: 0,
            standby: false,
        }
    }

    #[test]
    fn ended_sessions_count_and_no_counter_decreases() {
        let counters = DialectCounters::default();
        counters.declare(["native", "plain"].map(Dialect::new).into_iter());
        assert_eq!(counters.documents(&[]).len(), 2, "a dialect without clients is zero");
        counters.add_ended(&session("native", 3));
        let both = counters.documents(&[session("native", 4), session("plain", 5)]);
        let wanted = DialectDocument { sessions: 1, delivered: 7, delivered_bytes: 70, dropped: 2 };
        assert_eq!((both["native"], both["plain"].delivered), (wanted, 5));
        let turned = counters.documents(&[session("rosbridge", 6)]);
        assert_eq!(
            (turned["plain"].sessions, turned["plain"].delivered, turned["rosbridge"].delivered),
            (0, 5, 6)
        );
    }
}
