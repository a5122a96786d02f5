//! Every bound of the system in one place, with its unit in the name.

mod coordination;

pub use crate::limits::coordination::*;

/// Clients per endpoint unless configured.
pub const CLIENTS_PER_ENDPOINT: usize = 50;
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
/// Connections that have not yet become a session, per endpoint.
pub const PENDING_CONNECTIONS: usize = 128;
/// How long a WebSocket without a subprotocol may stay silent before it is taken for a plain one.
pub const DIALECT_DECISION_MS: u64 = 200;

/// Bytes that wait for one client in its `every` queue.
pub const OUTBOX_EVERY_BYTES: usize = 2 << 20;
/// Frames that wait for one client in its `every` queue.
pub const OUTBOX_EVERY_FRAMES: usize = 8_192;
/// Bytes of control messages (answers, heartbeats) that wait for one client.
pub const OUTBOX_CONTROL_BYTES: usize = 4 << 20;
/// A streamed sample that has waited this long is dropped rather than sent late.
pub const OUTBOX_MAX_AGE_MS: u64 = 1_000;
/// Kernel send buffer of a client's socket: small, so that what is read after a stall is new.
pub const SOCKET_SEND_BUFFER_BYTES: usize = 64 << 10;
/// Bytes of a client's socket that may wait in the kernel to be sent before no more are written.
pub const SOCKET_UNSENT_BYTES: u32 = 16 << 10;
/// A client that reads nothing for this long, with bytes waiting, is closed.
pub const CLIENT_STALL_MS: u64 = 30_000;
/// Inbound messages per second one client may send before it is throttled.
pub const INBOUND_MESSAGES_PER_S: u32 = 500;
/// Bad messages after which a session is closed.
pub const BAD_MESSAGES_PER_SESSION: u32 = 100;
/// Subscription patterns per session.
pub const PATTERNS_PER_SESSION: usize = 1_024;
/// Characters of one topic name or pattern.
pub const TOPIC_NAME_CHARS: usize = 256;

/// Samples that wait between a source and the hub.
pub const INGRESS_SAMPLES: usize = 8_192;
/// Bytes that wait between a source and the hub.
pub const INGRESS_BYTES: usize = 64 << 20;
/// Topics one hub knows.
pub const TOPICS: usize = 4_096;
/// Latched samples kept per topic (one per writer, as transient local does).
pub const LATCHED_SAMPLES_PER_TOPIC: usize = 64;
/// Nodes listed from the ROS graph.
pub const NODES: usize = 1_024;
/// Services listed from the ROS graph: a node has about seven for its parameters.
pub const SERVICES: usize = 8_192;
/// How long a service may take where the client does not say.
pub const SERVICE_TIMEOUT_MS: u64 = 5_000;
/// The longest a client may have a call wait.
pub const SERVICE_TIMEOUT_MAX_MS: u64 = 60_000;
/// Service calls of one session that wait for their answers.
pub const CALLS_PER_SESSION: usize = 64;
/// Service calls of one endpoint that wait for their answers.
pub const CALLS: usize = 512;
/// A client of a ROS service that nobody called for this long is closed.
pub const SERVICE_CLIENT_IDLE_MS: u64 = 60_000;
/// How long a service that nobody is known to serve is waited for.
pub const SERVICE_GRACE_MS: u64 = 1_000;
/// Requests to the services of clients that wait for their answers, per endpoint.
pub const WAITING_REQUESTS: usize = 256;
/// The same of one service.
pub const REQUESTS_PER_SERVICE: usize = 64;
/// Subscriptions of one endpoint apart from its hub: of goals and of parameters.
pub const LISTENERS: usize = 128;
/// A writer of a client's topic that nobody used for this long is closed.
pub const WRITER_IDLE_MS: u64 = 600_000;
/// Goals that an action of a client may have, those that ended a while ago included.
pub const GOALS_PER_ACTION: usize = 64;
/// How long the result of such a goal is kept after its end.
pub const GOAL_RESULT_KEEP_MS: u64 = 60_000;
/// Requests for the result of one goal that wait.
pub const REQUESTS_PER_GOAL: usize = 8;
/// Events of one goal that wait for its client; of feedback, what comes then is lost.
pub const GOAL_EVENTS: usize = 64;
/// First and longest time after which a goal's result is asked for again: the request may have been lost.
pub const GOAL_ASK_MS: (u64, u64) = (2_000, 600_000);
/// Nodes that are asked for their parameters at a time.
pub const ASKED_NODES: usize = 8;
/// How long a node may take to say something of its parameters.
pub const PARAMETER_TIMEOUT_MS: u64 = 2_000;
/// Parameters of one node that are read.
pub const PARAMETERS_PER_NODE: usize = 4_096;
/// Parameter events that wait for a client; what is older is lost.
pub const PARAMETER_EVENTS: usize = 256;
/// Services that one session may offer.
pub const SERVICES_PER_SESSION: usize = 16;
/// Topics that one session may publish.
pub const PUBLICATIONS_PER_SESSION: usize = 64;
/// Goals of one session that are under way.
pub const GOALS_PER_SESSION: usize = 16;
/// Holders of tokens.
pub const TOKENS_ENTRIES: usize = 1_000;
/// Entries of a list in the HTTP API where the client does not say how many.
pub const API_PAGE_ENTRIES: usize = 200;
/// The most it may ask for.
pub const API_PAGE_MAX_ENTRIES: usize = 1_000;
/// Longest name in a path or parameter of the HTTP API.
pub const API_NAME_CHARS: usize = 400;
/// How long a client of the HTTP API may take no byte of an answer.
pub const HTTP_STALL_MS: u64 = 5_000;
/// The same of any connection that is no session yet, while others wait for its place.
pub const HTTP_CROWDED_MS: u64 = 1_000;
/// How long a connection may serve requests before it has to be made anew.
pub const HTTP_CONNECTION_MS: u64 = 60_000;
/// Bytes of answers over HTTP, of one endpoint, that wait to be read.
pub const HTTP_ANSWERS_BYTES: usize = 64 << 20;
/// Topics that have series of their own in `/metrics`; the least urgent are left out.
pub const METRICS_TOPICS: usize = 100;
/// Nesting of JSON that a client sends.
pub const JSON_DEPTH: usize = 128;

