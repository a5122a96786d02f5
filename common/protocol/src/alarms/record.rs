//! The shared record of an alarm: raised, acknowledged, cleared, shelved.
//!
//! ```text
//!            condition begins                    acknowledged
//! cleared ────────────────────▶ raised ─────────────────────────▶ acknowledged
//!    ▲                          │    ▲ condition becomes worse      │
//!    │  condition ends,         │    └──────────────────────────────┤
//!    │  not latching            │                                   │
//!    ├──────────────────────────┤ condition ends, latching:         │ condition ends
//!    │       acknowledged       ▼ stays raised, latched             │
//!    └──────────────────────────┴───────────────────────────────────┘
//! ```

mod action;
mod merge;
mod view;

use serde::{Deserialize, Serialize};

use crate::Tier;
pub use crate::alarms::record::action::{Acknowledgement, AlarmActionError, Operator, Shelf};
pub use crate::alarms::record::view::Reading;
use crate::api::alarms::{AlarmSeverity, AlarmSource, AlarmState};

/// Least time between two stored refreshes of a condition's text and value, nanoseconds.
const REFRESH_NS: i64 = 10_000_000_000;

/// What an alarm is about. It is part of the record, since other gateways may be configured differently.
#[derive(Clone, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(default)]
pub struct AlarmSubject {
    /// Its name for people.
    pub name: String,
    /// What raises it.
    pub source: AlarmSource,
    /// The topic.
    pub topic: Option<String>,
    /// The field.
    pub field: Option<String>,
    /// Unit of value and limit.
    pub unit: String,
    /// Whether it stays raised until it is acknowledged.
    pub latching: bool,
}

/// A condition as it was at its last transition.
#[derive(Clone, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Number of the transition.
    pub sequence: u64,
    /// Severity; `None`: the condition is over.
    pub severity: Option<AlarmSeverity>,
    /// When, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// When it was refreshed last, nanoseconds since the Unix epoch.
    pub refreshed_ns: i64,
    /// The value; finite.
    pub value: Option<f64>,
    /// The limit that it exceeds or exceeded last; finite.
    pub limit: Option<f64>,
    /// What is the matter.
    pub text: String,
    /// The endpoint that evaluated it.
    pub evaluated_by: Option<Tier>,
    /// The subject.
    pub subject: AlarmSubject,
}

/// What an endpoint observes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Severity after hysteresis and delays; `None`: the value is good.
    pub severity: Option<AlarmSeverity>,
    /// The value, if there is one.
    pub value: Option<f64>,
    /// The limit that it exceeds.
    pub limit: Option<f64>,
    /// What is the matter; empty while it is good.
    pub text: String,
    /// The subject.
    pub subject: AlarmSubject,
    /// The observing endpoint.
    pub evaluated_by: Option<Tier>,
    /// Trace of the sample, if it was traced.
    pub trace_id: Option<String>,
}

/// The record of an alarm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlarmRecord {
    /// Number of the occurrence: it begins when a cleared alarm is raised; 0: it was never raised.
    pub occurrence: u64,
    /// When the occurrence began, nanoseconds since the Unix epoch.
    pub raised_ns: i64,
    /// The worst severity of the occurrence.
    pub worst: AlarmSeverity,
    /// How often the condition began in the occurrence.
    pub triggers: u64,
    /// Trace of the sample that raised it.
    pub trace_id: Option<String>,
    /// The condition.
    pub condition: Condition,
    /// The newest acknowledgement of the occurrence.
    pub acknowledgement: Option<Acknowledgement>,
    /// Number of the shelf's last change.
    pub shelf_sequence: u64,
    /// The shelf, which outlasts occurrences.
    pub shelf: Option<Shelf>,
}

impl AlarmRecord {
    /// Its state. An alarm that was never raised is cleared.
    pub fn state(&self) -> AlarmState {
        let is_active = self.condition.severity.is_some();
        match (self.occurrence > 0, is_active, self.is_acknowledged()) {
            (false, _, _) => AlarmState::Cleared,
            (true, true, true) => AlarmState::Acknowledged,
            (true, true, false) => AlarmState::Raised,
            (true, false, false) if self.condition.subject.latching => AlarmState::Raised,
            (true, false, _) => AlarmState::Cleared,
        }
    }

    /// Whether the worst of the occurrence was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledgement.as_ref().is_some_and(|acknowledgement| acknowledgement.severity >= self.worst)
    }

    /// Whether it is shelved at a time, in nanoseconds since the Unix epoch.
    pub fn is_shelved(&self, now_ns: i64) -> bool {
        self.shelf.as_ref().is_some_and(|shelf| shelf.is_in_effect(now_ns))
    }

    /// The record after an observation; `None` if it does not change. `now_ns` are nanoseconds since the Unix epoch.
    #[must_use]
    pub fn observe(&self, observation: &Observation, now_ns: i64) -> Option<AlarmRecord> {
        let before = self.condition.severity;
        let after = observation.severity;
        if before == after {
            return self.refresh(observation, now_ns);
        }
        let mut next = self.clone();
        next.condition = Condition {
            sequence: self.condition.sequence + 1,
            severity: after,
            at_ns: now_ns,
            refreshed_ns: now_ns,
            value: observation.value.and_then(rounded),
            limit: observation.limit.and_then(rounded).or(self.condition.limit),
            text: if after.is_some() { observation.text.clone() } else { self.condition.text.clone() },
            evaluated_by: observation.evaluated_by,
            subject: observation.subject.clone(),
        };
        let Some(after) = after else { return Some(next) };
        if self.state() == AlarmState::Cleared {
            next.occurrence += 1;
            next.raised_ns = now_ns;
            next.worst = after;
            next.triggers = 0;
            next.acknowledgement = None;
            next.trace_id = observation.trace_id.clone();
        }
        next.worst = next.worst.max(after);
        if before.is_none() {
            next.triggers += 1;
        }
        Some(next)
    }

    /// The record with a newer value and text, now and then, for those that do not evaluate the alarm themselves.
    fn refresh(&self, observation: &Observation, now_ns: i64) -> Option<AlarmRecord> {
        let condition = &self.condition;
        let value = observation.value.and_then(rounded);
        let is_same = condition.value == value && condition.text == observation.text;
        let is_due = now_ns.abs_diff(condition.refreshed_ns) >= REFRESH_NS.unsigned_abs();
        if condition.severity.is_none() || is_same || !is_due {
            return None;
        }
        let mut next = self.clone();
        next.condition.refreshed_ns = now_ns.max(condition.refreshed_ns + 1);
        next.condition.value = value.or(condition.value);
        next.condition.limit = observation.limit.and_then(rounded).or(condition.limit);
        next.condition.text = observation.text.clone();
        next.condition.evaluated_by = observation.evaluated_by;
        Some(next)
    }
}

/// A finite value of nine digits, which JSON carries exactly.
fn rounded(value: f64) -> Option<f64> {
    format!("{value:.8e}").parse().ok().filter(|value: &f64| value.is_finite())
}
