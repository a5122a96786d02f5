//! Values that a team shares: keys with versions over the store.
//!
//! A value is one key of the store, so its history, its revisions and its end by a lease are the
//! store's. Beside it every write puts one key, [`ORDER`], that says what the last write was: a
//! deletion leaves nothing else behind, and whoever follows the changes can tell by it whether it
//! has seen them all.

mod cache;
mod record;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;

pub use crate::kv::cache::{Cache, CacheEntry, CacheLimits, CacheMetrics, CacheState, Read};
pub use crate::kv::record::LastWrite;
use crate::store::{
    Compare, Entry, LeaseId, Op, Outcome, Page, Range, Revision, Store, StoreError, Txn, Watch,
};

/// Where values are.
const PREFIX: &str = "kv/";
/// What the last write was: a [`LastWrite`].
pub const ORDER: &str = "kv-order";
/// Of both.
const WATCHED: &str = "kv";
/// So many values are read at once at first; then as many as fit, going by those that were read.
const BATCH: usize = 4;
/// At most so many.
const BATCH_MOST: usize = 256;

/// Who writes, and when by their clock; shown, and never compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Who.
    pub by: Arc<str>,
    /// When: nanoseconds since 1970.
    pub at_ns: i64,
}

/// A value and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub key: Arc<str>,
    /// The value.
    pub value: Bytes,
    /// How many values the key has had since it was created; the first is 1.
    pub version: u64,
    /// When it came to be, after it was last deleted.
    pub created: Revision,
    /// When it got this value. Unlike a version, it never comes again.
    pub modified: Revision,
    /// With whose end it goes.
    pub lease: Option<LeaseId>,
    /// Who wrote it.
    pub author: Author,
}

/// What a key must be for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// Of this version; 0: it does not exist.
    Version(u64),
    /// Changed last at this revision; 0: it does not exist.
    Modified(Revision),
    /// Of this value.
    Value(Bytes),
}

/// A part of the keys, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The keys.
    pub items: Vec<Item>,
    /// When all this was so.
    pub revision: Revision,
    /// Behind which key the next part begins, if there is one.
    pub next: Option<String>,
}

/// A key that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvChange {
    /// It has a new value.
    Put(Item),
    /// It is gone: deleted, or its time has come.
    Delete {
        /// The key.
        key: String,
        /// Since when.
        revision: Revision,
    },
}

