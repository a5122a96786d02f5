//! The JSON document of a record.

use crate::alarms::record::AlarmRecord;
use crate::api::alarms::{AcknowledgementDocument, AlarmDocument, AlarmQuality, AlarmState, ShelfDocument};

/// What the answering endpoint itself knows of an alarm's value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The value.
    pub value: Option<f64>,
    /// What is the matter; empty: as in the record.
    pub text: String,
    /// How far the value can be trusted.
    pub quality: AlarmQuality,
}

impl AlarmRecord {
    /// The document of an alarm that was raised at least once. `reading` is what the answering endpoint knows; `shared`
    /// is whether the record is in the shared store. Time is in nanoseconds since the Unix epoch.
    pub fn document(&self, id: &str, reading: Option<&Reading>, shared: bool, now_ns: i64) -> AlarmDocument {
        let condition = &self.condition;
        let subject = &condition.subject;
        let (state, active) = (self.state(), condition.severity.is_some());
        let text = reading.map(|reading| reading.text.clone()).filter(|text| active && !text.is_empty());
        AlarmDocument {
            id: id.to_owned(),
            name: subject.name.clone(),
            source: subject.source,
            topic: subject.topic.clone(),
            field: subject.field.clone(),
            severity: condition.severity.unwrap_or(self.worst),
            worst: self.worst,
            state,
            active,
            latched: state == AlarmState::Raised && !active,
            shelved: self.shelf_document(now_ns),
            value: reading.map_or(condition.value, |reading| reading.value).filter(|value| value.is_finite()),
            unit: subject.unit.clone(),
            limit: condition.limit,
            quality: reading.map_or(AlarmQuality::Remote, |reading| reading.quality),
            text: text.unwrap_or_else(|| condition.text.clone()),
            raised_ns: self.raised_ns,
            age_s: seconds_between(self.raised_ns, now_ns),
            changed_ns: condition.at_ns,
            ended_ns: (!active).then_some(condition.at_ns),
            acknowledgement: self.acknowledgement_document(now_ns),
            occurrence: self.occurrence,
            triggers: self.triggers,
            evaluated_by: condition.evaluated_by,
            trace_id: self.trace_id.clone(),
            shared,
        }
    }

    fn acknowledgement_document(&self, now_ns: i64) -> Option<AcknowledgementDocument> {
        let acknowledgement = self.acknowledgement.as_ref()?;
        Some(AcknowledgementDocument {
            by: acknowledgement.operator.by.clone(),
            client: acknowledgement.operator.client.clone(),
            at_ns: acknowledgement.at_ns,
            age_s: seconds_between(acknowledgement.at_ns, now_ns),
            severity: acknowledgement.severity,
            comment: acknowledgement.comment.clone(),
        })
    }

    fn shelf_document(&self, now_ns: i64) -> Option<ShelfDocument> {
        let shelf = self.shelf.as_ref().filter(|shelf| shelf.is_in_effect(now_ns))?;
        Some(ShelfDocument {
            by: shelf.operator.by.clone(),
            client: shelf.operator.client.clone(),
            at_ns: shelf.at_ns,
            until_ns: shelf.until_ns,
            remaining_s: seconds_between(now_ns, shelf.until_ns),
            reason: shelf.reason.clone(),
        })
    }
}

/// Seconds from one time to another, nanoseconds since the Unix epoch; 0 if the clock was set back.
fn seconds_between(from_ns: i64, to_ns: i64) -> f64 {
    let milliseconds = to_ns.saturating_sub(from_ns).max(0) / 1_000_000;
    milliseconds as f64 / 1e3
}