/// Smallest pieces that a rosbridge client gets a message in, whatever it asks for.
pub const ROSBRIDGE_FRAGMENT_MIN_BYTES: usize = 128;
/// Bytes of one rosbridge message that a client sends in pieces, and of all its unfinished ones.
pub const ROSBRIDGE_ASSEMBLY_BYTES: usize = 4 << 20;
/// Pieces that one of them may come in.
pub const ROSBRIDGE_ASSEMBLY_ENTRIES: usize = 8_192;
/// Messages of one session that are unfinished at a time.
pub const ROSBRIDGE_ASSEMBLY_MESSAGES: usize = 8;
/// How long an unfinished message is kept.
pub const ROSBRIDGE_ASSEMBLY_MS: u64 = 30_000;
/// How much larger the text in a PNG image may be than the image, as a multiple, beyond 64 KiB.
pub const ROSBRIDGE_PNG_MULTIPLE: usize = 32;
/// Longest id of a rosbridge client's message.
pub const ROSBRIDGE_ID_BYTES: usize = 1_024;
/// Largest answer to one call of a rosbridge client, and largest request to a service that it serves.
pub const ROSBRIDGE_ANSWER_BYTES: usize = OUTBOX_CONTROL_BYTES / 2;

/// Native heartbeat of an otherwise silent session.
pub const HEARTBEAT_MS: u64 = 100;
/// Interval of a client's time exchange, from which it estimates round trip and clock offset.
pub const PROBE_MS: u64 = 500;
/// Silence after which a link is suspect.
pub const SUSPECT_MS: u64 = 350;
/// Silence after which a link is dead.
pub const DEAD_MS: u64 = 700;
/// Heartbeat that a client asks for where it only stands by.
pub const STANDBY_HEARTBEAT_MS: u64 = 500;
/// Links all silent for longer than this are closed, though it is the radio: what it holds is old.
pub const RADIO_PATIENCE_MS: u64 = 5_000;
/// First and longest time an endpoint that covers more must have been healthy before a client
/// returns to it; doubles with each of its recent failures.
pub const FAILBACK_MS: (u64, u64) = (1_000, 10_000);
/// How long an endpoint's failure counts as recent.
pub const FAILBACK_MEMORY_MS: u64 = 60_000;
/// Consecutive failed connections that open an endpoint's circuit breaker.
pub const BREAKER_FAILED_CONNECTIONS: u32 = 5;
/// Links lost within [`BREAKER_WINDOW_MS`] that open it.
pub const BREAKER_LOST_CONNECTIONS: usize = 3;
/// The time within which lost links are counted.
pub const BREAKER_WINDOW_MS: u64 = 30_000;
/// First and longest time a breaker stays open.
pub const BREAKER_OPEN_MS: (u64, u64) = (1_000, 30_000);
/// A breaker on trial closes after so much health.
pub const BREAKER_HEALTHY_MS: u64 = 5_000;
/// A full endpoint that does not say when to return is asked again after this long.
pub const FULL_RETRY_MS: u64 = 5_000;
/// The longest a full endpoint may send a client away for.
pub const FULL_RETRY_MAX_MS: u64 = 60_000;
/// Kernel receive buffer of a client's socket: small, so that little is old after a pause.
pub const SOCKET_RECEIVE_BUFFER_BYTES: usize = 128 << 10;
/// Slowest heartbeat a client may ask for.
pub const HEARTBEAT_MAX_MS: u64 = 5_000;
/// Muted standby sessions per endpoint, as a multiple of its clients: each client of the three other
/// endpoints may hold one here.
pub const STANDBYS_PER_CLIENT: usize = 4;
/// A standby that takes over may go beyond the endpoint's clients by this multiple: to turn away who
/// has lost its endpoint would be worse than to be crowded.
pub const FAILOVER_RESERVE_MULTIPLE: usize = 2;

