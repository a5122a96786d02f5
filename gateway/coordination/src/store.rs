//! The store: keys with revisions, after etcd v3 (<https://etcd.io/docs/v3.4/learning/api/>), so that an
//! embedded file and a cluster can both implement it. It is strictly serializable: a transaction takes
//! effect at one moment between its call and its answer, and its revision is its number in the order of all
//! transactions.

pub(crate) mod commit;
mod disabled;
pub(crate) mod election;
#[cfg(feature = "etcd")]
mod etcd;
pub(crate) mod list_watch;
mod open;
pub(crate) mod scan;
mod sqlite;
#[cfg(test)]
mod tests;
mod traced;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::limits;

pub use crate::store::disabled::DisabledStore;
#[cfg(feature = "etcd")]
pub use crate::store::etcd::{EtcdConfigError, EtcdStore};
pub use crate::store::open::{SQLITE, StoreNameError, check_name, open};
pub use crate::store::sqlite::{SqliteStore, backup};

/// Bytes of a key in the store.
const STORE_KEY_BYTES: usize = 512;

/// The number of a change in the total order of changes; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The next revision.
    #[must_use]
    pub const fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

/// A lease: keys that are attached to it are deleted when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

/// A key with its value and metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// The revision at which the key was created, after its last deletion.
    pub created: Revision,
    /// The revision of its newest value.
    pub modified: Revision,
    /// The number of values since it was created; the first is 1.
    pub version: u64,
    /// The lease that the key is attached to.
    pub lease: Option<LeaseId>,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(String),
    /// The key has this version.
    Version(String, u64),
    /// The key was created at this revision, and not deleted since.
    Created(String, Revision),
    /// The key was last changed at this revision.
    Modified(String, Revision),
    /// The key has this value.
    Value(String, Bytes),
}

/// An operation of a transaction. A transaction writes each key at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Reads the key as it was before the transaction.
    Get(String),
    /// Sets the value of the key.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// The lease to attach the key to; it must not have ended.
        lease: Option<LeaseId>,
    },
    /// Deletes the key, if it exists.
    Delete(String),
}

/// Compares, and runs one of two lists of operations depending on the result; all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All of them must hold.
    pub compares: Vec<Compare>,
    /// The operations if they hold.
    pub success: Vec<Op>,
    /// The operations if they do not.
    pub failure: Vec<Op>,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the compares held.
    pub succeeded: bool,
    /// Its own revision if it changed something, else the newest one.
    pub revision: Revision,
    /// The results of [`Op::Get`], in order.
    pub got: Vec<Option<Entry>>,
}

/// The keys to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Their common prefix.
    pub prefix: String,
    /// Only keys after this one, which is the last one of the previous page. Backward: only keys before it.
    pub after: Option<String>,
    /// Descending key order.
    pub backward: bool,
    /// Their state at this revision; without it, the newest state.
    pub at: Option<Revision>,
    /// The largest number of entries; at most `limits::STORE_PAGE_ENTRIES`.
    pub limit: usize,
}

/// A page of entries, ordered by the bytes of their keys; descending if the range was backward.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The revision at which they are valid.
    pub revision: Revision,
    /// Whether there are more after them.
    pub more: bool,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has a new value.
    Put(Entry),
    /// It was deleted.
    Delete {
        /// The key.
        key: String,
        /// The revision of the deletion.
        revision: Revision,
    },
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Change::Put(entry) => &entry.key,
            Change::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    pub fn revision(&self) -> Revision {
        match self {
            Change::Put(entry) => entry.modified,
            Change::Delete { revision, .. } => *revision,
        }
    }
}

/// Changes as they happen, in order and without gaps. A watcher that falls behind the retained history
/// receives [`StoreError::Compacted`] as its last item; it then reads a snapshot and watches again.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<Result<Vec<Change>, StoreError>>,
}

impl Watch {
    /// A watch over changes that a test supplies.
    #[cfg(test)]
    pub(crate) fn from_channel(changes: mpsc::Receiver<Result<Vec<Change>, StoreError>>) -> Watch {
        Watch { changes }
    }

    /// The changes of the next revisions; whole revisions only. `None` if the store is closed.
    pub async fn next(&mut self) -> Option<Result<Vec<Change>, StoreError>> {
        self.changes.recv().await
    }
}

