//! Errors of queue operations.

use crate::limits;
use crate::quota::QuotaError;
use crate::store::StoreError;

/// The largest delivery limit of a queue.
pub(super) const QUEUE_DELIVERY_MAX_ATTEMPTS: u32 = 100;

/// Why a queue operation failed. Nothing was changed, except where the store reports an unknown
/// outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// A name is empty, too long, or has a slash or a control character.
    #[error("the name of a queue and a dedup id have 1 to {max} bytes, no slash and no control character", max = limits::QUEUE_NAME_BYTES)]
    InvalidName,
    /// There is no such queue.
    #[error("there is no queue {0}")]
    UnknownQueue(String),
    /// There is no such message; it may be acknowledged or a dead letter.
    #[error("there is no message {0}, or not any more")]
    UnknownMessage(String),
    /// The message has been delivered again since.
    #[error("delivery {given} is over: the message was delivered {newest} times")]
    Stale {
        /// The delivery that was named.
        given: u32,
        /// The newest delivery.
        newest: u32,
    },
    /// Another identity works on the message.
    #[error(
        "{owner} is working on this message: only {owner} can acknowledge, extend or return it. A commander can do it, too (ack or nak with `force` and a reason)"
    )]
    NotOwner {
        /// The identity that it was delivered to.
        owner: String,
    },
    /// Nobody works on the message, and it was not this identity that did last.
    #[error(
        "you have not taken this message, or not last: take it (dequeue), and acknowledge it then. A commander can discard it (ack with `force` and a reason)"
    )]
    NotTaken,
    /// A message was to be taken from its consumer without a reason.
    #[error("whoever takes a message from its consumer gives a reason of at most {max} characters", max = limits::QUEUE_REASON_CHARS)]
    InvalidReason,
    /// An identity is empty, too long, or has a control character.
    #[error("an identity has 1 to {max} bytes and no control character", max = limits::IDENTITY_BYTES)]
    InvalidIdentity,
    /// The message is not in flight.
    #[error("the message is not being worked on: its visibility timeout has ended, or it was given back")]
    NotInFlight,
    /// The message or the batch is too large.
    #[error("a message, and a batch of them, has at most {max} bytes, this one has {0}", max = limits::QUEUE_BATCH_BYTES)]
    TooLarge(usize),
    /// The batch is empty or too large.
    #[error("at once it is 1 to {max} messages, not {0}", max = limits::QUEUE_BATCH_MESSAGES)]
    BatchSize(usize),
    /// There is no such priority.
    #[error("a priority is 0 to {max}, not {0}", max = limits::QUEUE_PRIORITY_ELEMENTS)]
    InvalidPriority(u8),
    /// A delay or a visibility timeout is out of bounds.
    #[error("a delay or visibility timeout is {min} ms to {max} ms, not {0} ms", min = limits::LEASE_MIN_MS, max = limits::LEASE_MAX_MS)]
    InvalidDuration(u128),
    /// The delivery limit is out of bounds.
    #[error("a message is delivered 1 to {max} times, not {0}", max = QUEUE_DELIVERY_MAX_ATTEMPTS)]
    InvalidDeliveryLimit(u32),
    /// The author, or all authors, keep or enqueue too much.
    #[error("messages: {0}")]
    Quota(#[from] QuotaError),
    /// The queue is full.
    #[error("the queue is full: {messages} messages of {bytes} bytes are not done with")]
    Full {
        /// The number of messages, dead letters included.
        messages: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// Too many messages are in flight.
    #[error("{max} messages of this queue are delivered and not acknowledged: acknowledge some", max = limits::QUEUE_FLIGHT_MESSAGES)]
    TooManyInFlight,
    /// Too many messages are delayed.
    #[error("{max} messages of this queue are delayed already", max = limits::QUEUE_DELAYED_MESSAGES)]
    TooManyDelayed,
    /// There are too many queues.
    #[error("there are {max} queues already", max = limits::QUEUE_ENTRIES)]
    TooManyQueues,
    /// Too many calls of this process wait for messages.
    #[error("{max} wait for messages here already", max = limits::QUEUE_WAITING_CLIENTS)]
    TooManyWaiters,
    /// Concurrent changes won every time.
    #[error("too many change this queue at once: try again")]
    Contended,
    /// A value in the store cannot be parsed.
    #[error("{0} in the store is damaged")]
    Damaged(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl QueueError {
    pub(super) fn unknown_message(id: &str) -> QueueError {
        QueueError::UnknownMessage(id.chars().take(limits::QUEUE_NAME_BYTES).collect())
    }
}