/// Bytes kept for replay per topic.
pub const REPLAY_TOPIC_BYTES: usize = 2 << 20;
/// Samples kept for replay per topic.
pub const REPLAY_TOPIC_SAMPLES: usize = 4_096;
/// Bytes kept for replay per endpoint.
pub const REPLAY_BYTES: usize = 8 << 20;
/// Age beyond which a sample is not replayed.
pub const REPLAY_AGE_MS: u64 = 5_000;
/// The same of the last few samples of a topic about emergency, safety, state or mission: history.
pub const REPLAY_HISTORY_AGE_MS: u64 = 60_000;
/// How many these are.
pub const REPLAY_HISTORY_SAMPLES: usize = 64;
/// A `resume` holds for subscriptions that follow it within this time.
pub const RESUME_VALID_MS: u64 = 2_000;
/// Bytes replayed to one client at a time; what is older is named as a gap.
pub const REPLAY_CLIENT_BYTES: usize = OUTBOX_EVERY_BYTES / 4 * 3;
/// What a replayed sample weighs beyond its payload: headers and its place in the queue.
pub const REPLAY_SAMPLE_OVERHEAD_BYTES: usize = 64;
/// Samples replayed to one client at a time.
pub const REPLAY_CLIENT_SAMPLES: usize = OUTBOX_EVERY_FRAMES / 4 * 3;
/// Writers a topic's replay keeps account of.
pub const REPLAY_WRITERS_PER_TOPIC: usize = 256;
/// Cursors one client may resume with.
pub const CURSORS_PER_RESUME: usize = 8_192;

/// A tier that stays down longer than this is covered by the best living endpoint.
pub const PROMOTION_GRACE_MS: u64 = 2_000;
/// A tier that is back is given its scopes back after this long.
pub const GIVE_BACK_MS: u64 = 10_000;
/// Peers one endpoint knows.
pub const PEERS: usize = 16;
/// Longest body of a request to change something.
pub const API_BODY_BYTES: usize = 8 << 10;
/// The same where it may hold a value of the store, as JSON escapes it.
pub const API_VALUE_BODY_BYTES: usize = 2 << 20;
/// JSON of more bytes is read and written beside the thread that serves telemetry.
pub const API_ASIDE_BYTES: usize = 64 << 10;
/// A body is nested so deep at most: a value, and what is around it.
pub const API_BODY_DEPTH: usize = KV_VALUE_DEPTH + 4;
/// So much of it at once.
pub const API_ASIDE_CALLS: usize = 4;
/// For so long it waits to be done at all.
pub const API_ASIDE_MS: u64 = 2_000;
/// Events one endpoint remembers.
pub const EVENTS: usize = 512;
/// Characters of one event's text.
pub const EVENT_CHARS: usize = 256;

