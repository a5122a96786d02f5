//! What operators do about alarms: acknowledge, shelve, unshelve.

use serde::{Deserialize, Serialize};

use crate::alarms::record::AlarmRecord;
use crate::api::alarms::{AlarmSeverity, SHELF_MAX_S};

/// Nanoseconds of a second.
const SECOND_NS: i64 = 1_000_000_000;

/// The operator of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Operator {
    /// The identity: a token's name, or the address of a client without one.
    pub by: String,
    /// The unverified name that the client of that identity declares.
    pub client: Option<String>,
}

/// An acknowledgement.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The severity that was acknowledged.
    pub severity: AlarmSeverity,
    /// When, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// The operator.
    #[serde(flatten)]
    pub operator: Operator,
    /// The comment.
    pub comment: String,
}

/// A shelf: the alarm does not count as open until it ends. One that ends when it begins takes the alarm off the shelf.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shelf {
    /// When it ends, nanoseconds since the Unix epoch.
    pub until_ns: i64,
    /// When it began, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// The operator.
    #[serde(flatten)]
    pub operator: Operator,
    /// The reason.
    pub reason: String,
}

impl Shelf {
    /// Whether it took the alarm off the shelf.
    pub fn is_end(&self) -> bool {
        self.until_ns <= self.at_ns
    }

    /// Whether it is in effect at a time, in nanoseconds since the Unix epoch. A clock that was set back does not
    /// make it last for longer than the longest shelf.
    pub fn is_in_effect(&self, now_ns: i64) -> bool {
        now_ns < self.until_ns && self.until_ns.saturating_sub(now_ns) <= SHELF_MAX_S as i64 * SECOND_NS
    }
}

/// Why an action is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlarmActionError {
    /// It was never raised.
    #[error("this alarm was never raised")]
    NeverRaised,
    /// It was raised again since the operator saw it; with the present occurrence.
    #[error("it was raised again since: this is occurrence {0}")]
    RaisedAgain(u64),
    /// It is not shelved.
    #[error("it is not shelved")]
    NotShelved,
}

impl AlarmRecord {
    /// Acknowledges the alarm, or the `occurrence` of it that the operator saw. `None` if that was done already. Time is
    /// in nanoseconds since the Unix epoch.
    pub fn acknowledge(
        &self,
        operator: &Operator,
        comment: &str,
        occurrence: Option<u64>,
        now_ns: i64,
    ) -> Result<Option<AlarmRecord>, AlarmActionError> {
        if self.occurrence == 0 {
            return Err(AlarmActionError::NeverRaised);
        }
        if occurrence.is_some_and(|occurrence| occurrence != self.occurrence) {
            return Err(AlarmActionError::RaisedAgain(self.occurrence));
        }
        if self.is_acknowledged() {
            return Ok(None);
        }
        let acknowledgement = Acknowledgement {
            severity: self.worst,
            at_ns: now_ns,
            operator: operator.clone(),
            comment: comment.to_owned(),
        };
        Ok(Some(AlarmRecord { acknowledgement: Some(acknowledgement), ..self.clone() }))
    }

    /// Shelves the alarm, or changes its shelf. Times are in nanoseconds.
    pub fn shelve(
        &self,
        operator: &Operator,
        reason: &str,
        duration_ns: i64,
        now_ns: i64,
    ) -> Result<AlarmRecord, AlarmActionError> {
        if self.occurrence == 0 {
            return Err(AlarmActionError::NeverRaised);
        }
        let shelf = Shelf {
            until_ns: now_ns.saturating_add(duration_ns.clamp(0, SHELF_MAX_S as i64 * SECOND_NS)),
            at_ns: now_ns,
            operator: operator.clone(),
            reason: reason.to_owned(),
        };
        Ok(self.with_shelf(shelf))
    }

    /// Ends the shelf.
    pub fn unshelve(&self, operator: &Operator, now_ns: i64) -> Result<AlarmRecord, AlarmActionError> {
        if !self.is_shelved(now_ns) {
            return Err(AlarmActionError::NotShelved);
        }
        let (operator, reason) = (operator.clone(), String::new());
        Ok(self.with_shelf(Shelf { until_ns: now_ns, at_ns: now_ns, operator, reason }))
    }

    fn with_shelf(&self, shelf: Shelf) -> AlarmRecord {
        AlarmRecord { shelf: Some(shelf), shelf_sequence: self.shelf_sequence + 1, ..self.clone() }
    }
}
