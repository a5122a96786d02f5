//! The JSON of the queues: the richer form below `/api/v2/queues`, and the fixed one below `/queue`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of `POST /queue/enqueue`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlainEnqueue {
    /// Which queue; it is made if there is none.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub queue_name: String,
    /// Any JSON.
    pub message: Value,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlainEnqueued {
    /// Whether the message is in the queue.
    pub success: bool,
    /// Its name from now on; null if it is not.
    pub message_id: Option<String>,
    /// Which queue.
    pub queue_name: String,
    /// The endpoint that the queue belongs to.
    pub node_id: String,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The body of `POST /queue/dequeue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlainDequeue {
    /// Which queue.
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub queue_name: String,
}

/// A message, if there was one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlainDequeued {
    /// Whether there was one.
    pub success: bool,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Value>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// When it was taken, seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_time: Option<f64>,
}

/// The body of `POST /queue/ack`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlainAck {
    /// Which message.
    pub message_id: String,
}

/// Whether something was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlainDone {
    /// Whether it was.
    pub success: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A queue in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlainQueue {
    /// Its name.
    pub queue_name: String,
    /// Messages that wait, delayed ones included.
    pub size: usize,
    /// Messages that are delivered and not acknowledged.
    pub in_flight: usize,
    /// The endpoint that it belongs to.
    pub node_id: String,
}

/// All queues in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlainQueues {
    /// By name.
    pub queues: Vec<PlainQueue>,
}

/// A part of the list of queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueList {
    /// By name.
    pub queues: Vec<QueueDocument>,
    /// How many there are in all.
    pub total: usize,
    /// Where the next part begins; null: there is none.
    pub next: Option<String>,
}

/// A queue as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueDocument {
    /// Its name.
    pub name: String,
    /// Messages that can be taken now.
    pub ready: usize,
    /// Messages that are delivered and not acknowledged.
    pub in_flight: usize,
    /// Messages that can be taken later.
    pub delayed: usize,
    /// Messages that nobody could deal with.
    pub dead: usize,
    /// Messages there ever were.
    pub enqueued: u64,
    /// When the first message that is still there was put into it, Unix nanoseconds.
    pub oldest_ns: Option<u64>,
    /// Deliveries after which a message is a dead letter.
    pub max_deliveries: u32,
    /// How long a delivered message is hidden unless it is said, milliseconds.
    pub visibility_ms: u64,
    /// The endpoint that it belongs to.
    pub node_id: String,
}

/// Messages to be put into a queue: all of them, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Enqueue {
    /// In their order.
    #[schemars(length(min = 1, max = 20))]
    pub messages: Vec<EnqueuedMessage>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnqueuedMessage {
    /// Any JSON.
    pub message: Value,
    /// 0 to 9; the higher, the sooner.
    #[serde(default)]
    #[schemars(range(max = 9))]
    pub priority: u8,
    /// It cannot be taken before so many milliseconds.
    #[serde(default)]
    #[schemars(range(min = 500, max = 3_600_000))]
    pub delay_ms: Option<u64>,
    /// A second one of this id, within five minutes, is the first one.
    #[serde(default)]
    #[schemars(regex(pattern = crate::api::NAME_PATTERN))]
    pub dedup_id: Option<String>,
}

/// Messages that are in their queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnqueueDocument {
    /// In their order.
    pub messages: Vec<AcceptedDocument>,
    /// The endpoint that the queue belongs to.
    pub node_id: String,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptedDocument {
    /// Its name from now on.
    pub message_id: String,
    /// It was there already, by its dedup id.
    pub duplicate: bool,
}

/// How messages are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dequeue {
    /// At most so many; 1 unless it is said.
    #[serde(default)]
    #[schemars(range(min = 1, max = 20))]
    pub max: Option<usize>,
    /// For how long nobody else gets them, milliseconds; as the queue has it unless it is said.
    #[serde(default)]
    #[schemars(range(min = 500, max = 3_600_000))]
    pub visibility_ms: Option<u64>,
    /// How long to wait for the first one, milliseconds.
    #[serde(default)]
    #[schemars(range(max = 30_000))]
    pub wait_ms: u64,
}

/// Messages that were taken; none, if there were none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DequeueDocument {
    /// In their order.
    pub messages: Vec<DeliveryDocument>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryDocument {
    /// Its name.
    pub message_id: String,
    /// What it says.
    pub message: Value,
    /// Which delivery of it this is; the first is 1.
    pub delivery: u32,
    /// Its priority.
    pub priority: u8,
    /// Who put it into the queue.
    pub by: String,
    /// When, Unix nanoseconds.
    pub enqueued_ns: u64,
    /// When it was taken, Unix nanoseconds.
    pub delivered_ns: u64,
    /// For how long nobody else gets it, milliseconds.
    pub visibility_ms: u64,
}

/// A message is done with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Which message.
    pub message_id: String,
    /// Which delivery of it: refused, if it was delivered again since.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_295_u32))]
    pub delivery: Option<u32>,
}

/// A message is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nak {
    /// Which message.
    pub message_id: String,
    /// Which delivery of it: refused, if it was delivered again since.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_295_u32))]
    pub delivery: Option<u32>,
    /// It cannot be taken before so many milliseconds.
    #[serde(default)]
    #[schemars(range(min = 500, max = 3_600_000))]
    pub delay_ms: Option<u64>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A message is kept for longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// Which message.
    pub message_id: String,
    /// Which delivery of it: refused, if it was delivered again since.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_295_u32))]
    pub delivery: Option<u32>,
    /// For so many milliseconds from now on.
    #[schemars(range(min = 500, max = 3_600_000))]
    pub visibility_ms: u64,
}

/// Dead letters go back into their queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redrive {
    /// At most so many; all unless it is said.
    #[serde(default)]
    #[schemars(range(max = 10_000))]
    pub max: Option<usize>,
}

/// All messages of a queue are thrown away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// Dead letters as well.
    #[serde(default)]
    pub dead: bool,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// How a queue deals with its messages; what is not said becomes as it is in a new queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueSettings {
    /// Deliveries after which a message is a dead letter.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub max_deliveries: Option<u32>,
    /// How long a delivered message is hidden unless it is said, milliseconds.
    #[serde(default)]
    #[schemars(range(min = 500, max = 3_600_000))]
    pub visibility_ms: Option<u64>,
}

/// To how many messages something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CountDocument {
    /// So many.
    pub messages: usize,
}

/// Messages to look at, in the order of delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeekDocument {
    /// The first ones.
    pub messages: Vec<ListedMessage>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListedMessage {
    /// Its name.
    pub message_id: String,
    /// What it says.
    pub message: Value,
    /// Its priority.
    pub priority: u8,
    /// How often it was delivered.
    pub deliveries: u32,
    /// Who put it into the queue.
    pub by: String,
    /// When, Unix nanoseconds.
    pub enqueued_ns: u64,
    /// Whether it can be taken now.
    pub ready: bool,
}

/// Messages that nobody could deal with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadDocument {
    /// The oldest first.
    pub messages: Vec<DeadMessage>,
    /// What to give as `after` for the next ones; null: there are none.
    pub next: Option<u64>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadMessage {
    /// Where it stands among them.
    pub sequence: u64,
    /// The message.
    pub message: ListedMessage,
    /// Why it is here.
    pub reason: Option<String>,
    /// Since when, Unix nanoseconds.
    pub dead_ns: u64,
    /// By whose doing.
    pub dead_by: String,
}
