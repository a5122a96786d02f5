//! What the sessions of each dialect got, those that have ended included.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use roverline_protocol::api::DialectDocument;
use roverline_protocol::status::SessionDocument;

use crate::dialect::Dialect;

/// Counters by dialect.
#[derive(Debug, Default)]
pub struct DialectCounters(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    /// What ended sessions got.
    ended: BTreeMap<String, DialectDocument>,
    /// What was last said.
    told: BTreeMap<String, DialectDocument>,
}

fn add(into: &mut DialectDocument, session: &SessionDocument) {
    into.delivered += session.sent;
    into.delivered_bytes += session.sent_bytes;
    into.dropped += session.dropped;
}

impl DialectCounters {
    /// A session has ended.
    pub fn ended(&self, session: &SessionDocument) {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        add(tables.ended.entry(session.dialect.clone()).or_default(), session);
    }

    /// All of it, with these running sessions.
    pub fn documents(&self, sessions: &[SessionDocument]) -> BTreeMap<String, DialectDocument> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = tables.ended.clone();
        for dialect in Dialect::ALL {
            all.entry(dialect.name().to_owned()).or_default();
        }
        for session in sessions {
            let counts = all.entry(session.dialect.clone()).or_default();
            counts.sessions += 1;
            add(counts, session);
        }
        // A plain session may turn out to be another's and take its counts along: what was said once
        // is not taken back, because a counter that falls reads as a restart.
        for (dialect, counts) in &mut all {
            let told = tables.told.entry(dialect.clone()).or_default();
            counts.delivered = counts.delivered.max(told.delivered);
            counts.delivered_bytes = counts.delivered_bytes.max(told.delivered_bytes);
            counts.dropped = counts.dropped.max(told.dropped);
            *told = *counts;
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
    fn what_has_ended_counts_on_and_nothing_falls() {
        let counters = DialectCounters::default();
        assert_eq!(counters.documents(&[]).len(), 4, "those that nobody speaks are zero");
        counters.ended(&session("native", 3));
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