/// Why a value is not read or written. Nothing was changed then, except after
/// [`StoreError::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// A key is empty, too long or has a control character.
    #[error("a key has 1 to {max} bytes and no control character", max = limits::KV_KEY_BYTES)]
    Key,
    /// A value is too long.
    #[error("a value has at most {max} bytes, this one has {0}", max = limits::KV_VALUE_BYTES)]
    Value(usize),
    /// There is no such key.
    #[error("there is no key {0}")]
    Unknown(String),
    /// The key is not what was expected.
    #[error("{key} is not as expected: it {}", now(*.version, *.modified))]
    Conflict {
        /// The key.
        key: String,
        /// The version that it has; 0: it does not exist.
        version: u64,
        /// When it was changed last; 0: it does not exist.
        modified: Revision,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn now(version: u64, modified: Revision) -> String {
    match version {
        0 => "does not exist".to_owned(),
        version => format!("has version {version}, of revision {}", modified.0),
    }
}

/// Changes of keys as they happen, in order, none left out.
#[derive(Debug)]
pub struct KvWatch(Watch);

impl KvWatch {
    /// The next changes; `None` when the store is closed. [`StoreError::Compacted`] comes once and
    /// last: list anew, and watch from there.
    pub async fn next(&mut self) -> Option<Result<Vec<KvChange>, StoreError>> {
        let told = self.0.next().await?;
        Some(told.map(|changes| changes.iter().filter_map(record::change).collect()))
    }
}

/// Values straight from the store. A process that also reads through a [`Cache`] writes through it.
#[derive(Clone)]
pub struct Kv {
    store: Arc<dyn Store>,
}

impl Kv {
    /// Over a store that all share.
    pub fn new(store: Arc<dyn Store>) -> Kv {
        Kv { store }
    }

    /// A key as it is, or as it was then; and when this was so.
    pub async fn get(&self, name: &str, at: Option<Revision>) -> Result<(Option<Item>, Revision), KvError> {
        // Of all keys that begin so, the key itself is the first.
        let key = record::key(name)?;
        let page = self.store.range(Range { prefix: key.clone(), limit: 1, at, ..Range::default() }).await?;
        let item = page.entries.first().filter(|entry| entry.key == key).and_then(record::item);
        Ok((item, page.revision))
    }

    /// Gives the key a value if it is as expected. With a `ttl` it goes by itself, so long after this.
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
        let lease = match ttl {
            Some(ttl) => Some(self.store.grant(ttl).await?),
            None => None,
        };
        let put = Op::Put { key: key.clone(), value: record::pack(&value, author), lease };
        let done = self.write(name, &key, put, expect, LastWrite::new(name, false, author)).await;
        let (before, revision) = match done {
            Ok(done) => done,
            Err(error) => {
                // It would end by itself, later. If it holds the key, it must not end now.
                if let (Some(lease), false) = (lease, matches!(error, KvError::Store(StoreError::Unknown(_))))
                {
                    let _ = self.store.revoke(lease).await;
                }
                return Err(error);
            }
        };
        if let Some(old) = before.as_ref().and_then(|before| before.lease) {
            // It holds nothing any more; a key that is written often would leave many.
            let _ = self.store.revoke(old).await;
        }
        let (created, version) = before.map_or((revision, 1), |before| (before.created, before.version + 1));
        let author = author.clone();
        Ok(Item { key: Arc::from(name), value, version, created, modified: revision, lease, author })
    }

    /// Removes the key if it is as expected; the revision since which it is gone.
    pub async fn delete(&self, name: &str, expect: &Expect, author: &Author) -> Result<Revision, KvError> {
        let key = record::key(name)?;
        for _ in 0..limits::KV_ATTEMPTS {
            // Only what exists is deleted, so that there is something to tell.
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
                // Somebody came between: what is there now may still be as expected.
                Err(KvError::Conflict { .. }) => {}
                Err(error) => return Err(error),
                Ok((_, revision)) => {
                    if let Some(lease) = found.lease {
                        // It holds nothing any more.
                        let _ = self.store.revoke(lease).await;
                    }
                    return Ok(revision);
                }
            }
        }
        Err(StoreError::Busy.into())
    }

    /// Writes if the key is as expected; what it was before, and the revision.
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
            // It may have been written again with the value that is expected.
            if !matches!(expect, Expect::Value(_)) {
                return Err(conflict(name, before.map(|before| (before.version, before.modified))));
            }
        }
        Err(StoreError::Busy.into())
    }

    /// What the store has to compare.
    async fn compares(&self, name: &str, key: &str, expect: &Expect) -> Result<Vec<Compare>, KvError> {
        let key = key.to_owned();
        Ok(match expect {
            Expect::Any => Vec::new(),
            Expect::Version(0) | Expect::Modified(Revision(0)) => vec![Compare::Absent(key)],
            Expect::Version(version) => vec![Compare::Version(key, *version)],
            Expect::Modified(revision) => vec![Compare::Modified(key, *revision)],
            // What is stored says also by whom: the value is compared here, and that it stays there.
            Expect::Value(value) => match self.get(name, None).await?.0 {
                Some(item) if item.value == *value => vec![Compare::Modified(key, item.modified)],
                other => return Err(conflict(name, other.map(|item| (item.version, item.modified)))),
            },
        })
    }

    /// Keys under a prefix, behind one, as they are or were: at most `limit`, and fewer where they
    /// are large.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
        limit: usize,
    ) -> Result<Listing, KvError> {
        let limit = limit.clamp(1, limits::STORE_PAGE_ENTRIES);
        let mut after = after.map(|after| format!("{PREFIX}{after}"));
        let (mut at, mut items, mut bytes, mut batch) = (at, Vec::<Item>::new(), 0, BATCH);
        loop {
            let range = Range {
                prefix: format!("{PREFIX}{prefix}"),
                after: after.take(),
                limit: batch.min(limit - items.len()),
                at,
                ..Range::default()
            };
            let Page { entries, revision, more } = self.store.range(range).await?;
            // All parts of one listing are of one moment.
            at = Some(revision);
            after = entries.last().map(|entry| entry.key.clone());
            let mut rest = entries.len();
            for entry in &entries {
                // One that is too much where others are goes to the next page.
                if !items.is_empty() && bytes + entry.value.len() > limits::KV_LIST_BYTES {
                    break;
                }
                bytes += entry.value.len();
                items.extend(record::item(entry));
                rest -= 1;
            }
            let more = more || rest > 0;
            let mean = bytes.div_ceil(items.len().max(1)).max(1);
            batch = (limits::KV_LIST_BYTES.saturating_sub(bytes) / mean).clamp(1, BATCH_MOST);
            if rest > 0 || !more || items.len() >= limit || bytes >= limits::KV_LIST_BYTES {
                let next = items.last().filter(|_| more).map(|item| item.key.to_string());
                return Ok(Listing { items, revision, next });
            }
        }
    }

    /// Every change under a prefix from a revision on, that one included.
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<KvWatch, KvError> {
        Ok(KvWatch(self.store.watch(format!("{PREFIX}{prefix}"), from).await?))
    }

    /// When anything was written last, and the newest revision of all.
    async fn order(&self) -> Result<(Revision, Revision), StoreError> {
        let page = self.store.range(Range { prefix: ORDER.to_owned(), limit: 1, ..Range::default() }).await?;
        Ok((page.entries.first().map_or(Revision(0), |entry| entry.modified), page.revision))
    }
}

fn conflict(name: &str, found: Option<(u64, Revision)>) -> KvError {
    let (version, modified) = found.unwrap_or_default();
    KvError::Conflict { key: name.to_owned(), version, modified }
}