/// Why an operation failed. Nothing was changed, except possibly after [`StoreError::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A key is empty, too long or contains a zero byte.
    #[error("a key has 1 to {max} bytes and no zero byte", max = STORE_KEY_BYTES)]
    Key,
    /// A value is too long.
    #[error("a value has at most {max} bytes, this one has {0}", max = limits::STORE_VALUE_BYTES)]
    Value(usize),
    /// Too many compares or operations.
    #[error("a transaction has at most {max} parts, this one has {0}", max = limits::STORE_TXN_ELEMENTS)]
    Parts(usize),
    /// A transaction writes a key twice.
    #[error("{0} is written twice in one transaction")]
    Twice(String),
    /// The time to live of a lease is out of range.
    #[error("a lease lives for {min} ms to {max} ms", min = limits::LEASE_MIN_MS, max = limits::LEASE_MAX_MS)]
    Ttl,
    /// The lease has ended.
    #[error("the lease has ended")]
    LeaseEnded,
    /// The history before this revision is no longer retained.
    #[error("what was before revision {} is no longer kept", .0.0)]
    Compacted(Revision),
    /// The revision does not exist yet.
    #[error("the newest revision is {}", .0.0)]
    Future(Revision),
    /// Too many operations are waiting.
    #[error("the store is busy: try again")]
    Busy,
    /// The store cannot be read or written now, with the reason.
    #[error("the store cannot be used now: {0}")]
    Unavailable(String),
    /// The operation may or may not have happened, because the connection was lost before the answer; with
    /// the reason.
    #[error("it is not known whether it happened: {0}")]
    Unknown(String),
}

/// The future result of a store operation.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A key-value store with revisions, transactions, watches and leases.
pub trait Store: Send + Sync {
    /// Runs one of the two lists of operations, completely or not at all.
    fn txn(&self, txn: Txn) -> StoreFuture<'_, Outcome>;

    /// Reads everything that was acknowledged to any client before the call, or an older revision that is
    /// still retained.
    fn range(&self, range: Range) -> StoreFuture<'_, Page>;

    /// Watches every change under a prefix, beginning with revision `from`.
    fn watch(&self, prefix: String, from: Revision) -> StoreFuture<'_, Watch>;

    /// Grants a lease that ends after `ttl` unless it is kept alive. Time is measured by a clock that cannot
    /// be set and that advances while the computer is suspended.
    fn grant(&self, ttl: Duration) -> StoreFuture<'_, LeaseId>;

    /// Restarts the lease's time to live.
    fn keep_alive(&self, lease: LeaseId) -> StoreFuture<'_, ()>;

    /// Ends the lease now; its keys are deleted in one revision.
    fn revoke(&self, lease: LeaseId) -> StoreFuture<'_, ()>;

    /// Discards the history before a revision; the newest value of every key stays.
    fn compact(&self, before: Revision) -> StoreFuture<'_, ()>;
}

/// Rejects keys that a store cannot hold.
fn check_key(key: &str) -> Result<(), StoreError> {
    match key.is_empty() || key.len() > STORE_KEY_BYTES || key.contains('\0') {
        true => Err(StoreError::Key),
        false => Ok(()),
    }
}

/// A lease's time to live in milliseconds, unless no store grants it.
pub(crate) fn lease_ttl_ms(ttl: Duration) -> Result<u64, StoreError> {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    match (limits::LEASE_MIN_MS..=limits::LEASE_MAX_MS).contains(&ttl_ms) {
        true => Ok(ttl_ms),
        false => Err(StoreError::Ttl),
    }
}

impl Txn {
    /// Rejects a transaction that no store accepts.
    fn check(&self) -> Result<(), StoreError> {
        for compare in &self.compares {
            check_key(compare.key())?;
        }
        let parts = self.compares.len() + self.success.len() + self.failure.len();
        if parts > limits::STORE_TXN_ELEMENTS {
            return Err(StoreError::Parts(parts));
        }
        check_ops(&self.success)?;
        check_ops(&self.failure)
    }
}

fn check_ops(ops: &[Op]) -> Result<(), StoreError> {
    let mut written = std::collections::HashSet::new();
    for op in ops {
        let (key, write) = match op {
            Op::Get(key) => (key, false),
            Op::Put { key, value, .. } if value.len() <= limits::STORE_VALUE_BYTES => (key, true),
            Op::Put { value, .. } => return Err(StoreError::Value(value.len())),
            Op::Delete(key) => (key, true),
        };
        check_key(key)?;
        if write && !written.insert(key) {
            return Err(StoreError::Twice(key.clone()));
        }
    }
    Ok(())
}

impl Compare {
    /// The key that is compared.
    pub fn key(&self) -> &str {
        match self {
            Compare::Absent(key)
            | Compare::Version(key, _)
            | Compare::Created(key, _)
            | Compare::Modified(key, _)
            | Compare::Value(key, _) => key,
        }
    }

    /// Whether the condition holds for the current entry.
    fn holds(&self, entry: Option<&Entry>) -> bool {
        match (self, entry) {
            (Compare::Absent(_), entry) => entry.is_none(),
            (_, None) => false,
            (Compare::Version(_, version), Some(entry)) => entry.version == *version,
            (Compare::Created(_, revision), Some(entry)) => entry.created == *revision,
            (Compare::Modified(_, revision), Some(entry)) => entry.modified == *revision,
            (Compare::Value(_, value), Some(entry)) => entry.value == *value,
        }
    }
}
