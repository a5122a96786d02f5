//! JSON documents of the queues: the full API below `/api/v2/queues` and the simple one below
//! `/queue`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Body of `POST /queue/enqueue`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimpleEnqueue {
    /// Queue name; the queue is created if it does not exist.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub queue_name: String,
    /// Any JSON.
    pub message: Value,
}

/// Result of enqueueing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SimpleEnqueued {
    /// Whether the message is in the queue.
    pub success: bool,
    /// Message id; null if it is not in the queue.
    pub message_id: Option<String>,
    /// Queue name.
    pub queue_name: String,
    /// Endpoint that owns the queue.
    pub node_id: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Body of `POST /queue/dequeue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SimpleDequeue {
    /// Queue name.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub queue_name: String,
}

/// A message, if there was one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimpleDequeued {
    /// Whether there was one.
    pub success: bool,
    /// Message body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Value>,
    /// Message id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Delivery time, seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_time: Option<f64>,
}

/// Body of `POST /queue/ack`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SimpleAck {
    /// Message id.
    pub message_id: String,
}

/// Whether an operation succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SimpleOutcome {
    /// Whether it did.
    pub success: bool,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Summary of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SimpleQueue {
    /// Queue name.
    pub queue_name: String,
    /// Waiting messages, delayed ones included.
    pub size: usize,
    /// Messages delivered but not acknowledged.
    pub in_flight: usize,
    /// Endpoint that owns the queue.
    pub node_id: String,
}

/// Summary of all queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SimpleQueues {
    /// Sorted by name.
    pub queues: Vec<SimpleQueue>,
}

/// A page of the list of queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueList {
    /// Sorted by name.
    pub queues: Vec<QueueDocument>,
    /// Total number of queues.
    pub total: usize,
    /// Value of `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// State of a queue at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueDocument {
    /// Queue name.
    pub name: String,
    /// Messages available now.
    pub ready: usize,
    /// Messages delivered but not acknowledged.
    pub in_flight: usize,
    /// Messages available later.
    pub delayed: usize,
    /// Dead letters.
    pub dead: usize,
    /// Messages ever enqueued.
    pub enqueued: u64,
    /// Enqueue time of the oldest message, nanoseconds since the Unix epoch.
    pub oldest_ns: Option<u64>,
    /// Deliveries after which a message becomes a dead letter.
    pub max_deliveries: u32,
    /// Default visibility timeout, milliseconds.
    pub visibility_ms: u64,
    /// Endpoint that owns the queue.
    pub node_id: String,
}

/// Messages to enqueue: all of them, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enqueue {
    /// In order.
    #[schemars(length(min = 1, max = 20))]
    pub messages: Vec<EnqueuedMessage>,
}

/// One message to enqueue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnqueuedMessage {
    /// Any JSON.
    pub message: Value,
    /// 0 to 9; higher is delivered first.
    #[serde(default)]
    #[schemars(range(max = 9))]
    pub priority: u8,
    /// Delay before it becomes available, milliseconds.
    #[serde(default)]
    #[schemars(range(min = 500, max = 3_600_000))]
    pub delay_ms: Option<u64>,
    /// Deduplication id: within five minutes, a second message with it by the same identity is treated as the
    /// first.
    #[serde(default)]
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub dedup_id: Option<String>,
}

/// Result of enqueueing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnqueueDocument {
    /// In order.
    pub messages: Vec<AcceptedDocument>,
    /// Endpoint that owns the queue.
    pub node_id: String,
}

/// One enqueued message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedDocument {
    /// Message id.
    pub message_id: String,
    /// Whether it was a duplicate, by its deduplication id.
    pub duplicate: bool,
}

/// Options of a dequeue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dequeue {
    /// Maximum number of messages; default 1.
    #[serde(default)]
    #[schemars(range(min = 1, max = 20))]
    pub max: Option<usize>,
    /// Visibility timeout, milliseconds; default: that of the queue.
    #[serde(default)]
    #[schemars(range(min = 500, max = 3_600_000))]
    pub visibility_ms: Option<u64>,
    /// How long to wait for the first message, milliseconds.
    #[serde(default)]
    #[schemars(range(max = 30_000))]
    pub wait_ms: u64,
}

