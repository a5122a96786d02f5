//! Shared values: versioned keys over the store.
//!
//! A value is one key of the store, so its history, revisions and expiry by a lease are the store's. Every
//! write also updates one key, [`ORDER`], with a description of that write: it is the only trace of a
//! deletion, and it lets a watcher check that it has seen all writes.

mod cache;
mod record;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use crate::kv::cache::{Cache, CacheEntry, CacheLimits, CacheMetrics, CacheState, Read};
pub use crate::kv::record::LastWrite;
use crate::limits;
use crate::quota::{Quota, QuotaError, QuotaLimits, QuotaUsage};
use crate::store::{
    Compare, Entry, LeaseId, Op, Outcome, Page, Range, Revision, Store, StoreError, Txn, Watch, scan,
};

/// A page of a list ends after this many bytes of values, rounded up to the page read.
const KV_LIST_BYTES: usize = 4 << 20;

/// The prefix of values.
const PREFIX: &str = "kv/";
/// The key that describes the last write: a [`LastWrite`].
pub const ORDER: &str = "kv-order";
/// The common prefix of both.
const WATCHED: &str = "kv";
/// The size of the first batch of a listing; later batches are sized by the mean value length.
const FIRST_BATCH: usize = 4;
/// The largest batch.
const MAX_BATCH: usize = 256;

/// Limits of values in the store, names and authors included.
const QUOTA: QuotaLimits = QuotaLimits {
    owner_entries: limits::KV_OWNER_ENTRIES,
    owner_bytes: limits::KV_OWNER_BYTES,
    entries: limits::KV_ENTRIES,
    bytes: limits::KV_TOTAL_BYTES,
    owner_bytes_per_minute: limits::KV_OWNER_BYTES_PER_MINUTE,
};

/// The author of a write, and the time by the author's clock; for display, never compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The author's identity.
    pub by: Arc<str>,
    /// The unverified name that the author's client declares.
    pub client: Option<Arc<str>>,
    /// Nanoseconds since 1970.
    pub at_ns: i64,
}

/// A value with its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Arc<str>,
    /// The value.
    pub value: Bytes,
    /// The number of values since the key was created; the first is 1.
    pub version: u64,
    /// The revision at which the key was created, after its last deletion.
    pub created: Revision,
    /// The revision of this value. Unlike a version it is never reused.
    pub modified: Revision,
    /// The lease that the key is attached to.
    pub lease: Option<LeaseId>,
    /// The author of this value.
    pub author: Author,
}

/// The condition of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No condition.
    Any,
    /// The key has this version; 0: it does not exist.
    Version(u64),
    /// The key was last changed at this revision; 0: it does not exist.
    Modified(Revision),
    /// The key has this value.
    Value(Bytes),
}

/// A page of keys, ordered by their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries.
    pub items: Vec<Item>,
    /// The revision at which they are valid.
    pub revision: Revision,
    /// The key after which the next page begins, if there is one.
    pub next: Option<String>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvChange {
    /// It has a new value.
    Put(Item),
    /// It was deleted, or its lease ended.
    Delete {
        /// The key.
        key: String,
        /// The revision of the deletion.
        revision: Revision,
    },
}

