//! What the store calls the parts of a queue, and what clients call a message.
//!
//! Payloads lie apart from what orders the messages, so that finding the next one, and watching for
//! it, does not read them.

use std::fmt;
use std::str::FromStr;

use roverline_protocol::limits;

use crate::queues::QueueError;

/// One small key per queue: what holds for all of it.
pub(super) const QUEUES: &str = "queue/";

pub(super) fn meta(queue: &str) -> String {
    format!("{QUEUES}{queue}")
}

/// Everything of a queue that changes when a message can be taken.
pub(super) fn all(queue: &str) -> String {
    format!("queues/{queue}/")
}

pub(super) fn messages(queue: &str) -> String {
    format!("queues/{queue}/m/")
}

/// In the order of delivery: the highest priority first, and in it the oldest.
pub(super) fn message(queue: &str, place: Place) -> String {
    let urgency = limits::QUEUE_PRIORITY_ELEMENTS.saturating_sub(place.priority);
    format!("queues/{queue}/m/{urgency}/{:020}", place.sequence)
}

pub(super) fn hidden_all(queue: &str) -> String {
    format!("queues/{queue}/hidden/")
}

/// Is there as long as nobody may take the message; goes by itself, with its lease.
pub(super) fn hidden(queue: &str, sequence: u64) -> String {
    format!("queues/{queue}/hidden/{sequence:020}")
}

pub(super) fn dead_all(queue: &str) -> String {
    format!("queues/{queue}/dead/")
}

pub(super) fn dead(queue: &str, sequence: u64) -> String {
    format!("queues/{queue}/dead/{sequence:020}")
}

pub(super) fn dedup(queue: &str, id: &str) -> String {
    format!("queue-dedup/{queue}/{id}")
}

pub(super) fn body(queue: &str, sequence: u64) -> String {
    format!("queue-body/{queue}/{sequence:020}")
}

/// Who threw a queue's messages away last.
pub(super) fn purged(queue: &str) -> String {
    format!("queues/{queue}/purged")
}

/// The sequence at the end of a key.
pub(super) fn sequence_of(key: &str) -> Option<u64> {
    key.rsplit('/').next()?.parse().ok()
}

/// The place in the key of a message.
pub(super) fn place_of(key: &str) -> Option<Place> {
    let mut parts = key.rsplit('/');
    let sequence = parts.next()?.parse().ok()?;
    let urgency: u8 = parts.next()?.parse().ok()?;
    Some(Place { priority: limits::QUEUE_PRIORITY_ELEMENTS.checked_sub(urgency)?, sequence })
}

/// Where a message stands in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) priority: u8,
    pub(super) sequence: u64,
}

/// Names a message for clients, who need not understand it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MessageId {
    pub(super) queue: String,
    pub(super) place: Place,
    /// No other message ever has it, though a store were made anew.
    pub(super) nonce: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { priority, sequence } = self.place;
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
            let id = MessageId { queue, place: Place { priority, sequence }, nonce };
            // There is one way to write it.
            (priority <= limits::QUEUE_PRIORITY_ELEMENTS && id.to_string() == text).then_some(id)
        };
        parse().ok_or_else(|| QueueError::unknown_message(text))
    }
}
