//! A coherent read cache for shared values.

mod table;
#[cfg(test)]
mod tests;
mod watcher;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::boot_clock;
use crate::kv::cache::table::{ReadDecision, Table};
use crate::kv::{Author, Expect, Item, Kv, KvError, KvWatch, Listing, Revision, StoreError};
use crate::limits;
use crate::quota::QuotaUsage;

/// Cached keys per process.
const KV_CACHE_ENTRIES: usize = 4_096;
/// Bytes of the cached values. What a mission shares is small; a writer of large values must not fill the
/// memory of four processes with them.
const KV_CACHE_BYTES: usize = 4 << 20;
/// Interval at which cached values are confirmed.
const KV_CONFIRM_MS: u64 = 250;

/// The state of a cached key, in terms of the MESI protocol of processor caches (Papamarcos and Patel,
/// 1984), as far as it applies. There is no E (exclusive), because there is no directory of copies. And M
/// does not mean that the store is out of date: every write goes to the store first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheState {
    /// M: last written through this process.
    Modified,
    /// S: read from the store; other processes may have it as well.
    Shared,
    /// I: changed elsewhere, or possibly changed. It is not served.
    Invalid,
}

/// Size and age limits of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Largest number of keys.
    pub entries: usize,
    /// Largest total of key and value bytes.
    pub bytes: usize,
    /// Largest age of a served value.
    pub stale: Duration,
    /// How often the age is confirmed with the store.
    pub confirm: Duration,
}

impl CacheLimits {
    fn stale_ns(&self) -> u64 {
        u64::try_from(self.stale.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Default for CacheLimits {
    fn default() -> CacheLimits {
        CacheLimits {
            entries: KV_CACHE_ENTRIES,
            bytes: KV_CACHE_BYTES,
            stale: Duration::from_millis(limits::KV_STALE_MS),
            confirm: Duration::from_millis(KV_CONFIRM_MS),
        }
    }
}

/// A cached key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The key.
    pub key: Arc<str>,
    /// Its state.
    pub state: CacheState,
    /// The last known version.
    pub version: u64,
    /// The revision of that version.
    pub modified: Revision,
    /// Bytes of the cached value.
    pub bytes: usize,
    /// Reads served from the cache.
    pub hits: u64,
}

/// Cache statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheMetrics {
    /// Cached values.
    pub entries: usize,
    /// Bytes in use.
    pub bytes: usize,
    /// The limits.
    pub limits: CacheLimits,
    /// Reads served from the cache.
    pub hits: u64,
    /// Reads that went to the store.
    pub misses: u64,
    /// Values evicted for others.
    pub evictions: u64,
    /// Values that were, or may have been, changed elsewhere.
    pub invalidations: u64,
    /// How long ago all cached values were last confirmed; `None` while the watch is lost.
    pub age: Option<Duration>,
    /// Whether that is recent enough to serve them.
    pub coherent: bool,
}

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The value, if there is one.
    pub item: Option<Item>,
    /// Whether it came from the cache.
    pub cached: bool,
}

/// A write-through cache over [`Kv`], one per process, kept coherent by a watch. A served value was current
/// at most [`CacheLimits::stale`] ago, is never older than one already served for the same key, and includes
/// all writes through this cache. While this cannot be guaranteed, reads go to the store.
pub struct Cache {
    kv: Kv,
    table: Arc<Mutex<Table>>,
    limits: CacheLimits,
    /// Started by the first access.
    watcher: OnceLock<AbortOnDropHandle<()>>,
}

impl Cache {
    /// A cache with the default limits.
    pub fn new(kv: Kv) -> Cache {
        Cache::with_limits(kv, CacheLimits::default())
    }

    /// A cache with these limits.
    pub fn with_limits(kv: Kv, limits: CacheLimits) -> Cache {
        let table = Arc::new(Mutex::new(Table::new(limits)));
        Cache { kv, table, limits, watcher: OnceLock::new() }
    }

    /// Reads a value, from the cache if it is recent enough.
    pub async fn get(&self, key: &str) -> Result<Read, KvError> {
        let cached_item = self.table.lock().get(key, boot_ns());
        match cached_item {
            Some(item) => Ok(Read { item: Some(item), cached: true }),
            None => self.read_through(key).await,
        }
    }

    /// Reads from the store.
    pub async fn get_linearizable(&self, key: &str) -> Result<Read, KvError> {
        self.read_through(key).await
    }

