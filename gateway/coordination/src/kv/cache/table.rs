//! The state of the cache and the rules by which it changes; pure, without I/O.
//!
//! - A read that races with a newer change must not bring the old value back. So a key gets a slot before it
//!   is read; the slot collects the changes reported meanwhile (`floor`) and the revision from which it has
//!   been listening (`since`). A value read at a revision before either is not cached, and one read before
//!   the floor is not even served: it is read again.
//! - Nothing is served unless all writes up to a short time ago have been applied.

use std::sync::Arc;

use hashlink::LinkedHashMap;

use crate::kv::cache::{CacheEntry, CacheLimits, CacheState};
use crate::kv::{Item, KvChange, Revision};

/// Approximate overhead of a slot, beside key and value.
const SLOT_BYTES: usize = 256;

/// A key that is known or has been requested.
#[derive(Debug)]
struct Slot {
    /// The value, while it may be served.
    item: Option<Item>,
    state: CacheState,
    /// The last known version and revision, if any.
    last: Option<(u64, Revision)>,
    /// The time of the read or write, in nanoseconds since boot.
    read_ns: u64,
    /// Older revisions may no longer be served.
    floor: Revision,
    /// Changes after this revision have been recorded here.
    since: Revision,
    hits: u64,
}

/// Event counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) evictions: u64,
    pub(super) invalidations: u64,
}

/// The decision about a value that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadDecision {
    /// It may be served.
    Serve,
    /// It is older than one already served or reported: read again.
    Retry,
}

/// The cache of one process.
#[derive(Debug)]
pub(super) struct Table {
    /// In least-recently-used order.
    slots: LinkedHashMap<Arc<str>, Slot>,
    bytes: usize,
    limits: CacheLimits,
    /// The newest revision that was reported by the watch, or read before the watch began.
    seen: Revision,
    /// The floor of keys without a slot.
    floor: Revision,
    /// All writes before this time have been applied.
    confirmed_ns: Option<u64>,
    /// A pending confirmation: the time is confirmed when this revision has been reported.
    awaited: Option<(Revision, u64)>,
    pub(super) counts: Counts,
}

impl Table {
    pub(super) fn new(limits: CacheLimits) -> Table {
        Table {
            slots: LinkedHashMap::new(),
            bytes: 0,
            limits,
            seen: Revision(0),
            floor: Revision(0),
            confirmed_ns: None,
            awaited: None,
            counts: Counts::default(),
        }
    }

    /// A value that may be served now.
    pub(super) fn get(&mut self, key: &str, now_ns: u64) -> Option<Item> {
        let found = self.servable(key, now_ns);
        match found {
            Some(_) => self.counts.hits += 1,
            None => self.counts.misses += 1,
        }
        found
    }

    fn servable(&mut self, key: &str, now_ns: u64) -> Option<Item> {
        if !self.coherent(now_ns) {
            return None;
        }
        let bound_ns = self.limits.stale_ns();
        let slot = self.slots.to_back(key)?;
        let item = slot.item.as_ref()?;
        // The end of a lease is not a write, so no confirmation covers it.
        if item.lease.is_some() && now_ns.saturating_sub(slot.read_ns) >= bound_ns {
            return None;
        }
        slot.hits += 1;
        Some(item.clone())
    }

    /// Whether the cached values were current a short time ago.
    pub(super) fn coherent(&self, now_ns: u64) -> bool {
        self.age_ns(now_ns).is_some_and(|age| age < self.limits.stale_ns())
    }

    /// How long ago the cached values were last confirmed.
    pub(super) fn age_ns(&self, now_ns: u64) -> Option<u64> {
        self.confirmed_ns.map(|confirmed| now_ns.saturating_sub(confirmed))
    }

    /// Prepares the key for a read or write.
    pub(super) fn begin(&mut self, key: &str) {
        if self.slots.to_back(key).is_some() {
            return;
        }
        let slot = Slot {
            item: None,
            state: CacheState::Invalid,
            last: None,
            read_ns: 0,
            floor: self.floor,
            since: self.seen,
            hits: 0,
        };
        self.bytes += key.len() + SLOT_BYTES;
        self.slots.insert(Arc::from(key), slot);
        self.evict();
    }

    /// The key was read; `at` was the newest revision at some time after `started_ns`.
    pub(super) fn on_read(
        &mut self,
        key: &str,
        item: Option<&Item>,
        at: Revision,
        started_ns: u64,
    ) -> ReadDecision {
        let (floor, _) = self.bounds(key);
        if at < floor {
            return ReadDecision::Retry;
        }
        self.store(key, item, at, started_ns, CacheState::Shared);
        ReadDecision::Serve
    }

    /// The key was written through this process.
    pub(super) fn on_write(&mut self, key: &str, item: Option<&Item>, at: Revision, started_ns: u64) {
        self.store(key, item, at, started_ns, CacheState::Modified);
    }

    /// The revisions from which a value of this key may be served and may be cached.
    fn bounds(&self, key: &str) -> (Revision, Revision) {
        self.slots.get(key).map_or((self.floor, self.seen), |slot| (slot.floor, slot.since.max(slot.floor)))
    }

