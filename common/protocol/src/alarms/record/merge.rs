//! Merges two records of one alarm that were changed independently: commutative, associative and idempotent.

use std::cmp::Ordering;

use crate::alarms::record::action::Acknowledgement;
use crate::alarms::record::{AlarmRecord, Condition};

impl AlarmRecord {
    /// The record that has what either has: the newer occurrence; of the same one, the earlier beginning, the worse
    /// severity, the later condition, and an acknowledgement, whoever has one.
    #[must_use]
    pub fn merge(&self, other: &AlarmRecord) -> AlarmRecord {
        let (newer, older) = if self.occurrence >= other.occurrence { (self, other) } else { (other, self) };
        let mut merged = newer.clone();
        if newer.occurrence == older.occurrence {
            merged.raised_ns = newer.raised_ns.min(older.raised_ns);
            merged.worst = newer.worst.max(older.worst);
            merged.triggers = newer.triggers.max(older.triggers);
            merged.trace_id = newer.trace_id.clone().max(older.trace_id.clone());
            merged.acknowledgement = join(&newer.acknowledgement, &older.acknowledgement);
            if order(&newer.condition, &older.condition) == Ordering::Less {
                merged.condition = older.condition.clone();
            }
        }
        let shelves = [self, other].map(|record| (record.shelf_sequence, record.shelf.clone()));
        let [a, b] = shelves;
        (merged.shelf_sequence, merged.shelf) = a.max(b);
        merged
    }
}

/// The acknowledgement of the worse severity; of the same one, the first.
fn join(a: &Option<Acknowledgement>, b: &Option<Acknowledgement>) -> Option<Acknowledgement> {
    let (Some(a), Some(b)) = (a, b) else { return a.clone().or_else(|| b.clone()) };
    let first = a.severity.cmp(&b.severity).then_with(|| b.at_ns.cmp(&a.at_ns)).then_with(|| b.cmp(a));
    Some(if first == Ordering::Less { b.clone() } else { a.clone() })
}

/// The order of two conditions of one occurrence: later is greater.
fn order(a: &Condition, b: &Condition) -> Ordering {
    let time = |condition: &Condition| (condition.sequence, condition.at_ns, condition.refreshed_ns);
    // Values are finite, so that everything compares. Of the same moment, whichever.
    time(a).cmp(&time(b)).then_with(|| a.partial_cmp(b).unwrap_or(Ordering::Equal))
}