/// How long clients have to leave an endpoint that drains.
pub const DRAIN_MS: u64 = 2_000;
/// A client that gave no sign of life for this long gets nothing more queued in the network.
pub const CLIENT_SILENT_MS: u64 = 1_500;
/// Samples of one topic that are kept for a client while it is away, of those older than
/// [`OUTBOX_MAX_AGE_MS`] that do not expire.
pub const AWAY_SAMPLES_PER_TOPIC: usize = 16;
/// Frames that wait longer than this, for [`LADDER_DOWN_MS`], take a session down a service level.
pub const LADDER_WAIT_MS: u64 = 150;
/// How long a queue must stand before a session goes down one service level.
pub const LADDER_DOWN_MS: u64 = 1_000;
/// How long a link must be clean before a session goes up one level, first and after failures.
pub const LADDER_HOLD_MS: (u64, u64) = (5_000, 60_000);
/// Interval at which a session whose samples are shed is told how many.
pub const SHED_TELL_MS: u64 = 2_000;
/// Interval at which an endpoint notes that it turns clients away.
pub const FULL_EVENT_MS: u64 = 5_000;
/// WebSocket pings to clients whose dialect has no sign of life of its own.
pub const PING_MS: u64 = 1_000;
/// The longest a frame may occupy a budgeted link; larger ones are shed.
pub const BUDGET_FRAME_MS: u64 = 200;
/// Bytes that a frame costs beside itself: TCP and IP headers with options, at one packet a frame.
pub const BUDGET_FRAME_OVERHEAD_BYTES: usize = 60;
/// What a budgeted link may be given at once after silence.
pub const BUDGET_BURST_MS: u64 = 100;
/// How far what is urgent (state, mission, safety) may overdraw a budget.
pub const BUDGET_OVERDRAFT_MS: u64 = 100;
/// How far the emergency stop, heartbeats and answers may.
pub const BUDGET_EMERGENCY_MS: u64 = 500;
/// On a budgeted link, a sample that waited this long gives way to a newer one of its topic.
pub const BUDGET_WAIT_MS: u64 = 200;
/// Shortest sleep of a session that waits for its share of an endpoint's budget.
pub const BUDGET_NAP_MS: u64 = 5;
/// Smallest link budget.
pub const BUDGET_MIN_BYTES_PER_S: u64 = 1_000;

/// How long a relay's client waits for the rover to confirm an emergency stop.
pub const STOP_CONFIRM_MS: u64 = 2_000;
/// An emergency stop that is not confirmed is said again this often: the rover does an id once.
pub const STOP_REPEAT_MS: u64 = 250;
/// Emergency stops that wait for the rover in one relay.
pub const STOPS_WAITING_ENTRIES: usize = 64;
/// A topic that the rover's endpoint no longer lists is kept by a relay this long.
pub const RELAY_TOPIC_KEEP_MS: u64 = 10_000;
/// A type's definition is asked for again after this long without an answer.
pub const RELAY_SCHEMA_RETRY_MS: u64 = 5_000;
/// How often a type's definition is asked for.
pub const RELAY_SCHEMA_ATTEMPTS: u32 = 5;
/// Stored values that wait in a relay until the rover's clock is known.
pub const RELAY_STORED_SAMPLES: usize = 1_024;
/// How long they wait.
pub const RELAY_STORED_MS: u64 = 1_000;

/// Largest file, service response or list of parameters that a foxglove client gets: it goes out in
/// one message, which nothing urgent can overtake, and must fit into the outbox.
pub const FOXGLOVE_ANSWER_BYTES: usize = 3 << 20;
/// What may wait for a foxglove client before it is told of more topics or given a large answer.
pub const FOXGLOVE_WAITING_BYTES: usize = 256 << 10;
/// Topics and services are told to a foxglove client in messages of about this size.
pub const FOXGLOVE_BATCH_BYTES: usize = 256 << 10;
/// Characters of a status message for a foxglove client.
pub const FOXGLOVE_STATUS_CHARS: usize = 500;
/// Status messages for one foxglove client; more are counted.
pub const FOXGLOVE_STATUS_MESSAGES_PER_S: usize = 20;
/// Bytes of a foxglove client's requests that wait for their answers; a lone one may be larger.
pub const FOXGLOVE_PENDING_BYTES: usize = 1 << 20;
/// Entries of a list in a foxglove client's request, and parameters that it may follow.
pub const FOXGLOVE_REQUEST_ENTRIES: usize = 1_024;
/// Longest URI of a file that a foxglove client asks for.
pub const FOXGLOVE_URI_BYTES: usize = 1_024;