    async fn read_through(&self, key: &str) -> Result<Read, KvError> {
        crate::kv::record::key(key)?;
        self.start_watcher();
        for _ in 0..limits::KV_ATTEMPTS {
            let started_ns = boot_ns();
            self.table.lock().begin(key);
            let (item, at) = self.kv.get(key, None).await?;
            if self.table.lock().on_read(key, item.as_ref(), at, started_ns) == ReadDecision::Serve {
                return Ok(Read { item, cached: false });
            }
        }
        Err(StoreError::Busy.into())
    }

    /// Reads at a revision.
    pub async fn get_at(&self, key: &str, at: Revision) -> Result<Option<Item>, KvError> {
        Ok(self.kv.get(key, Some(at)).await?.0)
    }

    /// Like [`Kv::put`]; later reads return this value or a newer one.
    pub async fn put(
        &self,
        key: &str,
        value: Bytes,
        expect: &Expect,
        ttl: Option<Duration>,
        author: &Author,
    ) -> Result<Item, KvError> {
        let started_ns = self.begin_write(key)?;
        let done = self.kv.put(key, value, expect, ttl, author).await;
        match &done {
            Ok(item) => self.table.lock().on_write(key, Some(item), item.modified, started_ns),
            Err(error) => self.on_write_failed(key, error),
        }
        done
    }

    /// Like [`Kv::delete`]; later reads return this state or a newer one.
    pub async fn delete(&self, key: &str, expect: &Expect, author: &Author) -> Result<Revision, KvError> {
        let started_ns = self.begin_write(key)?;
        let done = self.kv.delete(key, expect, author).await;
        match &done {
            Ok(at) => self.table.lock().on_write(key, None, *at, started_ns),
            Err(error) => self.on_write_failed(key, error),
        }
        done
    }

    fn begin_write(&self, key: &str) -> Result<u64, KvError> {
        crate::kv::record::key(key)?;
        self.start_watcher();
        self.table.lock().begin(key);
        Ok(boot_ns())
    }

    /// Updates the cache after a failed write.
    fn on_write_failed(&self, key: &str, error: &KvError) {
        match error {
            KvError::Conflict { modified, .. } if modified.0 > 0 => {
                self.table.lock().invalidate(key, *modified)
            }
            KvError::Key | KvError::Value(_) | KvError::Quota(_) => {}
            // The key is gone, or its state is unknown.
            _ => self.table.lock().mark_uncertain(key),
        }
    }

    /// Lists from the store, like [`Kv::list`]; later reads return these values or newer ones.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Option<Revision>,
        limit: usize,
    ) -> Result<Listing, KvError> {
        let listing = self.kv.list(prefix, after, at, limit).await?;
        if at.is_none() {
            let between = (after.unwrap_or_default(), listing.next.as_deref());
            self.table.lock().on_list(prefix, between, &listing.items, listing.revision);
        }
        Ok(listing)
    }

    /// Like [`Kv::watch`].
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<KvWatch, KvError> {
        self.kv.watch(prefix, from).await
    }

    /// Like [`Kv::usage`].
    pub fn usage(&self) -> QuotaUsage {
        self.kv.usage()
    }

    /// The cached state of a key.
    pub fn entry(&self, key: &str) -> Option<CacheEntry> {
        self.table.lock().entry(key)
    }

    /// All cached keys.
    pub fn entries(&self) -> Vec<CacheEntry> {
        self.table.lock().entries()
    }

    /// The current statistics.
    pub fn metrics(&self) -> CacheMetrics {
        let now_ns = boot_ns();
        let table = self.table.lock();
        let ((entries, bytes), counts) = (table.size(), table.counts);
        CacheMetrics {
            entries,
            bytes,
            limits: self.limits,
            hits: counts.hits,
            misses: counts.misses,
            evictions: counts.evictions,
            invalidations: counts.invalidations,
            age: table.age_ns(now_ns).map(Duration::from_nanos),
            coherent: table.coherent(now_ns),
        }
    }

    /// A process that never reads has no watch.
    fn start_watcher(&self) {
        self.watcher.get_or_init(|| {
            let task = watcher::run(self.kv.clone(), self.table.clone(), self.limits.confirm);
            AbortOnDropHandle::new(tokio::spawn(task))
        });
    }
}

/// Nanoseconds since boot: this clock cannot be set, and it advances during suspend, like the clocks of
/// other computers.
fn boot_ns() -> u64 {
    u64::try_from(boot_clock::now().as_nanos()).unwrap_or(u64::MAX)
}
