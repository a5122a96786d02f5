//! The store: keys with revisions, as in etcd v3 (<https://etcd.io/docs/v3.4/learning/api/>), so that
//! an embedded file and a cluster can both be it. Strict-serializable: a transaction happens at one
//! moment between its call and its answer, and has its number in the order of all.

mod disabled;
#[cfg(feature = "etcd")]
mod etcd;
mod open;
mod sqlite;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use roverline_protocol::limits;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use crate::store::disabled::Nowhere;
#[cfg(feature = "etcd")]
pub use crate::store::etcd::EtcdStore;
pub use crate::store::open::{SQLITE, check_name, open};
pub use crate::store::sqlite::{SqliteStore, backup};

/// The number of a change in the order of all changes; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

/// A lease: keys that were put with it go when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

/// A key and what the store knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Bytes,
    /// The revision at which it came to be, after it was last deleted.
    pub created: Revision,
    /// The revision of its newest value.
    pub modified: Revision,
    /// How many values it has had since it was created; the first is 1.
    pub version: u64,
    /// The lease with whose end it goes.
    pub lease: Option<LeaseId>,
}

/// What must hold for a transaction to succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(String),
    /// The key has this version.
    Version(String, u64),
    /// The key was created at this revision, and not deleted since.
    Created(String, Revision),
    /// The key was changed last at this revision.
    Modified(String, Revision),
    /// The key has this value.
    Value(String, Bytes),
}

/// What a transaction does. A key is written at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Answers with the key as it was before the transaction.
    Get(String),
    /// Gives the key a value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// Ends the key as well; it must not have ended.
        lease: Option<LeaseId>,
    },
    /// Removes the key, if it exists.
    Delete(String),
}

/// Compares and, depending on them, one or the other list of operations; all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// What is done then.
    pub success: Vec<Op>,
    /// What is done otherwise.
    pub failure: Vec<Op>,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the compares held.
    pub succeeded: bool,
    /// Its revision where it changed something, else the newest one.
    pub revision: Revision,
    /// The answers to [`Op::Get`], in their order.
    pub got: Vec<Option<Entry>>,
}

/// Which keys to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Their common beginning.
    pub prefix: String,
    /// Only those behind this key: the last one of the page before. Going backward, only those before it.
    pub after: Option<String>,
    /// From the last key to the first.
    pub backward: bool,
    /// As they were then; without it, as they are.
    pub at: Option<Revision>,
    /// At most so many; bounded by [`limits::STORE_PAGE_ENTRIES`].
    pub limit: usize,
}

/// A page of keys, in the order of their bytes, or against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The keys.
    pub entries: Vec<Entry>,
    /// The revision at which this holds.
    pub revision: Revision,
    /// Whether there are more behind them.
    pub more: bool,
}

/// A key that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has a new value.
    Put(Entry),
    /// It is gone.
    Delete {
        /// The key.
        key: String,
        /// Since when.
        revision: Revision,
    },
}

impl Change {
    /// What changed.
    pub fn key(&self) -> &str {
        match self {
            Change::Put(entry) => &entry.key,
            Change::Delete { key, .. } => key,
        }
    }

    /// When it happened.
    pub fn revision(&self) -> Revision {
        match self {
            Change::Put(entry) => entry.modified,
            Change::Delete { revision, .. } => *revision,
        }
    }
}

/// Changes as they happen, in order, none left out. A watcher that falls behind what the store keeps
/// is told [`StoreError::Compacted`], once and last: it reads a snapshot and watches anew.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::Receiver<Result<Vec<Change>, StoreError>>,
}

impl Watch {
    /// Over changes that a test tells.
    #[cfg(test)]
    pub(crate) fn told(changes: mpsc::Receiver<Result<Vec<Change>, StoreError>>) -> Watch {
        Watch { changes }
    }

    /// The changes of the next revisions; whole revisions only. `None` when the store is closed.
    pub async fn next(&mut self) -> Option<Result<Vec<Change>, StoreError>> {
        self.changes.recv().await
    }
}

/// Why the store did not do it. Nothing was changed then, except after
/// [`StoreError::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A key is empty, too long or has a zero byte.
    #[error("a key has 1 to {max} bytes and no zero byte", max = limits::STORE_KEY_BYTES)]
    Key,
    /// A value is too long.
    #[error("a value has at most {max} bytes, this one has {0}", max = limits::STORE_VALUE_BYTES)]
    Value(usize),
    /// Too many compares or operations.
    #[error("a transaction has at most {max} parts, this one has {0}", max = limits::STORE_TXN_ELEMENTS)]
    Parts(usize),
    /// A key is written twice in one transaction.
    #[error("{0} is written twice in one transaction")]
    Twice(String),
    /// The time to live of a lease is out of bounds.
    #[error("a lease lives for {min} ms to {max} ms", min = limits::LEASE_MIN_MS, max = limits::LEASE_MAX_MS)]
    Ttl,
    /// The lease has ended.
    #[error("the lease has ended")]
    LeaseEnded,
    /// The past before this revision is not kept.
    #[error("what was before revision {} is no longer kept", .0.0)]
    Compacted(Revision),
    /// There is no such revision yet.
    #[error("the newest revision is {}", .0.0)]
    Future(Revision),
    /// Too much waits to be done.
    #[error("the store is busy: try again")]
    Busy,
    /// It cannot be written or read now; why.
    #[error("the store cannot be used now: {0}")]
    Unavailable(String),
    /// It may or may not have happened: the store was lost before it answered; why.
    #[error("it is not known whether it happened: {0}")]
    Unknown(String),
}

/// The answer of a store, when it comes.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keys with revisions, transactions, watches and leases.
pub trait Store: Send + Sync {
    /// Does all of one list of operations, or nothing.
    fn txn(&self, txn: Txn) -> Answer<'_, Outcome>;

    /// Reads what has been acknowledged to anybody before the call, or a past that is still kept.
    fn range(&self, range: Range) -> Answer<'_, Page>;

    /// Every change under a prefix from a revision on, that one included.
    fn watch(&self, prefix: String, from: Revision) -> Answer<'_, Watch>;

    /// A lease that ends after `ttl`, unless it is kept alive; measured by a clock that nobody sets
    /// and that goes on while the computer sleeps.
    fn grant(&self, ttl: Duration) -> Answer<'_, LeaseId>;

    /// It lives for its whole time to live from now on.
    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, ()>;

    /// Ends it now; what it holds goes with it, in one revision.
    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()>;

    /// Forgets the past before a revision; the newest value of every key stays.
    fn compact(&self, before: Revision) -> Answer<'_, ()>;
}

/// Refuses keys that a store cannot have.
fn check_key(key: &str) -> Result<(), StoreError> {
    match key.is_empty() || key.len() > limits::STORE_KEY_BYTES || key.contains('\0') {
        true => Err(StoreError::Key),
        false => Ok(()),
    }
}

impl Txn {
    /// Refuses what no store would take.
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
    /// The key that is looked at.
    pub fn key(&self) -> &str {
        match self {
            Compare::Absent(key)
            | Compare::Version(key, _)
            | Compare::Created(key, _)
            | Compare::Modified(key, _)
            | Compare::Value(key, _) => key,
        }
    }

    /// Whether it holds for the key as it is.
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
