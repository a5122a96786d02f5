//! The event log: append-only, totally ordered, with versioned streams. Events are linked by a hash chain
//! (as in RFC 9162, but linear) and signed by the node that appends them, so that edits, removals and
//! insertions are detected.
//!
//! One key holds the signed head of the log. Every append compares it, so all appends have one order, and
//! each knows its sequence number before it is written. A process batches the appends of its tasks into one
//! transaction, so that many cost one signature and one commit.

mod append_pace;
mod appender;
mod entry;
mod node_key;
mod plan;
mod read;
mod retention;
mod seal;
mod source;
mod subscribe;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::boot_clock;
use crate::events::append_pace::AppendPace;
use crate::events::appender::PendingAppend;
pub use crate::events::entry::{Event, HEAD as HEAD_KEY, Hash, Stored};
pub use crate::events::node_key::{NodeIdentity, archive_witnesses, trust, witnesses};
pub use crate::events::read::{EventPage, Query, Select};
pub use crate::events::retention::Retention;
pub use crate::events::seal::{Seal, SealKind, TrustedKeys};
pub use crate::events::source::{EntrySource, Snapshot};
use crate::events::subscribe::Follower;
pub use crate::events::subscribe::Subscription;
pub use crate::events::verify::{Finding, VerifyReport, Violation, verify};
use crate::limits;
use crate::store::{Store, StoreError, scan};

/// An event to append.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewEvent {
    /// The entity that it is about: `lock/arm`.
    pub stream: String,
    /// The type of event: `lock.acquired`.
    pub kind: String,
    /// Wall-clock time in nanoseconds since the Unix epoch; for display.
    pub at_ns: i64,
    /// The event's data.
    pub data: Value,
    /// The identity that caused it, if any.
    pub by: Option<String>,
    /// The unverified name that the client of that identity declares, if any.
    pub client: Option<String>,
    /// The idempotency key: an event whose id is already in the log is not appended again. Without one, an
    /// id is generated.
    pub id: Option<String>,
    /// Shared by related events.
    pub correlation_id: Option<String>,
    /// The id of the event that caused this one.
    pub causation_id: Option<String>,
    /// The trace that it belongs to (W3C `traceparent`).
    pub trace: Option<String>,
}

/// The version that a stream must have for an append (optimistic concurrency).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Any version.
    Any,
    /// The stream has no events yet.
    NoStream,
    /// The newest event of the stream has this version.
    Exactly(u64),
}

impl Expected {
    /// Whether a stream at this version meets the expectation; a stream without events has version 0.
    pub(super) fn holds(self, version: u64) -> bool {
        match self {
            Expected::Any => true,
            Expected::NoStream => version == 0,
            Expected::Exactly(expected) => version == expected,
        }
    }
}

/// The position of an event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The sequence number in the log.
    pub seq: u64,
    /// The version in its stream.
    pub version: u64,
    /// Whether the event was already in the log.
    pub again: bool,
}

/// Why an event was not appended or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A field is not valid.
    #[error("{0}")]
    Bad(String),
    /// The data is too long.
    #[error("the data of an event has at most {max} bytes, this has {0}", max = limits::EVENT_DATA_BYTES)]
    Long(usize),
    /// The stream has another version.
    #[error("{stream} is at version {version}, not as expected")]
    Conflict {
        /// The stream of the event.
        stream: String,
        /// Its version; 0 if it has no events.
        version: u64,
    },
    /// The requested event has been removed by retention.
    #[error("the log begins at event {0}; what was before is not kept")]
    Removed(u64),
    /// There is no such event.
    #[error("there is no event {0}")]
    None(u64),
    /// An entry of the log is not an event.
    #[error("the log is damaged: let `roverline-gateway state verify` say where")]
    Damaged,
    /// The author appends too much in too short a time.
    #[error("you have appended {most} {what} in a minute, all that one author may; try again in {} s", wait.as_secs() + 1)]
    Pace {
        /// The limit.
        most: u64,
        /// The unit: events, or bytes of events.
        what: &'static str,
        /// When the next minute begins.
        wait: Duration,
    },
    /// The node's signing key cannot be used.
    #[error("the key that signs events cannot be used: {0}")]
    Key(String),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The event log of a team.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    identity: NodeIdentity,
    /// The channel to the appending task, which is started by the first append and ends with this.
    append: OnceLock<mpsc::Sender<PendingAppend>>,
    follower: Follower,
    retention: Retention,
    pace: AppendPace,
    /// Held during a verification.
    verifying: tokio::sync::Mutex<()>,
}

