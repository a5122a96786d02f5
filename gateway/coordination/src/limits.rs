//! Limits used by several modules of the coordination store, together with those shared with other
//! crates.

pub(crate) use roverline_protocol::limits::*;

/// Bytes of a value in the store: a client's value and its metadata.
pub(crate) const STORE_VALUE_BYTES: usize = (1 << 20) + (4 << 10);
/// Compares and operations of one transaction.
pub(crate) const STORE_TXN_ELEMENTS: usize = 128;
/// Keys read at once.
pub(crate) const STORE_PAGE_ENTRIES: usize = 1_000;
/// Bytes of values after which a page ends, and a batch of changes with its revision.
pub(crate) const STORE_PAGE_BYTES: usize = 4 << 20;
/// Changes that one step of a compaction examines before it yields.
pub(crate) const STORE_COMPACTED_ENTRIES: usize = 500;
/// Calls queued for the store's thread; more are rejected.
pub(crate) const STORE_WAITING_CALLS: usize = 1_024;
/// Processes on one computer that share a store.
pub(crate) const STORE_PEERS: usize = 64;
/// Bytes of the name of a resource, and of a client that locks it.
pub(crate) const LOCK_NAME_BYTES: usize = 200;
/// Clients that may wait for one lock.
pub(crate) const LOCK_WAITING_CLIENTS: usize = 1_000;
/// Characters of a reason or message that belongs to a lock.
pub(crate) const LOCK_REASON_CHARS: usize = 200;
/// Queues with more messages than this are counted at most once per [`QUEUE_COUNTED_MS`].
pub(crate) const QUEUE_COUNTED_MESSAGES: usize = 256;
/// How long a count of a large queue is valid.
pub(crate) const QUEUE_COUNTED_MS: u64 = 500;
/// Bytes of the messages enqueued or dequeued at once; a single message may have as many.
pub(crate) const QUEUE_BATCH_BYTES: usize = STORE_VALUE_BYTES;
/// Messages of one queue that are delivered but not acknowledged.
pub(crate) const QUEUE_FLIGHT_MESSAGES: usize = 1_000;
/// Delayed messages of one queue.
pub(crate) const QUEUE_DELAYED_MESSAGES: usize = 1_000;
/// Highest priority of a message; the lowest is 0.
pub(crate) const QUEUE_PRIORITY_ELEMENTS: u8 = 9;
/// Optimistic transaction attempts of one call.
pub(crate) const QUEUE_TXN_ATTEMPTS: usize = 64;
/// Calls of one process that wait for a message.
pub(crate) const QUEUE_WAITING_CLIENTS: usize = 1_000;
/// Characters of the reason for which a message was returned or deleted.
pub(crate) const QUEUE_REASON_CHARS: usize = 300;
/// Characters kept of the author's name.
pub(crate) const KV_AUTHOR_CHARS: usize = 200;
/// Values that one author may keep.
pub(crate) const KV_OWNER_ENTRIES: usize = 4_096;
/// Bytes of the values that one author may keep.
pub(crate) const KV_OWNER_BYTES: u64 = 16 << 20;
/// Values that all authors may keep.
pub(crate) const KV_ENTRIES: usize = 16_384;
/// Bytes of the values that all authors may keep.
pub(crate) const KV_TOTAL_BYTES: u64 = 64 << 20;
/// Bytes of values that one author may write in a minute: the history keeps them for a while.
pub(crate) const KV_OWNER_BYTES_PER_MINUTE: u64 = 32 << 20;
/// Messages of one author in all queues.
pub(crate) const QUEUE_OWNER_MESSAGES: usize = 20_000;
/// Bytes of one author's messages in all queues.
pub(crate) const QUEUE_OWNER_BYTES: u64 = 256 << 20;
/// Messages of all queues.
pub(crate) const QUEUE_TOTAL_MESSAGES: usize = 50_000;
/// Bytes of the messages of all queues.
pub(crate) const QUEUE_TOTAL_BYTES: u64 = 512 << 20;
/// Bytes of messages that one author may enqueue in a minute: the history keeps them for a while.
pub(crate) const QUEUE_OWNER_BYTES_PER_MINUTE: u64 = 256 << 20;
/// Attempts of a write or read that conflicts with others.
pub(crate) const KV_ATTEMPTS: usize = 16;
/// Events that one author may append in a minute: the log is shared, and each costs a signature and a commit.
pub(crate) const EVENT_OWNER_ENTRIES_PER_MINUTE: u64 = 3_000;
/// Bytes of the events that one author may append in a minute.
pub(crate) const EVENT_OWNER_BYTES_PER_MINUTE: u64 = 16 << 20;
/// Bytes of the data of an event, as JSON.
pub(crate) const EVENT_DATA_BYTES: usize = 64 << 10;
/// New events queued for a subscriber of the log; slower subscribers read from the store.
pub(crate) const EVENT_LIVE_EVENTS: usize = 256;
/// Bytes of the name of a robot or an endpoint, and of the node that sends its heartbeat.
pub(crate) const LIFECYCLE_NAME_BYTES: usize = 128;
/// Check interval of the monitoring process.
pub(crate) const LIFECYCLE_WATCH_MS: u64 = 500;
/// Timeout of a member's status request.
#[cfg(feature = "etcd")]
pub(crate) const ETCD_PROBE_MS: u64 = 500;
/// First interval of the search for a leader.
#[cfg(feature = "etcd")]
pub(crate) const ETCD_SEARCH_MS: u64 = 25;
/// Timeout of one read attempt.
#[cfg(feature = "etcd")]
pub(crate) const ETCD_READ_MS: u64 = 1_000;
/// Timeout of all attempts together.
#[cfg(feature = "etcd")]
pub(crate) const ETCD_TIMEOUT_MS: u64 = 3_000;
/// History of the store that stays readable.
pub(crate) const STORE_HISTORY_MS: u64 = 600_000;
