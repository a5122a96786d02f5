//! Why a queue does not do what it is asked for.

use std::time::Duration;

use roverline_protocol::limits;

use crate::queues::{Message, Settings, check_name};
use crate::store::StoreError;

/// Why a message is not taken, kept or given back. Nothing was changed then, except where the store
/// does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// A name is empty, too long, or has a slash or a control character.
    #[error("the name of a queue and a dedup id have 1 to {max} bytes, no slash and no control character", max = limits::QUEUE_NAME_BYTES)]
    Name,
    /// There is no such queue.
    #[error("there is no queue {0}")]
    UnknownQueue(String),
    /// There is no such message, or it is done with, or a dead letter.
    #[error("there is no message {0}, or not any more")]
    UnknownMessage(String),
    /// The message was delivered again since.
    #[error("delivery {given} is over: the message was delivered {newest} times")]
    Stale {
        /// Which delivery was named.
        given: u32,
        /// Which one is the newest.
        newest: u32,
    },
    /// Nobody has the message now.
    #[error("the message is not being worked on: its visibility timeout has ended, or it was given back")]
    NotInFlight,
    /// The message is too long, or all of a batch are.
    #[error("a message, and a batch of them, has at most {max} bytes, this one has {0}", max = limits::QUEUE_BATCH_BYTES)]
    TooLarge(usize),
    /// None or too many at once.
    #[error("at once it is 1 to {max} messages, not {0}", max = limits::QUEUE_BATCH_MESSAGES)]
    Batch(usize),
    /// There is no such priority.
    #[error("a priority is 0 to {max}, not {0}", max = limits::QUEUE_PRIORITY_ELEMENTS)]
    Priority(u8),
    /// A delay or a visibility timeout is out of bounds.
    #[error("a delay or visibility timeout is {min} ms to {max} ms, not {0} ms", min = limits::LEASE_MIN_MS, max = limits::LEASE_MAX_MS)]
    Time(u128),
    /// A queue cannot be set so.
    #[error("a message is delivered 1 to {max} times, not {0}", max = limits::QUEUE_DELIVERY_MAX_ATTEMPTS)]
    Deliveries(u32),
    /// The queue holds too much.
    #[error("the queue is full: {messages} messages of {bytes} bytes are not done with")]
    Full {
        /// So many, dead letters included.
        messages: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// Too many messages are worked on.
    #[error("{max} messages of this queue are delivered and not acknowledged: acknowledge some", max = limits::QUEUE_FLIGHT_MESSAGES)]
    Flight,
    /// Too many messages are delayed.
    #[error("{max} messages of this queue are delayed already", max = limits::QUEUE_DELAYED_MESSAGES)]
    Delayed,
    /// There are too many queues.
    #[error("there are {max} queues already", max = limits::QUEUE_ENTRIES)]
    Queues,
    /// Too many wait for messages here.
    #[error("{max} wait for messages here already", max = limits::QUEUE_WAITING_CLIENTS)]
    Crowded,
    /// Others were always faster.
    #[error("too many change this queue at once: try again")]
    Contended,
    /// Something in the store is not as a queue writes it.
    #[error("{0} in the store is damaged")]
    Damaged(String),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl QueueError {
    pub(super) fn unknown_message(id: &str) -> QueueError {
        QueueError::UnknownMessage(id.chars().take(limits::QUEUE_NAME_BYTES).collect())
    }
}

pub(super) fn check_batch(messages: &[Message]) -> Result<(), QueueError> {
    check_most(messages.len())?;
    for message in messages {
        if message.priority > limits::QUEUE_PRIORITY_ELEMENTS {
            return Err(QueueError::Priority(message.priority));
        }
        if let Some(delay) = message.delay {
            check_time(delay)?;
        }
        message.dedup.as_deref().map_or(Ok(()), check_name)?;
    }
    let bytes = messages.iter().map(|message| message.body.len()).sum();
    if bytes > limits::QUEUE_BATCH_BYTES { Err(QueueError::TooLarge(bytes)) } else { Ok(()) }
}

pub(super) fn check_most(most: usize) -> Result<(), QueueError> {
    match (1..=limits::QUEUE_BATCH_MESSAGES).contains(&most) {
        true => Ok(()),
        false => Err(QueueError::Batch(most)),
    }
}

pub(super) fn check_time(time: Duration) -> Result<(), QueueError> {
    let bounds = u128::from(limits::LEASE_MIN_MS)..=u128::from(limits::LEASE_MAX_MS);
    let ms = time.as_millis();
    if bounds.contains(&ms) { Ok(()) } else { Err(QueueError::Time(ms)) }
}

pub(super) fn check_settings(settings: Settings) -> Result<(), QueueError> {
    if !(1..=limits::QUEUE_DELIVERY_MAX_ATTEMPTS).contains(&settings.max_deliveries) {
        return Err(QueueError::Deliveries(settings.max_deliveries));
    }
    check_time(Duration::from_millis(settings.visibility_ms))
}