    fn store(&mut self, key: &str, item: Option<&Item>, at: Revision, started_ns: u64, state: CacheState) {
        let (_, store_from) = self.bounds(key);
        // A missing key may have been deleted at any time before; an existing one is unchanged since
        // `modified`.
        let served = item.map_or(at, |item| item.modified);
        let Some(slot) = self.slots.get_mut(key) else {
            self.floor = self.floor.max(served);
            return;
        };
        slot.floor = slot.floor.max(served);
        if at < store_from {
            return;
        }
        // Reading back the value written here does not change its state.
        let same = slot.item.as_ref().zip(item).is_some_and(|(old, new)| old.modified == new.modified);
        if !same || state == CacheState::Modified {
            slot.state = if item.is_some() { state } else { CacheState::Invalid };
        }
        let before = slot.item.take().map_or(0, |item| item.value.len());
        slot.item = item.cloned();
        slot.last = item.map(|item| (item.version, item.modified)).or(slot.last);
        slot.read_ns = started_ns;
        self.bytes = (self.bytes + item.map_or(0, |item| item.value.len())).saturating_sub(before);
        self.evict();
    }

    /// Invalidates the key if the cached value is older than this revision.
    pub(super) fn invalidate(&mut self, key: &str, at: Revision) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.item.as_ref().is_some_and(|item| item.modified >= at) {
            return;
        }
        slot.floor = slot.floor.max(at);
        self.drop_item(key);
    }

    /// Stops serving the cached value.
    pub(super) fn mark_uncertain(&mut self, key: &str) {
        self.drop_item(key);
    }

    fn drop_item(&mut self, key: &str) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.state = CacheState::Invalid;
        if let Some(item) = slot.item.take() {
            self.bytes = self.bytes.saturating_sub(item.value.len());
            self.counts.invalidations += 1;
        }
    }

    /// These are all keys between two keys at this revision; nothing older may be served.
    pub(super) fn on_list(
        &mut self,
        prefix: &str,
        between: (&str, Option<&str>),
        items: &[Item],
        at: Revision,
    ) {
        let within = |key: &str| {
            key.starts_with(prefix) && key > between.0 && between.1.is_none_or(|last| key <= last)
        };
        let is_same = |held: &Item| {
            let found = items.binary_search_by(|item| item.key.as_bytes().cmp(held.key.as_bytes()));
            found.is_ok_and(|found| items[found].modified == held.modified)
        };
        let mut older = Vec::new();
        for (key, slot) in self.slots.iter_mut().filter(|(key, _)| within(key)) {
            match &slot.item {
                // Newer than the listing.
                Some(held) if held.modified > at || is_same(held) => {}
                _ => {
                    slot.floor = slot.floor.max(at);
                    older.push(key.clone());
                }
            }
        }
        for key in older {
            self.drop_item(&key);
        }
        // This also applies to keys without a slot.
        self.floor = self.floor.max(at);
    }

    /// Applies changes in order; whole revisions only.
    pub(super) fn apply(&mut self, changes: &[KvChange], upto: Revision) {
        for change in changes {
            match change {
                KvChange::Put(item) => self.invalidate(&item.key, item.modified),
                KvChange::Delete { key, revision } => self.invalidate(key, *revision),
            }
        }
        self.seen = self.seen.max(upto);
        if let Some((awaited, probed_ns)) = self.awaited
            && self.seen >= awaited
        {
            self.awaited = None;
            self.confirm(probed_ns);
        }
    }

    /// At this time, the last write in the store was at this revision.
    pub(super) fn probe(&mut self, written: Revision, probed_ns: u64) {
        if self.seen >= written {
            self.confirm(probed_ns);
        } else if self.awaited.is_none() {
            // The first pending confirmation stays: under many writes the last one might never be reached.
            self.awaited = Some((written, probed_ns));
        }
    }

    fn confirm(&mut self, at_ns: u64) {
        self.confirmed_ns = Some(self.confirmed_ns.map_or(at_ns, |known| known.max(at_ns)));
    }

    /// The watch is lost: no cached value may be served.
    pub(super) fn on_watch_lost(&mut self) {
        (self.confirmed_ns, self.awaited) = (None, None);
        let held: Vec<_> = self.slots.iter().filter(|(_, slot)| slot.item.is_some()).collect();
        let held: Vec<_> = held.into_iter().map(|(key, _)| key.clone()).collect();
        for key in held {
            self.drop_item(&key);
        }
    }

    /// A new watch reports the changes after this revision; earlier ones may have been missed.
    pub(super) fn restart(&mut self, at: Revision) {
        self.on_watch_lost();
        self.seen = self.seen.max(at);
        for (_, slot) in &mut self.slots {
            slot.since = self.seen;
        }
    }

    fn evict(&mut self) {
        while self.slots.len() > self.limits.entries || self.bytes > self.limits.bytes {
            let Some((key, slot)) = self.slots.pop_front() else { return };
            // The slot's floor now applies to all keys without a slot.
            self.floor = self.floor.max(slot.floor);
            let value = slot.item.as_ref().map_or(0, |item| item.value.len());
            self.bytes = self.bytes.saturating_sub(key.len() + SLOT_BYTES + value);
            self.counts.evictions += u64::from(slot.item.is_some());
        }
    }

    /// The number of cached values, and the bytes in use.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.slots.iter().filter(|(_, slot)| slot.item.is_some()).count(), self.bytes)
    }

    /// The cached state of a key.
    pub(super) fn entry(&self, key: &str) -> Option<CacheEntry> {
        let (key, slot) = self.slots.get_key_value(key)?;
        entry(key, slot)
    }

    /// The cached state of every key.
    pub(super) fn entries(&self) -> Vec<CacheEntry> {
        self.slots.iter().filter_map(|(key, slot)| entry(key, slot)).collect()
    }
}

/// `None` for a key that was requested but never known.
fn entry(key: &Arc<str>, slot: &Slot) -> Option<CacheEntry> {
    let (version, modified) = slot.last?;
    Some(CacheEntry {
        key: key.clone(),
        state: slot.state,
        version,
        modified,
        bytes: slot.item.as_ref().map_or(0, |item| item.value.len()),
        hits: slot.hits,
    })
}