impl Events {
    /// The log in this store, appending as this node.
    pub fn new(store: Arc<dyn Store>, identity: NodeIdentity) -> Events {
        Events::with_retention(store, identity, Retention::default())
    }

    /// The same, with a retention policy other than the default.
    pub fn with_retention(store: Arc<dyn Store>, identity: NodeIdentity, retention: Retention) -> Events {
        let follower = Follower::default();
        let (append, verifying) = (OnceLock::new(), tokio::sync::Mutex::new(()));
        let pace = AppendPace::default();
        Events(Arc::new(Shared { store, identity, append, follower, retention, pace, verifying }))
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        self.0.identity.node()
    }

    /// Counts an event of so many bytes that a client is about to append, unless it is beyond its author's
    /// pace. What the product itself records has none.
    pub fn pace(&self, author: &str, bytes: usize) -> Result<(), EventError> {
        self.0.pace.take(author, bytes as u64, boot_clock::now())
    }

    /// The number of events refused because of their author's pace.
    pub fn refused_pace(&self) -> u64 {
        self.0.pace.refused()
    }

    /// Appends an event. After `Ok` it is in the log exactly once. After an error it is not, except possibly
    /// after [`StoreError::Unknown`].
    pub async fn append(&self, event: NewEvent, expected: Expected) -> Result<Appended, EventError> {
        let event = check(event)?;
        let (reply, answer) = oneshot::channel();
        let append = self.0.append.get_or_init(|| {
            let parts = (self.0.store.clone(), self.0.identity.clone(), self.0.retention);
            appender::start(parts)
        });
        let pending = PendingAppend { event, expected, reply, span: tracing::Span::current() };
        append.try_send(pending).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => appender_ended(),
        })?;
        answer.await.unwrap_or_else(|_| Err(appender_ended().into()))
    }

    /// The signed head of the log; `None` if it is empty.
    pub async fn head(&self) -> Result<Option<Seal>, EventError> {
        seal(&*self.0.store, entry::HEAD).await
    }

    /// The signed floor: what retention has removed from the beginning of the log; `None` if nothing.
    pub async fn floor(&self) -> Result<Option<Seal>, EventError> {
        seal(&*self.0.store, entry::FLOOR).await
    }
}

fn appender_ended() -> StoreError {
    StoreError::Unknown("the task that appends events has ended".to_owned())
}

/// The entry with exactly this key.
async fn get(store: &dyn Store, key: &str) -> Result<Option<crate::store::Entry>, StoreError> {
    Ok(scan::get(store, key, None).await?.0)
}

async fn seal(store: &dyn Store, key: &str) -> Result<Option<Seal>, EventError> {
    let Some(entry) = get(store, key).await? else { return Ok(None) };
    Seal::read(&entry.value).map(Some).ok_or(EventError::Damaged)
}

/// Rejects events that the log cannot hold.
fn check(event: NewEvent) -> Result<NewEvent, EventError> {
    entry::check_name("a stream", &event.stream)?;
    entry::check_name("a type", &event.kind)?;
    let names = [
        ("a name", &event.by),
        ("the name of a client", &event.client),
        ("a correlation id", &event.correlation_id),
        ("a causation id", &event.causation_id),
        ("a trace", &event.trace),
    ];
    for (what, name) in names {
        name.as_ref().map_or(Ok(()), |name| entry::check_name(what, name))?;
    }
    event.id.as_ref().map_or(Ok(()), |id| entry::check_id(id))?;
    let bytes = serde_json::to_vec(&event.data).map_err(|error| EventError::Bad(error.to_string()))?.len();
    if bytes > limits::EVENT_DATA_BYTES {
        return Err(EventError::Long(bytes));
    }
    Ok(event)
}
