//! Limits that several crates share, each with its unit in the name. A limit of one crate
//! is in the crate's own `limits`, one of a single module next to the code that enforces it.

/// Largest WebSocket message accepted from a client.
pub const INBOUND_MESSAGE_BYTES: usize = 1 << 20;
/// Largest WebSocket message sent to a client.
pub const OUTBOUND_MESSAGE_BYTES: usize = 32 << 20;
/// Largest HTTP request head (request line and header fields).
pub const HTTP_HEAD_BYTES: usize = 16 << 10;
/// Most header fields in a request.
pub const HTTP_HEADERS: usize = 64;
/// How long a new connection may take to send its request.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 5_000;
/// Connections per endpoint that have not become a session yet.
pub const PENDING_CONNECTIONS: usize = 128;

/// Bytes queued for one client in its `every` queue.
pub const OUTBOX_EVERY_BYTES: usize = 2 << 20;
/// Inbound messages per second from one client before it is throttled.
pub const INBOUND_MESSAGES_PER_S: u32 = 500;
/// Malformed messages after which a session is closed.
pub const BAD_MESSAGES_PER_SESSION: u32 = 100;
/// Subscription patterns per session.
pub const PATTERNS_PER_SESSION: usize = 1_024;

/// Topics of one hub.
pub const TOPICS: usize = 4_096;
/// Nodes listed from the ROS graph.
pub const NODES: usize = 1_024;
/// Services listed from the ROS graph: a node has about seven for its parameters.
pub const SERVICES: usize = 8_192;
/// Timeout of a service call unless the client sets one.
pub const SERVICE_TIMEOUT_MS: u64 = 5_000;
/// Longest timeout that a client may set.
pub const SERVICE_TIMEOUT_MAX_MS: u64 = 60_000;
/// Nodes queried for their parameters at a time.
pub const QUERIED_NODES: usize = 8;
/// Default page size of lists in the HTTP API.
pub const API_PAGE_ENTRIES: usize = 200;
/// Largest page size that a client may request.
pub const API_PAGE_MAX_ENTRIES: usize = 1_000;
/// How long an HTTP client may read nothing of a response.
pub const HTTP_STALL_MS: u64 = 5_000;
/// Bytes of unread HTTP responses of one endpoint.
pub const HTTP_RESPONSES_BYTES: usize = 64 << 20;

/// Native heartbeat of an otherwise silent session.
pub const HEARTBEAT_MS: u64 = 100;
/// Silence after which a link is dead.
pub const DEAD_MS: u64 = 700;

/// Bytes kept for replay per topic.
pub const REPLAY_TOPIC_BYTES: usize = 2 << 20;
/// Age beyond which a sample is not replayed.
pub const REPLAY_AGE_MS: u64 = 5_000;
/// Cursors in one `resume`.
pub const CURSORS_PER_RESUME: usize = 8_192;

/// Peers known to one endpoint.
pub const PEERS: usize = 16;

/// How long a relay's client waits for the rover to confirm an emergency stop.
pub const STOP_CONFIRM_MS: u64 = 2_000;

/// A process that lived this long resets its backoff.
pub const RESTART_HEALTHY_MS: u64 = 2_000;

/// Bytes of one message definition with its dependencies.
pub const SCHEMA_TEXT_BYTES: usize = 1 << 20;

/// Longest delay until a commit of another process is seen, and until a lease expires.
pub const STORE_POLL_MS: u64 = 200;
/// How long a call waits for the write lock of the store; then it is rejected without effect.
pub const STORE_WRITE_LOCK_MS: u64 = 3_000;
/// Shortest lease.
pub const LEASE_MIN_MS: u64 = 500;
/// Longest lease, unless it is kept alive.
pub const LEASE_MAX_MS: u64 = 3_600_000;
/// Longest wait of an HTTP request.
pub const API_WAIT_MS: u64 = 30_000;
/// Spans of a client in one message.
pub const REPORTED_SPANS: usize = 32;
/// Samples whose times a client reports in one message.
pub const REPORTED_SAMPLES: usize = 8;
/// Characters of the name of a client's span.
pub const REPORTED_SPAN_CHARS: usize = 128;
/// Concurrent requests of one native session; more are rejected.
pub const SESSION_REQUESTS: usize = 32;
/// Watches of one native session; more are rejected.
pub const SESSION_WATCH_ENTRIES: usize = 32;

/// Bytes of an identity: the name of a token's holder, or an address.
pub const IDENTITY_BYTES: usize = 64;
/// Bytes of the name of a queue, of a message's deduplication id, and of a client.
pub const QUEUE_NAME_BYTES: usize = 200;
/// Number of queues.
pub const QUEUE_ENTRIES: usize = 1_000;
/// Unfinished messages of one queue, dead letters included.
pub const QUEUE_MESSAGES: usize = 10_000;
/// Messages enqueued or dequeued at once.
pub const QUEUE_BATCH_MESSAGES: usize = 20;
/// Longest wait of a call for a message.
pub const QUEUE_WAIT_MS: u64 = 30_000;

/// Bytes of the key of a shared value.
pub const KV_KEY_BYTES: usize = 400;
/// Bytes of a shared value.
pub const KV_VALUE_BYTES: usize = 1 << 20;
/// Longest age of a cached value that is served.
pub const KV_STALE_MS: u64 = 1_000;

/// Bytes of the name of an event stream, of an event's type and of its identifiers.
pub const EVENT_NAME_BYTES: usize = 200;
/// Bytes of an event's id, with the prefix that names the id's owner, whose every byte may be escaped.
pub const EVENT_ID_BYTES: usize = EVENT_NAME_BYTES + 3 * IDENTITY_BYTES + 16;
/// Bytes of data appended by one transaction, one event at least.
pub const EVENT_BATCH_BYTES: usize = 256 << 10;
/// Events read at once.
pub const EVENT_PAGE_ENTRIES: usize = 500;

/// Longest reason of a transition, and longest type and address of an entity.
pub const LIFECYCLE_TEXT_CHARS: usize = 256;

/// Retry interval of recording after a failure.
pub const RECORDER_RETRY_MS: u64 = 1_000;

/// Longest filter of the log.
pub const LOG_FILTER_BYTES: usize = 512;
/// How long a changed level of the log holds if nobody says how long.
pub const LOG_CHANGE_DEFAULT_S: u64 = 3_600;
/// How long it may hold.
pub const LOG_CHANGE_MAX_S: u64 = 24 * 3_600;
