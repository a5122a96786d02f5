//! Derives events from changes of the records: raised, acknowledged, cleared, shelved.

use std::collections::BTreeMap;

use roverline_protocol::alarms::record::{AlarmRecord, Operator};
use roverline_protocol::api::alarms::AlarmState;
use serde_json::{Value, json};

use crate::alarms::{PREFIX, TICK_KEY, decode};
use crate::event_source::EventSource;
use crate::events::NewEvent;
use crate::store::{Change, Entry};

/// All records, updated revision by revision.
#[derive(Default)]
pub(crate) struct AlarmEventSource {
    all: BTreeMap<String, AlarmRecord>,
}

impl EventSource for AlarmEventSource {
    fn name(&self) -> &'static str {
        "alarms"
    }

    fn prefix(&self) -> &'static str {
        PREFIX
    }

    fn is_seeded(&self) -> bool {
        true
    }

    fn seed(&mut self, entries: &[Entry]) {
        let records = entries.iter().map(|entry| (entry.key.clone(), decode(entry)));
        self.all = records.collect();
    }

    fn events(&mut self, changes: &[Change]) -> Vec<NewEvent> {
        let mut events = Vec::new();
        for change in changes {
            match change {
                Change::Put(entry) if entry.key == TICK_KEY => {}
                Change::Put(entry) => {
                    let after = decode(entry);
                    let before = self.all.insert(entry.key.clone(), after.clone()).unwrap_or_default();
                    let id = entry.key.strip_prefix(PREFIX).unwrap_or(&entry.key);
                    events.extend(compare(id, &before, &after));
                }
                Change::Delete { key, .. } => drop(self.all.remove(key)),
            }
        }
        events
    }
}

/// The events between two records of an alarm, in the order of a life. What happened while the store was away is one
/// change, whatever lay in between.
fn compare(id: &str, before: &AlarmRecord, after: &AlarmRecord) -> Vec<NewEvent> {
    let (condition, subject) = (&after.condition, &after.condition.subject);
    let event = |kind: &str, at_ns: i64, operator: Option<&Operator>, more: Value| {
        let mut data = json!({
            "id": id, "name": subject.name, "source": subject.source, "topic": subject.topic,
            "occurrence": after.occurrence, "severity": condition.severity.unwrap_or(after.worst),
            "text": condition.text, "value": condition.value, "limit": condition.limit, "unit": subject.unit,
            "evaluated_by": condition.evaluated_by, "trace_id": after.trace_id,
        });
        if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
            data.extend(more);
        }
        NewEvent {
            stream: format!("{PREFIX}{id}"),
            kind: format!("alarm.{kind}"),
            by: operator.map(|operator| operator.by.clone()),
            client: operator.and_then(|operator| operator.client.clone()),
            correlation_id: Some(format!("{id}#{}", after.occurrence)),
            at_ns,
            data,
            ..NewEvent::default()
        }
    };
    let mut events = Vec::new();
    let is_new = after.occurrence > before.occurrence;
    let is_worse = after.occurrence == before.occurrence && after.worst > before.worst;
    if is_new {
        events.push(event("raised", after.raised_ns, None, json!({})));
    } else if is_worse {
        events.push(event("escalated", condition.at_ns, None, json!({"from": before.worst})));
    }
    if let Some(new) = after.acknowledgement.as_ref()
        && (is_new || after.acknowledgement != before.acknowledgement)
    {
        let more = json!({"severity": new.severity, "comment": new.comment});
        events.push(event("acknowledged", new.at_ns, Some(&new.operator), more));
    }
    let was_open = is_new || before.state() != AlarmState::Cleared;
    if was_open && after.state() == AlarmState::Cleared && after.occurrence > 0 {
        let acknowledged_ns = after.acknowledgement.as_ref().map_or(condition.at_ns, |known| known.at_ns);
        let cleared_ns = condition.at_ns.max(acknowledged_ns);
        events.push(event("cleared", cleared_ns, None, json!({"triggers": after.triggers})));
    }
    if let Some(shelf) = after.shelf.as_ref().filter(|_| after.shelf_sequence > before.shelf_sequence) {
        events.push(match shelf.is_end() {
            true => event("unshelved", shelf.at_ns, Some(&shelf.operator), json!({})),
            false => {
                let more = json!({"reason": shelf.reason, "until_ns": shelf.until_ns});
                event("shelved", shelf.at_ns, Some(&shelf.operator), more)
            }
        });
    }
    events
}
