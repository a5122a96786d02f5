//! Limits used by several modules of the gateway, together with those it shares with its clients.

pub(crate) use roverline_protocol::limits::*;

/// Frames queued for one client in its `every` queue.
pub(crate) const OUTBOX_EVERY_FRAMES: usize = 8_192;
/// Bytes of control messages (responses, heartbeats) queued for one client.
pub(crate) const OUTBOX_CONTROL_BYTES: usize = 4 << 20;
/// A streamed sample that has waited this long is dropped rather than sent late.
pub(crate) const OUTBOX_MAX_AGE_MS: u64 = 1_000;
/// A client that reads nothing for this long, with bytes waiting, is disconnected.
pub(crate) const CLIENT_STALL_MS: u64 = 30_000;
/// Characters of one topic name or pattern.
pub(crate) const TOPIC_NAME_CHARS: usize = 256;
/// Steps per character of a topic's name that matching all patterns of one session may take, besides
/// their plain beginnings.
pub(crate) const SESSION_PATTERN_STEPS: usize = 16_384;
/// Requests of all observers that ask the store at a time; more wait for their turn.
pub(crate) const OBSERVER_STORE_REQUESTS: usize = 2;
/// Pending service calls of one session.
pub(crate) const CALLS_PER_SESSION: usize = 64;
/// Topics that one session may publish.
pub(crate) const PUBLICATIONS_PER_SESSION: usize = 64;
/// Goals of one session in progress.
pub(crate) const GOALS_PER_SESSION: usize = 16;
/// Longest name in a path or parameter of the HTTP API.
pub(crate) const API_NAME_CHARS: usize = 400;
/// Largest response to one call of a rosbridge client, and largest request to a service that it
/// provides.
pub(crate) const ROSBRIDGE_RESPONSE_BYTES: usize = OUTBOX_CONTROL_BYTES / 2;
/// Bytes kept for replay per endpoint.
pub(crate) const REPLAY_BYTES: usize = 8 << 20;
/// Bytes replayed to one client at a time; older samples are reported as a gap.
pub(crate) const REPLAY_CLIENT_BYTES: usize = OUTBOX_EVERY_BYTES / 4 * 3;
/// A tier that stays down longer than this is covered by the best live endpoint.
pub(crate) const PROMOTION_GRACE_MS: u64 = 2_000;
/// Characters of one event's text.
pub(crate) const EVENT_CHARS: usize = 256;
/// Samples of one topic kept for a client while it is away, of those older than
/// [`OUTBOX_MAX_AGE_MS`] that do not expire.
pub(crate) const AWAY_SAMPLES_PER_TOPIC: usize = 16;
/// Interval at which a session is informed about its shed samples.
pub(crate) const SHED_REPORT_MS: u64 = 2_000;
/// Largest file, service response or list of parameters for a foxglove client: it is sent as one
/// message, which nothing urgent can overtake, and must fit into the outbox.
pub(crate) const FOXGLOVE_RESPONSE_BYTES: usize = 3 << 20;
/// Approximate size of the messages that advertise topics and services to a foxglove client.
pub(crate) const FOXGLOVE_BATCH_BYTES: usize = 256 << 10;
/// Characters of a status message for a foxglove client.
pub(crate) const FOXGLOVE_STATUS_CHARS: usize = 500;
/// Entries of a list in a foxglove client's request, and parameters that it may subscribe to.
pub(crate) const FOXGLOVE_REQUEST_ENTRIES: usize = 1_024;
/// Longest URI of a file that a foxglove client requests.
pub(crate) const FOXGLOVE_URI_BYTES: usize = 1_024;
/// Plain telemetry rate.
pub(crate) const PLAIN_RATE_HZ: u32 = 5;
/// How long a peer may take to answer.
pub(crate) const PEER_TIMEOUT_MS: u64 = 1_000;
/// Heartbeat of an endpoint process to its supervisor.
pub(crate) const CHILD_HEARTBEAT_MS: u64 = 100;
/// Silence after which a starting endpoint process is considered hung.
pub(crate) const CHILD_START_MS: u64 = 10_000;
/// How long the replacement of one endpoint process may take in total.
pub(crate) const REPLACE_MS: u64 = 30_000;
/// Longest request to the control socket, and longest line of its answers.
pub(crate) const CONTROL_LINE_BYTES: usize = 4 << 10;
/// How long a client of the control socket may take to send its request, or to read an answer.
pub(crate) const CONTROL_TIMEOUT_MS: u64 = 2_000;
/// Control sockets examined to find the right one.
pub(crate) const CONTROL_SOCKET_FILES: usize = 256;
/// Time limit of a clean stop; processes that are still running are killed.
pub(crate) const STOP_MS: u64 = 1_500;
/// Nesting depth of a shared value: it has to fit into a list.
pub(crate) const KV_VALUE_DEPTH: usize = 64;
