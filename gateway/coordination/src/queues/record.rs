//! What the store keeps of a queue and of its messages, as JSON.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use roverline_protocol::limits;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::queues::{By, QueueError};
use crate::store::{Entry, Revision};

/// What holds for all of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// Of the next message.
    pub(super) next: u64,
    /// Bytes of all messages there ever were.
    pub(super) bytes: u64,
    /// By whom it was changed last: the only way to know whether it was oneself.
    pub(super) touch: u64,
    pub(super) settings: Settings,
    /// Who made it.
    pub(super) by: String,
    pub(super) at_ns: u64,
}

/// How a queue deals with its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Deliveries after which a message is a dead letter.
    pub max_deliveries: u32,
    /// How long a delivered message is hidden, unless whoever takes it says it.
    pub visibility_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_deliveries: limits::QUEUE_DELIVERY_ATTEMPTS,
            visibility_ms: limits::QUEUE_VISIBILITY_MS,
        }
    }
}

/// A message, but for its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) nonce: u64,
    pub(super) priority: u8,
    /// Deliveries in all; the number of the last one.
    pub(super) deliveries: u32,
    /// Deliveries since it was put into the queue, or back from the dead letters.
    pub(super) tries: u32,
    pub(super) bytes: usize,
    /// Who put it into the queue, and when.
    pub(super) by: String,
    pub(super) at_ns: u64,
    pub(super) last: Fact,
}

/// What happened to a message last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fact {
    pub(super) what: What,
    pub(super) by: String,
    pub(super) at_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// Of this one change, to know it again.
    pub(super) touch: u64,
}

/// What can happen to a message that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Enqueued,
    Delivered,
    /// Given back by who had it.
    Returned,
    /// A dead letter now.
    Dead,
    /// No longer a dead letter.
    Redriven,
}

impl Fact {
    pub(super) fn new(what: What, by: &By<'_>, why: Option<&str>) -> Fact {
        let why = why.map(|why| why.chars().take(limits::QUEUE_REASON_CHARS).collect());
        Fact { what, by: by.name(), at_ns: (by.now_ns)(), why, touch: fresh() }
    }
}

/// Why a message cannot be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The delivery that has it; none: it is delayed.
    pub(super) delivery: Option<u32>,
    /// Of this marker, to know it again.
    pub(super) touch: u64,
}

/// Who threw messages away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Purged {
    pub(super) by: String,
    pub(super) at_ns: u64,
    pub(super) why: Option<String>,
    pub(super) messages: usize,
}

/// Something as it was read.
#[derive(Clone, Debug)]
pub(super) struct Read<T> {
    pub(super) value: T,
    pub(super) modified: Revision,
}

/// What a key holds; what is not ours is an error: it must not be taken for nothing.
pub(super) fn read<T: DeserializeOwned>(entry: &Entry) -> Result<Read<T>, QueueError> {
    let value = serde_json::from_slice(&entry.value).map_err(|_| QueueError::Damaged(entry.key.clone()))?;
    Ok(Read { value, modified: entry.modified })
}

pub(super) fn bytes(value: &impl Serialize) -> Bytes {
    // Our own types always serialize.
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

/// A number that nobody else has. The standard library seeds it from the system's randomness.
pub(super) fn fresh() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
