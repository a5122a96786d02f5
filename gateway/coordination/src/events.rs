//! The log of what happened: events in one order, in streams with versions of their own, bound
//! together by a chain of hashes (as in RFC 9162, but linear) and signed by whoever appends, so that
//! what was edited, removed or put in later shows.
//!
//! One key holds the head of the log, signed. Every append compares it, and so all appends have one
//! order and each knows its place before it is written. A process gathers what its tasks append
//! into one transaction, so that many cost one signature and one commit.

mod appender;
mod dump;
mod entry;
mod node_key;
mod plan;
mod projection;
mod read;
mod retention;
mod seal;
mod subscribe;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

use std::sync::{Arc, OnceLock};

use roverline_protocol::limits;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::events::appender::Waiting;
pub use crate::events::dump::{Dump, Snapshot};
pub use crate::events::entry::{Event, HEAD as HEAD_KEY, Hash, Stored};
pub use crate::events::node_key::{Identity, forget_witnesses, trust, witnesses};
pub use crate::events::projection::Projection;
pub use crate::events::read::{EventPage, Query, Select};
pub use crate::events::retention::Retention;
pub use crate::events::seal::{Seal, SealKind, Trust};
use crate::events::subscribe::Follower;
pub use crate::events::subscribe::Subscription;
pub use crate::events::verify::{Fault, Finding, Verdict, verify};
use crate::store::{Range, Store, StoreError};

/// An event that is to be appended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewEvent {
    /// What it is about: `lock/arm`.
    pub stream: String,
    /// What happened: `lock.acquired`.
    pub kind: String,
    /// When, by the wall clock, nanoseconds since the Unix epoch; only to be shown.
    pub at_ns: i64,
    /// What is to be known of it.
    pub data: Value,
    /// Who wanted it written, if anybody did.
    pub by: Option<String>,
    /// By which the log knows it again: what has the same as an event that is kept is that event,
    /// and is not appended twice. Without one, it gets one of its own.
    pub id: Option<String>,
    /// What belongs together has the same.
    pub correlation_id: Option<String>,
    /// What led to it.
    pub causation_id: Option<String>,
    /// The trace it belongs to (W3C `traceparent`).
    pub trace: Option<String>,
}

/// Which version a stream must have for an event to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whichever it has.
    Any,
    /// It has no event yet.
    NoStream,
    /// Its newest event has this one.
    Exactly(u64),
}

impl Expected {
    /// Whether a stream at this version is as expected; one without events has 0.
    pub(super) fn holds(self, version: u64) -> bool {
        match self {
            Expected::Any => true,
            Expected::NoStream => version == 0,
            Expected::Exactly(expected) => version == expected,
        }
    }
}

/// Where an event has come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its number in the log.
    pub seq: u64,
    /// Its number in its stream.
    pub version: u64,
    /// Whether it was there already.
    pub again: bool,
}

/// Why an event is not appended or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Something about it is not allowed.
    #[error("{0}")]
    Bad(String),
    /// Its data is too long.
    #[error("the data of an event has at most {max} bytes, this has {0}", max = limits::EVENT_DATA_BYTES)]
    Long(usize),
    /// The stream has another version.
    #[error("{stream} is at version {version}, not as expected")]
    Conflict {
        /// Of the event.
        stream: String,
        /// The one it has; 0 where it has no event.
        version: u64,
    },
    /// What is asked for has been removed.
    #[error("the log begins at event {0}; what was before is not kept")]
    Removed(u64),
    /// There is no such event.
    #[error("there is no event {0}")]
    None(u64),
    /// What lies in the log is no event.
    #[error("the log is damaged: let `roverline-gateway state verify` say where")]
    Damaged,
    /// The node's key cannot be used.
    #[error("the key that signs events cannot be used: {0}")]
    Key(String),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The log of a team.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    identity: Identity,
    /// Of the task that appends; it starts with the first append, and ends with this.
    append: OnceLock<mpsc::Sender<Waiting>>,
    follower: Follower,
    retention: Retention,
    /// Held by who verifies the log.
    verifying: tokio::sync::Mutex<()>,
}

impl Events {
    /// Over a store that all share, as this node.
    pub fn new(store: Arc<dyn Store>, identity: Identity) -> Events {
        Events::keeping(store, identity, Retention::default())
    }

    /// The same, with another measure of what is kept.
    pub fn keeping(store: Arc<dyn Store>, identity: Identity, retention: Retention) -> Events {
        let follower = Follower::default();
        let (append, verifying) = (OnceLock::new(), tokio::sync::Mutex::new(()));
        Events(Arc::new(Shared { store, identity, append, follower, retention, verifying }))
    }

    /// Who appends here.
    pub fn node(&self) -> &str {
        self.0.identity.node()
    }

    /// Appends an event. Once this says so it is in the log, once, whatever happens then; after an
    /// error it is not, except where that is not known.
    pub async fn append(&self, event: NewEvent, expected: Expected) -> Result<Appended, EventError> {
        let event = check(event)?;
        let (tell, answer) = oneshot::channel();
        let append = self.0.append.get_or_init(|| {
            let parts = (self.0.store.clone(), self.0.identity.clone(), self.0.retention);
            appender::start(parts)
        });
        let waiting = Waiting { event, expected, tell };
        append.try_send(waiting).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => ended(),
        })?;
        answer.await.unwrap_or_else(|_| Err(ended().into()))
    }

    /// The end of the log, signed; `None` while nothing has been appended.
    pub async fn head(&self) -> Result<Option<Seal>, EventError> {
        seal(&*self.0.store, entry::HEAD).await
    }

    /// What has been removed from the beginning of the log, signed; `None` while nothing has.
    pub async fn floor(&self) -> Result<Option<Seal>, EventError> {
        seal(&*self.0.store, entry::FLOOR).await
    }
}

fn ended() -> StoreError {
    StoreError::Unknown("the task that appends events has ended".to_owned())
}

/// The entry with exactly this key.
async fn get(store: &dyn Store, key: &str) -> Result<Option<crate::store::Entry>, StoreError> {
    let page = store.range(Range { prefix: key.to_owned(), limit: 1, ..Range::default() }).await?;
    Ok(page.entries.into_iter().find(|entry| entry.key == key))
}

async fn seal(store: &dyn Store, key: &str) -> Result<Option<Seal>, EventError> {
    let Some(entry) = get(store, key).await? else { return Ok(None) };
    Seal::read(&entry.value).map(Some).ok_or(EventError::Damaged)
}

/// Refuses what the log cannot hold, and sees to it that the event has an id.
fn check(event: NewEvent) -> Result<NewEvent, EventError> {
    entry::check_name("a stream", &event.stream)?;
    entry::check_name("a type", &event.kind)?;
    let names = [
        ("a name", &event.by),
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
