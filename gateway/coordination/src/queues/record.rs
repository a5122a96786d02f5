//! The stored JSON records of queues and messages.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::queues::{Actor, QueueError, keys};
use crate::store::{Entry, Revision};

/// Default delivery limit, after which a message becomes a dead letter.
const QUEUE_DELIVERY_ATTEMPTS: u32 = 5;

/// Default visibility timeout of a delivered message.
const QUEUE_VISIBILITY_MS: u64 = 30_000;

/// The metadata of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// The sequence number of the next message.
    pub(super) next: u64,
    /// The bytes of all messages ever enqueued.
    pub(super) bytes: u64,
    /// Identifies the last write, so that a writer can recognize its own.
    pub(super) touch: u64,
    pub(super) settings: Settings,
    /// The creator.
    pub(super) by: String,
    pub(super) at_ns: u64,
}

/// The settings of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The delivery limit, after which a message becomes a dead letter.
    pub max_deliveries: u32,
    /// The default visibility timeout.
    pub visibility_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { max_deliveries: QUEUE_DELIVERY_ATTEMPTS, visibility_ms: QUEUE_VISIBILITY_MS }
    }
}

/// A message without its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) nonce: u64,
    pub(super) priority: u8,
    /// All deliveries; the number of the newest one.
    pub(super) deliveries: u32,
    /// Deliveries since the message was enqueued or redriven.
    pub(super) tries: u32,
    pub(super) bytes: usize,
    /// The producer, and when it was enqueued.
    pub(super) by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    pub(super) at_ns: u64,
    pub(super) last: LastEvent,
}

/// The author of a message or a dead letter, and how many bytes it counts.
pub(super) fn counted(entry: &Entry) -> Option<(Arc<str>, u64)> {
    let mut parts = entry.key.strip_prefix(keys::ALL)?.split('/');
    let kind = parts.nth(1)?;
    let record = matches!(kind, "m" | "dead").then(|| decode::<Record>(entry).ok()).flatten()?.value;
    Some((Arc::from(record.by), record.bytes as u64))
}

/// The last event of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastEvent {
    #[serde(rename = "what")]
    pub(super) kind: EventKind,
    pub(super) by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    /// The identity that was working on it, if another one took it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    pub(super) at_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// Identifies this change, so that its writer can recognize it.
    pub(super) touch: u64,
}

/// The kinds of events after which a message stays in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EventKind {
    Enqueued,
    Delivered,
    /// Returned by the consumer (nak).
    Returned,
    /// Moved to the dead letters.
    Dead,
    /// Moved back from the dead letters.
    Redriven,
}

impl LastEvent {
    pub(super) fn new(kind: EventKind, actor: &Actor<'_>, why: Option<&str>) -> LastEvent {
        let why = why.map(|why| why.chars().take(limits::QUEUE_REASON_CHARS).collect());
        LastEvent {
            kind,
            by: actor.label(),
            client: actor.own_name(),
            from: None,
            at_ns: (actor.now_ns)(),
            why,
            touch: unique_id(),
        }
    }
}

/// The value of the key that hides a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VisibilityMarker {
    /// The delivery in flight; `None`: the message is delayed.
    pub(super) delivery: Option<u32>,
    /// The identity that works on it. `None` for a delayed message, and if an earlier version wrote this:
    /// then any client that knows the message's id may settle it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
    /// Identifies this marker, so that its writer can recognize it.
    pub(super) touch: u64,
}

/// The record of a purge, or of one message that was discarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Purged {
    pub(super) by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    pub(super) at_ns: u64,
    pub(super) why: Option<String>,
    pub(super) messages: usize,
    /// The sequence number of the discarded message; `None` for a purge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sequence: Option<u64>,
    /// The consumer that was working on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
}

impl Purged {
    /// A message that another client than its consumer discards.
    pub(super) fn of_message(sequence: u64, from: Option<&str>, why: &str, actor: &Actor<'_>) -> Purged {
        let (sequence, from) = (Some(sequence), from.map(str::to_owned));
        Purged { messages: 1, sequence, from, ..Purged::new(Some(why), actor) }
    }

    /// A purge that has not yet deleted anything.
    pub(super) fn new(why: Option<&str>, actor: &Actor<'_>) -> Purged {
        let why = why.map(|why| why.chars().take(limits::QUEUE_REASON_CHARS).collect());
        let (by, client, at_ns) = (actor.label(), actor.own_name(), (actor.now_ns)());
        Purged { by, client, at_ns, why, messages: 0, sequence: None, from: None }
    }
}

/// A parsed value with the revision at which it was last modified.
#[derive(Clone, Debug)]
pub(super) struct Versioned<T> {
    pub(super) value: T,
    pub(super) modified: Revision,
}

/// Parses an entry. An invalid value is an error, since it must not be mistaken for an absent one.
pub(super) fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<Versioned<T>, QueueError> {
    let value = serde_json::from_slice(&entry.value).map_err(|_| QueueError::Damaged(entry.key.clone()))?;
    Ok(Versioned { value, modified: entry.modified })
}

/// A unique number. The standard library seeds it from the system's randomness.
pub(super) fn unique_id() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