/// Dequeued messages; empty if there were none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DequeueDocument {
    /// In order.
    pub messages: Vec<DeliveryDocument>,
}

/// One delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryDocument {
    /// Message id.
    pub message_id: String,
    /// Message body.
    pub message: Value,
    /// Delivery count; the first is 1.
    pub delivery: u32,
    /// Priority.
    pub priority: u8,
    /// Identity that enqueued it: a token's name or an address.
    pub by: String,
    /// The unverified name that the producer's client declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Enqueue time, nanoseconds since the Unix epoch.
    pub enqueued_ns: u64,
    /// Delivery time, nanoseconds since the Unix epoch.
    pub delivered_ns: u64,
    /// Visibility timeout, milliseconds.
    pub visibility_ms: u64,
}

/// Acknowledges a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Message id.
    pub message_id: String,
    /// Delivery count: rejected if the message has been delivered again since.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_295_u32))]
    pub delivery: Option<u32>,
    /// Also if another one works on it, or nobody does; for commanders, with a reason.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Why it is discarded; for `force`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Returns a message to its queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nak {
    /// Message id.
    pub message_id: String,
    /// Delivery count: rejected if the message has been delivered again since.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_295_u32))]
    pub delivery: Option<u32>,
    /// Delay before it becomes available again, milliseconds.
    #[serde(default)]
    #[schemars(range(min = 500, max = 3_600_000))]
    pub delay_ms: Option<u64>,
    /// Reason; required with `force`.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether it is returned whoever works on it; for commanders.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Extends the visibility timeout of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// Message id.
    pub message_id: String,
    /// Delivery count: rejected if the message has been delivered again since.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_295_u32))]
    pub delivery: Option<u32>,
    /// New timeout from now on, milliseconds.
    #[schemars(range(min = 500, max = 3_600_000))]
    pub visibility_ms: u64,
}

/// Moves dead letters back into their queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redrive {
    /// Maximum number of messages; default: all.
    #[serde(default)]
    #[schemars(range(max = 10_000))]
    pub max: Option<usize>,
}

/// Deletes all messages of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// Whether dead letters are deleted as well.
    #[serde(default)]
    pub dead: bool,
    /// Reason.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Settings of a queue; an absent one is set to its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueSettings {
    /// Deliveries after which a message becomes a dead letter.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub max_deliveries: Option<u32>,
    /// Default visibility timeout, milliseconds.
    #[serde(default)]
    #[schemars(range(min = 500, max = 3_600_000))]
    pub visibility_ms: Option<u64>,
}

/// Number of affected messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CountDocument {
    /// The number.
    pub messages: usize,
}

/// The next messages, in delivery order, without taking them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeekDocument {
    /// The first ones.
    pub messages: Vec<ListedMessage>,
}

/// One listed message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListedMessage {
    /// Message id.
    pub message_id: String,
    /// Message body.
    pub message: Value,
    /// Priority.
    pub priority: u8,
    /// Number of deliveries.
    pub deliveries: u32,
    /// Identity that enqueued it: a token's name or an address.
    pub by: String,
    /// The unverified name that the producer's client declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Enqueue time, nanoseconds since the Unix epoch.
    pub enqueued_ns: u64,
    /// Whether it is available now.
    pub ready: bool,
}

/// Dead letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadDocument {
    /// Oldest first.
    pub messages: Vec<DeadMessage>,
    /// Value of `after` for the next page; null at the end.
    pub next: Option<u64>,
}

/// One dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadMessage {
    /// Its sequence number.
    pub sequence: u64,
    /// The message.
    pub message: ListedMessage,
    /// Why it is a dead letter.
    pub reason: Option<String>,
    /// Since when, nanoseconds since the Unix epoch.
    pub dead_ns: u64,
    /// Identity that caused it.
    pub dead_by: String,
    /// The unverified name that the client that caused it declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_by_client: Option<String>,
}
