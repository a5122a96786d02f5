//! Limits of what a team shares: the store, locks, queues, values, events, lives.

/// Bytes of a key in the store.
pub const STORE_KEY_BYTES: usize = 512;
/// Bytes of a value in the store: a value of a client's, and what is kept beside it.
pub const STORE_VALUE_BYTES: usize = (1 << 20) + (4 << 10);
/// Compares and operations of one transaction.
pub const STORE_TXN_ELEMENTS: usize = 128;
/// Keys that are read at once.
pub const STORE_PAGE_ENTRIES: usize = 1_000;
/// Bytes of values after which a page ends, and a batch of changes with its revision.
pub const STORE_PAGE_BYTES: usize = 4 << 20;
/// Changes that a compaction looks through before others have their turn.
pub const STORE_COMPACTED_ENTRIES: usize = 500;
/// Calls that wait for the store's thread; more are refused.
pub const STORE_WAITING_CALLS: usize = 1_024;
/// Processes on one computer that share a store.
pub const STORE_PEERS: usize = 64;
/// A commit of another process is seen after this long at the latest, and a lease ends so much late.
pub const STORE_POLL_MS: u64 = 200;
/// Where others cannot be told of commits, that is tried again so much later.
pub const STORE_BELL_MS: u64 = 10_000;
/// A call waits so long for its turn at the store; then it is refused, and nothing was done.
pub const STORE_TURN_MS: u64 = 3_000;
/// A lease lives at least this long.
pub const LEASE_MIN_MS: u64 = 500;
/// A lease lives at most this long, unless it is kept alive.
pub const LEASE_MAX_MS: u64 = 3_600_000;
/// Bytes of the name of a resource, and of a client that locks it.
pub const LOCK_NAME_BYTES: usize = 200;
/// Clients that may wait for one lock.
pub const LOCK_WAITING_CLIENTS: usize = 1_000;
/// Characters of a reason or message that goes with a lock.
pub const LOCK_REASON_CHARS: usize = 200;
/// For so long a client may learn who took its lock, and why.
pub const LOCK_FORCED_KEPT_MS: u64 = 600_000;
/// A lock lives so long where who asks does not say.
pub const LOCK_DEFAULT_TTL_MS: u64 = 60_000;
/// A request over HTTP may wait so long for something to happen.
pub const API_WAIT_MS: u64 = 30_000;
/// Requests of one native session that are being answered; more are refused.
pub const SESSION_REQUESTS: usize = 32;
/// Watches of one native session; more are refused.
pub const SESSION_WATCH_ENTRIES: usize = 32;
/// What is watched is told again at the earliest so long after the last time.
pub const WATCH_PAUSE_MS: u64 = 50;

/// Bytes of the name of a queue, of a message's dedup id, and of who uses it.
pub const QUEUE_NAME_BYTES: usize = 200;
/// Queues there can be.
pub const QUEUE_ENTRIES: usize = 1_000;
/// Messages of one queue that are not done with, dead letters included.
pub const QUEUE_MESSAGES: usize = 10_000;
/// Their bytes.
pub const QUEUE_BYTES: u64 = 256 << 20;
/// A queue of more messages is counted at most once in so long.
pub const QUEUE_COUNTED_MESSAGES: usize = 256;
/// For so long such a count stands.
pub const QUEUE_COUNTED_MS: u64 = 500;
/// Messages that are put into a queue, or taken from it, at once.
pub const QUEUE_BATCH_MESSAGES: usize = 20;
/// Their bytes; a message alone may have as many.
pub const QUEUE_BATCH_BYTES: usize = STORE_VALUE_BYTES;
/// Messages of one queue that are delivered and not yet acknowledged.
pub const QUEUE_FLIGHT_MESSAGES: usize = 1_000;
/// Messages of one queue that are delayed.
pub const QUEUE_DELAYED_MESSAGES: usize = 1_000;
/// Highest priority of a message; the lowest is 0.
pub const QUEUE_PRIORITY_ELEMENTS: u8 = 9;
/// How long a delivered message is hidden from others unless it is said.
pub const QUEUE_VISIBILITY_MS: u64 = 30_000;
/// How long a dedup id is remembered.
pub const QUEUE_DEDUP_MS: u64 = 300_000;
/// Deliveries after which a message is a dead letter, unless the queue has it otherwise.
pub const QUEUE_DELIVERY_ATTEMPTS: u32 = 5;
/// The most that a queue may have.
pub const QUEUE_DELIVERY_MAX_ATTEMPTS: u32 = 100;
/// How often one call tries to be the one that changes a message or a queue.
pub const QUEUE_TRIES_ATTEMPTS: usize = 64;
/// How often a change is asked for again whose answer was lost.
pub const QUEUE_LOST_ATTEMPTS: u32 = 6;
/// The longest a call waits for a message.
pub const QUEUE_WAIT_MS: u64 = 30_000;
/// Calls of one process that wait for a message.
pub const QUEUE_WAITING_CLIENTS: usize = 1_000;
/// How much longer than asked for a message may be hidden: one lease serves for several.
pub const QUEUE_SLACK_MS: (u64, u64) = (100, 5_000);
/// Characters of the reason for which a message was given back or thrown away.
pub const QUEUE_REASON_CHARS: usize = 300;