/// How long before it takes effect an order to a recording is written, so that all processes have
/// read it by then.
pub const PLAYBACK_LEAD_MS: u64 = 150;
/// How often a process looks for orders.
pub const PLAYBACK_LOOK_MS: u64 = 20;
/// Orders that one process takes.
pub const PLAYBACK_MESSAGES_PER_S: usize = 20;
/// Orders of one run, in a file; when it is full there are no more.
pub const PLAYBACK_FILE_BYTES: u64 = 8 << 20;
/// Longest name of a request, which comes back with what follows from it.
pub const PLAYBACK_REQUEST_BYTES: usize = 128;
/// Slowest and fastest that a recording plays, of how it was recorded.
pub const PLAYBACK_SPEED_PERCENT: (u32, u32) = (1, 10_000);
/// What lies this far before a place that somebody goes to is shown there, the newest of each topic.
pub const PLAYBACK_BACKFILL_MS: u64 = 1_000;
/// How often a client is told where the recording is, at most.
pub const PLAYBACK_TELL_MS: u64 = 50;

/// Plain telemetry rate.
pub const PLAIN_RATE_HZ: u32 = 5;

/// Interval at which peers ask each other for `/health`.
pub const PEER_POLL_MS: u64 = 3_000;
/// The same on one computer.
pub const PEER_POLL_LOCAL_MS: u64 = 1_000;
/// The same while a peer is suspicious.
pub const PEER_POLL_SUSPICIOUS_MS: u64 = 500;
/// How long a peer may take to answer.
pub const PEER_TIMEOUT_MS: u64 = 1_000;
/// Longest `/health` body read from a peer.
pub const PEER_BODY_BYTES: usize = 64 << 10;

/// Heartbeat of an endpoint process to its supervisor.
pub const CHILD_HEARTBEAT_MS: u64 = 100;
/// Silence after which the supervisor takes an endpoint process for hung and kills it.
pub const CHILD_HUNG_MS: u64 = 1_500;
/// The same while the process starts.
pub const CHILD_START_MS: u64 = 10_000;
/// How long a replacement warms up at least before it takes over: discovery, and filling its ring.
pub const CHILD_WARM_MS: u64 = 1_500;
/// How long an endpoint process may take to stop accepting when it is told to drain.
pub const CHILD_QUIET_MS: u64 = 500;
/// How long a replacement must have served before the next endpoint's turn comes: a version that
/// falls over at its first clients is to cost one endpoint.
pub const CHILD_SETTLE_MS: u64 = 1_000;
/// Bytes of an endpoint process's last words to its supervisor.
pub const CHILD_LAST_WORDS_BYTES: usize = 512;
/// How long the replacement of one endpoint process may take in all.
pub const REPLACE_MS: u64 = 30_000;
/// Clients of the supervisor's control socket at a time.
pub const CONTROL_CLIENTS: usize = 4;
/// Longest request to the control socket, and longest line of its answers.
pub const CONTROL_LINE_BYTES: usize = 4 << 10;
/// How long a client of the control socket may take to say what it wants, or to read an answer.
pub const CONTROL_PATIENCE_MS: u64 = 2_000;
/// Longest path of a Unix socket on Linux (`sun_path` and its final zero, unix(7)).
pub const SOCKET_PATH_BYTES: usize = 107;
/// Control sockets that are looked at to find the one that is meant.
pub const CONTROL_SOCKET_FILES: usize = 256;
/// A clean stop ends within this time; what has not ended is killed.
pub const STOP_MS: u64 = 1_500;
/// First and last delay of a restart.
pub const RESTART_BACKOFF_MS: (u64, u64) = (20, 5_000);
/// A process that lived this long starts its backoff anew.
pub const RESTART_HEALTHY_MS: u64 = 2_000;

/// Decoded nesting depth of a message type.
pub const SCHEMA_DEPTH: usize = 32;
/// Bytes of one message definition with its dependencies.
pub const SCHEMA_TEXT_BYTES: usize = 1 << 20;

/// Lines that wait for the log's writer; more are dropped and counted.
pub const LOG_LINES: usize = 16_384;
/// Daily log files kept per process.
pub const LOG_FILES: usize = 7;
