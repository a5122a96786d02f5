//! What changes of the store mean.

use serde_json::{Value, json};

use crate::events::NewEvent;
use crate::store::{Change, Entry};

/// One part of what is shared: which changes are facts, and which event each is.
pub(crate) trait Facts {
    /// By which its place is kept.
    fn name(&self) -> &'static str;

    /// What its keys begin with.
    fn prefix(&self) -> &'static str;

    /// Whether it has to know how it was before.
    fn is_seeded(&self) -> bool {
        false
    }

    /// As it was before the first change.
    fn seed(&mut self, _entries: &[Entry]) {}

    /// The events of the changes of one revision.
    fn of(&mut self, changes: &[Change]) -> Vec<NewEvent>;
}

/// Messages that became dead letters, and queues that were emptied.
pub(super) struct Dead;

impl Facts for Dead {
    fn name(&self) -> &'static str {
        "queues"
    }

    fn prefix(&self) -> &'static str {
        // Not the payloads.
        "queues/"
    }

    fn of(&mut self, changes: &[Change]) -> Vec<NewEvent> {
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

/// States of robots and endpoints.
pub(super) struct Lives;

impl Facts for Lives {
    fn name(&self) -> &'static str {
        "lifecycle"
    }

    fn prefix(&self) -> &'static str {
        "lifecycle/"
    }

    fn of(&mut self, changes: &[Change]) -> Vec<NewEvent> {
        changes.iter().filter_map(put).filter_map(life).collect()
    }
}

fn life(entry: &Entry) -> Option<NewEvent> {
    let thing = entry.key.strip_prefix("lifecycle/")?;
    let record: Value = serde_json::from_slice(&entry.value).ok()?;
    let fact = record["fact"].as_str()?;
    Some(NewEvent {
        stream: format!("lifecycle/{thing}"),
        kind: format!("lifecycle.{fact}"),
        by: text(&record, "by"),
        at_ns: time(&record),
        data: record,
        ..NewEvent::default()
    })
}

/// A name, if there is one.
fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn time(value: &Value) -> i64 {
    value["at_ns"].as_i64().unwrap_or_default()
}
