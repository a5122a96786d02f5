//! The keys of a queue in the store, and the message ids of clients.
//!
//! Payloads are stored apart from the ordering keys, so that finding and watching for the next message
//! does not read them.

use std::fmt;
use std::str::FromStr;

use crate::client::key_suffix;
use crate::limits;
use crate::queues::QueueError;

/// One small key per queue with its metadata.
pub(super) const QUEUES: &str = "queue/";

pub(super) fn meta(queue: &str) -> String {
    format!("{QUEUES}{queue}")
}

/// Prefix of the messages of all queues.
pub(super) const ALL: &str = "queues/";

/// Prefix of all keys whose changes can make a message available.
pub(super) fn all(queue: &str) -> String {
    format!("queues/{queue}/")
}

pub(super) fn messages(queue: &str) -> String {
    format!("queues/{queue}/m/")
}

/// Sorted in order of delivery: highest priority first, then oldest first.
pub(super) fn message(queue: &str, position: MessagePosition) -> String {
    let urgency = limits::QUEUE_PRIORITY_ELEMENTS.saturating_sub(position.priority);
    format!("queues/{queue}/m/{urgency}/{:020}", position.sequence)
}

pub(super) fn hidden_all(queue: &str) -> String {
    format!("queues/{queue}/hidden/")
}

/// Exists while the message must not be delivered; expires with its lease.
pub(super) fn hidden(queue: &str, sequence: u64) -> String {
    format!("queues/{queue}/hidden/{sequence:020}")
}

pub(super) fn dead_all(queue: &str) -> String {
    format!("queues/{queue}/dead/")
}

pub(super) fn dead(queue: &str, sequence: u64) -> String {
    format!("queues/{queue}/dead/{sequence:020}")
}

/// Of an identity: the same id of another one is another id. Earlier versions wrote keys without it.
pub(super) fn dedup(queue: &str, id: &str, identity: Option<&str>) -> String {
    format!("queue-dedup/{queue}/{id}{}", key_suffix(identity))
}

pub(super) fn body(queue: &str, sequence: u64) -> String {
    format!("queue-body/{queue}/{sequence:020}")
}

/// The record of the last purge of a queue.
pub(super) fn purged(queue: &str) -> String {
    format!("queues/{queue}/purged")
}

/// The sequence number at the end of a key.
pub(super) fn sequence_of(key: &str) -> Option<u64> {
    key.rsplit('/').next()?.parse().ok()
}

/// The position encoded in the key of a message.
pub(super) fn position_of(key: &str) -> Option<MessagePosition> {
    let mut parts = key.rsplit('/');
    let sequence = parts.next()?.parse().ok()?;
    let urgency: u8 = parts.next()?.parse().ok()?;
    Some(MessagePosition { priority: limits::QUEUE_PRIORITY_ELEMENTS.checked_sub(urgency)?, sequence })
}

/// The position of a message in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MessagePosition {
    pub(super) priority: u8,
    pub(super) sequence: u64,
}

/// A message id; opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MessageId {
    pub(super) queue: String,
    pub(super) position: MessagePosition,
    /// Unique even if the store is re-created.
    pub(super) nonce: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MessagePosition { priority, sequence } = self.position;
        write!(f, "{}:{priority}:{sequence}:{:016x}", self.queue, self.nonce)
    }
}

impl FromStr for MessageId {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<MessageId, QueueError> {
        let parse = || {
            let mut parts = text.rsplitn(4, ':');
            let nonce = u64::from_str_radix(parts.next()?, 16).ok()?;
            let sequence = parts.next()?.parse().ok()?;
            let priority = parts.next()?.parse().ok()?;
            let queue = parts.next()?.to_owned();
            crate::queues::check_name(&queue).ok()?;
            let id = MessageId { queue, position: MessagePosition { priority, sequence }, nonce };
            // Only the canonical form is accepted.
            (priority <= limits::QUEUE_PRIORITY_ELEMENTS && id.to_string() == text).then_some(id)
        };
        parse().ok_or_else(|| QueueError::unknown_message(text))
    }
}
