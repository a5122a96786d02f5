//! What a process remembers of shared values.

mod table;
#[cfg(test)]
mod tests;
mod watcher;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::AbortHandle;

use crate::kv::cache::table::{Table, Verdict};
use crate::kv::{Author, Expect, Item, Kv, KvError, KvWatch, Listing, Revision, StoreError};

/// What a process knows of a key, in the words of the MESI protocol of processors' caches
/// (Papamarcos and Patel, 1984), as far as they apply. There is no E, "nobody else has it": nobody
/// keeps a directory of copies. And M does not mean that the store lacks it: every write goes there
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheState {
    /// M: written through this process, and by nobody since.
    Modified,
    /// S: read; others may have it, too.
    Shared,
    /// I: changed elsewhere, or it is not known whether it was. It is not served.
    Invalid,
}

/// How much a cache holds, and how old it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Keys.
    pub entries: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
    /// What is served was so at most this long ago.
    pub stale: Duration,
    /// How often that is confirmed.
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
            entries: limits::KV_CACHE_ENTRIES,
            bytes: limits::KV_CACHE_BYTES,
            stale: Duration::from_millis(limits::KV_STALE_MS),
            confirm: Duration::from_millis(limits::KV_CONFIRM_MS),
        }
    }
}

/// A key that a cache holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// Its name.
    pub key: Arc<str>,
    /// What is known of it.
    pub state: CacheState,
    /// The version that was known last.
    pub version: u64,
    /// And its revision.
    pub modified: Revision,
    /// Bytes of the value that is held.
    pub bytes: usize,
    /// How often it was served from here.
    pub hits: u64,
}

/// How a cache is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheMetrics {
    /// Values that are held.
    pub entries: usize,
    /// Bytes of all that is held.
    pub bytes: usize,
    /// The most of both, and how old it may be.
    pub limits: CacheLimits,
    /// Reads that were served from here.
    pub hits: u64,
    /// Reads that had to ask the store.
    pub misses: u64,
    /// Values that made room for others.
    pub evictions: u64,
    /// Values that were changed elsewhere, or might have been.
    pub invalidations: u64,
    /// How long ago all that is held is known to have been true; `None` while changes are not told.
    pub age: Option<Duration>,
    /// Whether that is recent enough to serve from here.
    pub coherent: bool,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The value, if there is one.
    pub item: Option<Item>,
    /// Whether it was held here.
    pub cached: bool,
}

/// A cache over [`Kv`], one for a process, that writes through. It is kept coherent by a watch: what
/// it serves was true at most [`CacheLimits::stale`] ago, never older than what it has served before
/// of that key, and never without what was written through it. While that cannot be known, it asks
/// the store.
pub struct Cache {
    kv: Kv,
    table: Arc<Mutex<Table>>,
    limits: CacheLimits,
    /// Begins with the first read.
    following: OnceLock<AbortHandle>,
}

impl Cache {
    /// Over these values, with what is usual.
    pub fn new(kv: Kv) -> Cache {
        Cache::bounded(kv, CacheLimits::default())
    }

    /// Over these values, within other limits.
    pub fn bounded(kv: Kv, limits: CacheLimits) -> Cache {
        let table = Arc::new(Mutex::new(Table::new(limits)));
        Cache { kv, table, limits, following: OnceLock::new() }
    }

    /// What is held here may be served, if it is recent enough.
    pub async fn get(&self, key: &str) -> Result<Read, KvError> {
        let held = self.table().get(key, boot_ns());
        match held {
            Some(item) => Ok(Read { item: Some(item), cached: true }),
            None => self.read_through(key).await,
        }
    }

    /// As it is, by the store.
    pub async fn get_linearizable(&self, key: &str) -> Result<Read, KvError> {
        self.read_through(key).await
    }

    async fn read_through(&self, key: &str) -> Result<Read, KvError> {
        crate::kv::record::key(key)?;
        self.follow();
        for _ in 0..limits::KV_ATTEMPTS {
            let began_ns = boot_ns();
            self.table().begin(key);
            let (item, at) = self.kv.get(key, None).await?;
            if self.table().read(key, item.as_ref(), at, began_ns) == Verdict::Serve {
                return Ok(Read { item, cached: false });
            }
        }
        Err(StoreError::Busy.into())
    }

    /// As it was then.
    pub async fn get_at(&self, key: &str, at: Revision) -> Result<Option<Item>, KvError> {
        Ok(self.kv.get(key, Some(at)).await?.0)
    }

    /// As [`Kv::put`]; what is read here afterwards is this, or newer.
    pub async fn put(
        &self,
        key: &str,
        value: Bytes,
        expect: &Expect,
        ttl: Option<Duration>,
        author: &Author,
    ) -> Result<Item, KvError> {
        let began_ns = self.begin_write(key)?;
        let done = self.kv.put(key, value, expect, ttl, author).await;
        match &done {
            Ok(item) => self.table().wrote(key, Some(item), item.modified, began_ns),
            Err(error) => self.failed(key, error),
        }
        done
    }

    /// As [`Kv::delete`]; what is read here afterwards is this, or newer.
    pub async fn delete(&self, key: &str, expect: &Expect, author: &Author) -> Result<Revision, KvError> {
        let began_ns = self.begin_write(key)?;
        let done = self.kv.delete(key, expect, author).await;
        match &done {
            Ok(at) => self.table().wrote(key, None, *at, began_ns),
            Err(error) => self.failed(key, error),
        }
        done
    }

    fn begin_write(&self, key: &str) -> Result<u64, KvError> {
        crate::kv::record::key(key)?;
        self.follow();
        self.table().begin(key);
        Ok(boot_ns())
    }

    /// What a failed write tells of what is held.
    fn failed(&self, key: &str, error: &KvError) {
        match error {
            KvError::Conflict { modified, .. } if modified.0 > 0 => self.table().invalidate(key, *modified),
            KvError::Key | KvError::Value(_) => {}
            // It is gone, or it is not known what it is.
            _ => self.table().doubt(key),
        }
    }

    /// As [`Kv::list`], by the store; what is read here afterwards is this, or newer.
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
            self.table().listed(prefix, between, &listing.items, listing.revision);
        }
        Ok(listing)
    }

    /// As [`Kv::watch`].
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<KvWatch, KvError> {
        self.kv.watch(prefix, from).await
    }

    /// What is held of a key.
    pub fn entry(&self, key: &str) -> Option<CacheEntry> {
        self.table().entry(key)
    }

    /// What is held.
    pub fn entries(&self) -> Vec<CacheEntry> {
        self.table().entries()
    }

    /// How it is doing.
    pub fn metrics(&self) -> CacheMetrics {
        let now_ns = boot_ns();
        let table = self.table();
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

    /// Who never reads has no watch.
    fn follow(&self) {
        self.following.get_or_init(|| {
            let follow = watcher::follow(self.kv.clone(), self.table.clone(), self.limits.confirm);
            tokio::spawn(follow).abort_handle()
        });
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Some(following) = self.following.get() {
            following.abort();
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nanoseconds since the computer started: nobody sets this clock, and it goes on during sleep, as
/// other computers do.
fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}