/// Bytes of the name of a shared value.
pub const KV_KEY_BYTES: usize = 400;
/// Bytes of a shared value.
pub const KV_VALUE_BYTES: usize = 1 << 20;
/// Largest request that writes one.
pub const KV_BODY_BYTES: usize = KV_VALUE_BYTES + (4 << 10);
/// Characters that are kept of the name of who wrote it.
pub const KV_AUTHOR_CHARS: usize = 200;
/// How deep a shared value may be nested: it has to fit into a list of them.
pub const KV_VALUE_DEPTH: usize = 64;
/// A part of a list ends behind so many bytes of values, with the page that was read.
pub const KV_LIST_BYTES: usize = 4 << 20;
/// How often a write or a read that others came between is tried.
pub const KV_ATTEMPTS: usize = 16;
/// Keys that a process keeps of what it read.
pub const KV_CACHE_ENTRIES: usize = 4_096;
/// Bytes of them.
pub const KV_CACHE_BYTES: usize = 32 << 20;
/// What is served from there was so at most this long ago.
pub const KV_STALE_MS: u64 = 1_000;
/// How often that is confirmed.
pub const KV_CONFIRM_MS: u64 = 250;

/// Bytes of the name of a stream of events, of an event's type and of its identifiers.
pub const EVENT_NAME_BYTES: usize = 200;
/// Bytes of the id of an event, with the word before it that says whose ids these are.
pub const EVENT_ID_BYTES: usize = EVENT_NAME_BYTES + 16;
/// Bytes of the data of an event, as JSON.
pub const EVENT_DATA_BYTES: usize = 64 << 10;
/// Events that one transaction appends: as many as its parts allow.
pub const EVENT_BATCH_EVENTS: usize = 16;
/// Bytes of data that one transaction appends, one event at least.
pub const EVENT_BATCH_BYTES: usize = 256 << 10;
/// Appends that wait for their turn; more are refused.
pub const EVENT_WAITING_CALLS: usize = 1_024;
/// How often an append is tried while other processes append as well.
pub const EVENT_APPEND_ATTEMPTS: usize = 500;
/// A signed checkpoint is kept at least after so many events.
pub const EVENT_CHECKPOINT_EVENTS: u64 = 256;
/// A signed checkpoint is kept at least after this long, while events come.
pub const EVENT_CHECKPOINT_MS: u64 = 5_000;
/// Versions of streams that the appender remembers.
pub const EVENT_STREAM_ENTRIES: usize = 4_096;
/// New events that wait for whoever follows the log; who is further behind reads them from the store.
pub const EVENT_LIVE_EVENTS: usize = 256;
/// Events that are read at once.
pub const EVENT_PAGE_ENTRIES: usize = 500;
/// Bytes of events that are read at once, one event at least.
pub const EVENT_PAGE_BYTES: usize = 4 << 20;
/// Events are kept for so long.
pub const EVENT_KEPT_S: u64 = 30 * 86_400;
/// Bytes of events that are kept.
pub const EVENT_KEPT_BYTES: u64 = 256 << 20;
/// How often what is too old, or too much, is removed.
pub const EVENT_KEEPER_MS: u64 = 60_000;
/// Events that are removed at one go, so that others come to write as well.
pub const EVENT_REMOVED_EVENTS: u64 = 5_000;
/// Findings after which a verification stops.
pub const EVENT_FINDING_ENTRIES: usize = 100;
/// Bytes of events up to which an endpoint verifies the log by itself.
pub const EVENT_VERIFY_BYTES: u64 = 16 << 20;
/// Files of public keys that are read.
pub const EVENT_KEY_FILES: usize = 256;

