//! Lists of alarms: their order, their filters and their totals.

use std::cmp::Reverse;

use crate::api::alarms::{AlarmDocument, AlarmSeverity, AlarmState, AlarmTotals};

/// Which alarms of a list are requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlarmFilter {
    /// Only of this state.
    pub state: Option<AlarmState>,
    /// Only of this severity or worse.
    pub severity: Option<AlarmSeverity>,
    /// Only those that are shelved (`true`), or those that are not.
    pub shelved: Option<bool>,
}

impl AlarmFilter {
    /// Whether an alarm matches.
    pub fn matches(&self, alarm: &AlarmDocument) -> bool {
        self.state.is_none_or(|state| alarm.state == state)
            && self.severity.is_none_or(|severity| alarm.severity >= severity)
            && self.shelved.is_none_or(|shelved| alarm.shelved.is_some() == shelved)
    }
}

/// Sorts alarms: the unshelved first, then by state, severity (the worst first) and time (the newest first).
pub fn sort(alarms: &mut [AlarmDocument]) {
    alarms.sort_by_cached_key(|alarm| {
        let when = Reverse((alarm.severity, alarm.raised_ns));
        (alarm.shelved.is_some(), alarm.state, when, alarm.id.clone())
    });
}

/// The totals of alarms.
pub fn totals(alarms: &[AlarmDocument]) -> AlarmTotals {
    let mut totals = AlarmTotals {
        by_severity: AlarmSeverity::ALL.into_iter().map(|severity| (severity, 0)).collect(),
        ..AlarmTotals::default()
    };
    for alarm in alarms {
        if alarm.state == AlarmState::Cleared {
            totals.cleared += 1;
        } else if alarm.shelved.is_some() {
            totals.shelved += 1;
        } else {
            totals.open += 1;
            totals.unacknowledged += usize::from(alarm.state == AlarmState::Raised);
            totals.latched += usize::from(alarm.latched);
            *totals.by_severity.entry(alarm.severity).or_default() += 1;
            totals.worst = totals.worst.max(Some(alarm.severity));
        }
    }
    totals
}
