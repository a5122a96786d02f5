//! The event sources of queues and lifecycles.

use serde_json::{Value, json};

use crate::event_source::EventSource;
use crate::events::NewEvent;
use crate::store::{Change, Entry};

/// Events of dead letters and purged queues.
pub(super) struct DeadLetterEvents;

impl EventSource for DeadLetterEvents {
    fn name(&self) -> &'static str {
        "queues"
    }

    fn prefix(&self) -> &'static str {
        // Excludes the payloads.
        "queues/"
    }

    fn events(&mut self, changes: &[Change]) -> Vec<NewEvent> {
        changes.iter().filter_map(put).filter_map(dead_or_purged).collect()
    }
}

fn put(change: &Change) -> Option<&Entry> {
    match change {
        Change::Put(entry) => Some(entry),
        Change::Delete { .. } => None,
    }
}

fn dead_or_purged(entry: &Entry) -> Option<NewEvent> {
    let record = || serde_json::from_slice::<Value>(&entry.value).ok();
    let (queue, rest) = entry.key.strip_prefix("queues/")?.split_once('/')?;
    if rest == "purged" {
        let record = record()?;
        return Some(NewEvent {
            stream: format!("queue/{queue}"),
            kind: "queue.purged".to_owned(),
            by: text(&record, "by"),
            at_ns: time(&record),
            data: json!({"queue": queue, "messages": record["messages"], "reason": record["why"]}),
            ..NewEvent::default()
        });
    }
    let sequence: u64 = rest.strip_prefix("dead/")?.parse().ok()?;
    let record = record()?;
    let last = &record["last"];
    Some(NewEvent {
        stream: format!("queue/{queue}"),
        kind: "queue.dead_letter".to_owned(),
        by: text(last, "by"),
        at_ns: time(last),
        data: json!({
            "queue": queue, "sequence": sequence, "priority": record["priority"],
            "deliveries": record["deliveries"], "reason": last["why"],
        }),
        ..NewEvent::default()
    })
}

/// Events of lifecycle transitions.
pub(super) struct LifecycleEvents;

impl EventSource for LifecycleEvents {
    fn name(&self) -> &'static str {
        "lifecycle"
    }

    fn prefix(&self) -> &'static str {
        "lifecycle/"
    }

    fn events(&mut self, changes: &[Change]) -> Vec<NewEvent> {
        changes.iter().filter_map(put).filter_map(transition).collect()
    }
}

fn transition(entry: &Entry) -> Option<NewEvent> {
    let entity = entry.key.strip_prefix("lifecycle/")?;
    let record: Value = serde_json::from_slice(&entry.value).ok()?;
    let fact = record["fact"].as_str()?;
    Some(NewEvent {
        stream: format!("lifecycle/{entity}"),
        kind: format!("lifecycle.{fact}"),
        by: text(&record, "by"),
        at_ns: time(&record),
        data: record,
        ..NewEvent::default()
    })
}

/// A non-empty text field.
fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn time(value: &Value) -> i64 {
    value["at_ns"].as_i64().unwrap_or_default()
}