/// Bytes of the name of a robot or an endpoint, and of who speaks for it.
pub const LIFECYCLE_NAME_BYTES: usize = 128;
/// Longest reason for what happens to one, and longest type and address of one.
pub const LIFECYCLE_TEXT_CHARS: usize = 256;
/// Robots and endpoints that a team has at most.
pub const LIFECYCLE_ENTRIES: usize = 10_000;
/// A change of one is tried so often against others before it is given up.
pub const LIFECYCLE_CHANGE_ATTEMPTS: usize = 64;
/// What speaks for a robot or an endpoint is missed after so long.
pub const LIFECYCLE_BEAT_MS: u64 = 6_000;
/// How often it speaks, and how often it looks whether something is to be done.
pub const LIFECYCLE_SPEAK_MS: u64 = 2_000;
/// How often the one process looks that watches over all.
pub const LIFECYCLE_WATCH_MS: u64 = 500;
/// After so long without a sign of life of that process another one takes its place.
pub const LIFECYCLE_MONITOR_MS: u64 = 5_000;
/// A rover of which no sample came for so long is silent.
pub const LIFECYCLE_SILENT_MS: u64 = 5_000;
/// How long an endpoint that stops may take to say so.
pub const LIFECYCLE_GOODBYE_MS: u64 = 300;

/// Members of an etcd cluster that are tried.
pub const ETCD_MEMBER_ENTRIES: usize = 16;
/// A member that has not answered for so long is not asked what it says of itself.
pub const ETCD_PROBE_MS: u64 = 500;
/// How often the member in use is asked whether it is well.
pub const ETCD_CARE_MS: u64 = 300;
/// A member that is silent for so long is given up. Longer than a busy computer stands still.
pub const ETCD_SILENCE_MS: u64 = 1_000;
/// While there is no leader, the members are asked this often at first.
pub const ETCD_SEARCH_MS: u64 = 25;
/// While there is none for long, the members are asked this often.
pub const ETCD_AWAY_MS: u64 = 500;
/// One attempt to read.
pub const ETCD_READ_MS: u64 = 1_000;
/// One attempt to write; after it nobody knows whether it happened.
pub const ETCD_WRITE_MS: u64 = 2_000;
/// All attempts together.
pub const ETCD_PATIENCE_MS: u64 = 3_000;
/// An answer of a member: a page of large values is cut to it.
pub const ETCD_ANSWER_BYTES: usize = 32 << 20;
/// The process that records what changes is replaced so long after it is gone.
pub const RECORDER_LEASE_MS: u64 = 4_000;
/// After a failure it is tried again so late.
pub const RECORDER_RETRY_MS: u64 = 1_000;
/// How far it is recorded is kept so often.
pub const RECORDER_PLACE_MS: u64 = 1_000;
/// The store's past is cleared so often.
pub const STORE_COMPACTION_MS: u64 = 60_000;
/// What happened in the store within this time can be read as it was.
pub const STORE_PAST_MS: u64 = 600_000;
/// But no more changes than these.
pub const STORE_PAST_ENTRIES: u64 = 200_000;
/// Circles of waiting that are told at once.
pub const LOCK_CIRCLES_ENTRIES: usize = 100;
/// Clients that hold or want any lock, all together.
pub const LOCK_CLIENTS: usize = 4_000;
/// Who asks waits so long for others of its process that ask.
pub const LOCK_TURN_MS: u64 = 2_000;
