//! The event sources of queues and lifecycles.

use serde_json::{Value, json};

use crate::event_source::EventSource;
use crate::events::NewEvent;
use crate::store::{Change, Entry};

/// Events of dead letters, messages taken from their consumers or discarded, and purged queues.
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
        let (kind, data) = match record["sequence"].as_u64() {
            Some(sequence) => (
                "queue.discarded",
                json!({
                    "queue": queue, "sequence": sequence, "from": record["from"], "reason": record["why"],
                }),
            ),
            None => (
                "queue.purged",
                json!({"queue": queue, "messages": record["messages"], "reason": record["why"]}),
            ),
        };
        return Some(NewEvent {
            stream: format!("queue/{queue}"),
            kind: kind.to_owned(),
            by: text(&record, "by"),
            client: text(&record, "client"),
            at_ns: time(&record),
            data,
            ..NewEvent::default()
        });
    }
    let (kind, sequence) = match rest.strip_prefix("dead/") {
        Some(sequence) => ("queue.dead_letter", sequence),
        // Most changes of messages are no events, and are not parsed.
        None if contains(&entry.value, b"\"from\":") => {
            ("queue.taken", rest.strip_prefix("m/")?.split_once('/')?.1)
        }
        None => return None,
    };
    let sequence: u64 = sequence.parse().ok()?;
    let record = record()?;
    let last = &record["last"];
    if kind == "queue.taken" && !last["from"].is_string() {
        return None;
    }
    Some(NewEvent {
        stream: format!("queue/{queue}"),
        kind: kind.to_owned(),
        by: text(last, "by"),
        client: text(last, "client"),
        at_ns: time(last),
        data: json!({
            "queue": queue, "sequence": sequence, "priority": record["priority"],
            "deliveries": record["deliveries"], "from": last["from"], "reason": last["why"],
        }),
        ..NewEvent::default()
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
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
        client: text(&record, "client"),
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