/// Why a read or write failed. Nothing was changed, except possibly after [`StoreError::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// A key is empty, too long or contains a control character.
    #[error("a key has 1 to {max} bytes and no control character", max = limits::KV_KEY_BYTES)]
    Key,
    /// A value is too long.
    #[error("a value has at most {max} bytes, this one has {0}", max = limits::KV_VALUE_BYTES)]
    Value(usize),
    /// The author, or all authors, keep or write too much.
    #[error("values: {0}")]
    Quota(#[from] QuotaError),
    /// The key does not exist.
    #[error("there is no key {0}")]
    Unknown(String),
    /// The condition of a write does not hold.
    #[error("{key} is not as expected: it {}", current_state(*.version, *.modified))]
    Conflict {
        /// The key.
        key: String,
        /// Its version; 0: it does not exist.
        version: u64,
        /// The revision of its last change; 0: it does not exist.
        modified: Revision,
    },
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn current_state(version: u64, modified: Revision) -> String {
    match version {
        0 => "does not exist".to_owned(),
        version => format!("has version {version}, of revision {}", modified.0),
    }
}

/// Changes of keys as they happen, in order and without gaps.
#[derive(Debug)]
pub struct KvWatch(Watch);

impl KvWatch {
    /// The next changes; `None` if the store is closed. After [`StoreError::Compacted`], which is the last
    /// item, list again and watch from there.
    pub async fn next(&mut self) -> Option<Result<Vec<KvChange>, StoreError>> {
        let changes = self.0.next().await?;
        Some(changes.map(|changes| changes.iter().filter_map(record::change).collect()))
    }
}

/// Uncached access to values. A process that also reads through a [`Cache`] must write through it.
#[derive(Clone)]
pub struct Kv {
    store: Arc<dyn Store>,
    quota: Arc<Quota>,
}

impl Kv {
    /// Values in this store.
    pub fn new(store: Arc<dyn Store>) -> Kv {
        let quota = Quota::new(store.clone(), PREFIX, record::counted, QUOTA);
        Kv { store, quota: Arc::new(quota) }
    }

    /// Entries and bytes of all authors, and the number of writes refused by a quota.
    pub fn usage(&self) -> QuotaUsage {
        self.quota.usage()
    }

    /// Reads a key, now or at a revision, and returns the revision at which the result is valid.
    pub async fn get(&self, name: &str, at: Option<Revision>) -> Result<(Option<Item>, Revision), KvError> {
        let (found, revision) = scan::get(&*self.store, &record::key(name)?, at).await?;
        Ok((found.as_ref().and_then(record::item), revision))
    }

    /// Sets a value if the condition holds. With a `ttl` the key is deleted after that time.
    pub async fn put(
        &self,
        name: &str,
        value: Bytes,
        expect: &Expect,
        ttl: Option<Duration>,
        author: &Author,
    ) -> Result<Item, KvError> {
        let key = record::key(name)?;
        if value.len() > limits::KV_VALUE_BYTES {
            return Err(KvError::Value(value.len()));
        }
        let packed = record::pack(&value, author);
        let needed = (key.len() + packed.len()) as u64;
        self.quota.pace(author.shown().0, needed)?;
        let reservation = self.quota.reserve(author.shown().0, &[(&key, needed)])?;
        let lease = match ttl {
            Some(ttl) => Some(self.store.grant(ttl).await?),
            None => None,
        };
        let put = Op::Put { key: key.clone(), value: packed, lease };
        let done = self.write(name, &key, put, expect, LastWrite::new(name, false, author)).await;
        let (before, revision) = match done {
            Ok(done) => done,
            Err(error) => {
                // The lease would end by itself, later. If it may be attached to the key, it must not end
                // now.
                if let (Some(lease), false) = (lease, matches!(error, KvError::Store(StoreError::Unknown(_))))
                {
                    let _ = self.store.revoke(lease).await;
                }
                return Err(error);
            }
        };
        reservation.commit(&[(&key, needed)], revision);
        if let Some(old) = before.as_ref().and_then(|before| before.lease) {
            // No key uses the old lease; frequent writes would leave many.
            let _ = self.store.revoke(old).await;
        }
        let (created, version) = before.map_or((revision, 1), |before| (before.created, before.version + 1));
        let author = author.clone();
        Ok(Item { key: Arc::from(name), value, version, created, modified: revision, lease, author })
    }

    /// Deletes the key if the condition holds, and returns the revision of the deletion.
    pub async fn delete(&self, name: &str, expect: &Expect, author: &Author) -> Result<Revision, KvError> {
        let key = record::key(name)?;
        for _ in 0..limits::KV_ATTEMPTS {
            // Only existing keys are deleted, so that there is a deletion to report.
            let Some(found) = self.get(name, None).await?.0 else {
                return Err(KvError::Unknown(name.to_owned()));
            };
            let as_expected = match expect {
                Expect::Any => true,
                Expect::Version(version) => found.version == *version,
                Expect::Modified(revision) => found.modified == *revision,
                Expect::Value(value) => found.value == *value,
            };
            if !as_expected {
                let (key, version, modified) = (name.to_owned(), found.version, found.modified);
                return Err(KvError::Conflict { key, version, modified });
            }
            let (op, expected) = (Op::Delete(key.clone()), Expect::Modified(found.modified));
            match self.write(name, &key, op, &expected, LastWrite::new(name, true, author)).await {
                // A concurrent write: the new value may still meet the condition.
                Err(KvError::Conflict { .. }) => {}
                Err(error) => return Err(error),
                Ok((_, revision)) => {
                    self.quota.on_delete(&key, revision);
                    if let Some(lease) = found.lease {
                        // No key uses the lease.
                        let _ = self.store.revoke(lease).await;
                    }
                    return Ok(revision);
                }
            }
        }
        Err(StoreError::Busy.into())
    }

    /// Writes if the condition holds, and returns the previous entry and the revision.
    async fn write(
        &self,
        name: &str,
        key: &str,
        op: Op,
        expect: &Expect,
        what: LastWrite,
    ) -> Result<(Option<Entry>, Revision), KvError> {
        for _ in 0..limits::KV_ATTEMPTS {
            let compares = self.compares(name, key, expect).await?;
            let get = Op::Get(key.to_owned());
            let note = Op::Put { key: ORDER.to_owned(), value: what.bytes(), lease: None };
            let txn = Txn { compares, success: vec![get.clone(), op.clone(), note], failure: vec![get] };
            let Outcome { succeeded, revision, got } = self.store.txn(txn).await?;
            let before = got.into_iter().next().flatten();
            if succeeded {
                return Ok((before, revision));
            }
            // With a condition on the value, the same value may have been written again.
            if !matches!(expect, Expect::Value(_)) {
                return Err(conflict(name, before.map(|before| (before.version, before.modified))));
            }
        }
        Err(StoreError::Busy.into())
    }

    /// Translates the condition into store comparisons.
    async fn compares(&self, name: &str, key: &str, expect: &Expect) -> Result<Vec<Compare>, KvError> {
        let key = key.to_owned();
        Ok(match expect {
            Expect::Any => Vec::new(),
            Expect::Version(0) | Expect::Modified(Revision(0)) => vec![Compare::Absent(key)],
            Expect::Version(version) => vec![Compare::Version(key, *version)],
            Expect::Modified(revision) => vec![Compare::Modified(key, *revision)],
            // The stored bytes also contain the author, so the value is compared here, and the transaction
            // checks that it has not changed since.
            Expect::Value(value) => match self.get(name, None).await?.0 {
                Some(item) if item.value == *value => vec![Compare::Modified(key, item.modified)],
                other => return Err(conflict(name, other.map(|item| (item.version, item.modified)))),
            },
        })
    }

    /// Lists keys under a prefix, after a key, now or at a revision: at most `limit`, and fewer if they are
    /// large.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
        limit: usize,
    ) -> Result<Listing, KvError> {
        let limit = limit.clamp(1, limits::STORE_PAGE_ENTRIES);
        let mut after = after.map(|after| format!("{PREFIX}{after}"));
        let (mut at, mut items, mut bytes, mut batch) = (at, Vec::<Item>::new(), 0, FIRST_BATCH);
        loop {
            let range = Range {
                prefix: format!("{PREFIX}{prefix}"),
                after: after.take(),
                limit: batch.min(limit - items.len()),
                at,
                ..Range::default()
            };
            let Page { entries, revision, more } = self.store.range(range).await?;
            // All batches are read at one revision.
            at = Some(revision);
            after = entries.last().map(|entry| entry.key.clone());
            let mut rest = entries.len();
            for entry in &entries {
                // A value that does not fit goes to the next page, unless it is the first.
                if !items.is_empty() && bytes + entry.value.len() > KV_LIST_BYTES {
                    break;
                }
                bytes += entry.value.len();
                items.extend(record::item(entry));
                rest -= 1;
            }
            let more = more || rest > 0;
            let mean = bytes.div_ceil(items.len().max(1)).max(1);
            batch = (KV_LIST_BYTES.saturating_sub(bytes) / mean).clamp(1, MAX_BATCH);
            if rest > 0 || !more || items.len() >= limit || bytes >= KV_LIST_BYTES {
                let next = items.last().filter(|_| more).map(|item| item.key.to_string());
                return Ok(Listing { items, revision, next });
            }
        }
    }

    /// Watches every change under a prefix, beginning with revision `from`.
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<KvWatch, KvError> {
        Ok(KvWatch(self.store.watch(format!("{PREFIX}{prefix}"), from).await?))
    }

    /// The revision of the last write to any value, and the newest revision of the store.
    async fn order(&self) -> Result<(Revision, Revision), StoreError> {
        let (written, newest) = scan::get(&*self.store, ORDER, None).await?;
        Ok((written.map_or(Revision(0), |entry| entry.modified), newest))
    }
}

fn conflict(name: &str, found: Option<(u64, Revision)>) -> KvError {
    let (version, modified) = found.unwrap_or_default();
    KvError::Conflict { key: name.to_owned(), version, modified }
}
