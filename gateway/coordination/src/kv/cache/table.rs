//! What a cache holds, and what it may serve. Nothing here waits: this is the state, and the rules
//! by which it changes.
//!
//! - A read that began before a change and ends after it must not bring the old value back. So a key
//!   has a slot before it is read; the slot collects the changes that are told meanwhile (`floor`),
//!   and remembers since when it has listened (`since`). What was read at a revision before either
//!   is not kept, and what was read before the floor is not even served: it is read again.
//! - Nothing is served unless all that was written up to a short time ago has been taken in.

use std::sync::Arc;

use hashlink::LinkedHashMap;

use crate::kv::cache::{CacheEntry, CacheLimits, CacheState};
use crate::kv::{Item, KvChange, Revision};

/// What a slot takes beside its key and value, about.
const SLOT_BYTES: usize = 256;

/// A key, known or only asked for.
#[derive(Debug)]
struct Slot {
    /// The value, while it may be served.
    item: Option<Item>,
    state: CacheState,
    /// Its version and revision when it was last known, if it ever was.
    last: Option<(u64, Revision)>,
    /// When it was read or written.
    read_ns: u64,
    /// Nothing older may be served any more.
    floor: Revision,
    /// Changes after this one have been noted here.
    since: Revision,
    hits: u64,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) evictions: u64,
    pub(super) invalidations: u64,
}

/// What to do with what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be served.
    Serve,
    /// It is older than what was served or told before: read again.
    Again,
}

/// The cache of one process.
#[derive(Debug)]
pub(super) struct Table {
    /// The one used longest ago first.
    slots: LinkedHashMap<Arc<str>, Slot>,
    bytes: usize,
    limits: CacheLimits,
    /// The last revision that was told, or that was read before listening.
    seen: Revision,
    /// The floor of keys without a slot.
    floor: Revision,
    /// All that was written until then has been taken in.
    confirmed_ns: Option<u64>,
    /// The same holds for this time as soon as this revision has been told.
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
        // Its end by a lease is no write, so that nothing confirms that it was told.
        if item.lease.is_some() && now_ns.saturating_sub(slot.read_ns) >= bound_ns {
            return None;
        }
        slot.hits += 1;
        Some(item.clone())
    }

    /// Whether what is held was true a short time ago.
    pub(super) fn coherent(&self, now_ns: u64) -> bool {
        self.age_ns(now_ns).is_some_and(|age| age < self.limits.stale_ns())
    }

    /// How long ago all that is held is known to have been true.
    pub(super) fn age_ns(&self, now_ns: u64) -> Option<u64> {
        self.confirmed_ns.map(|confirmed| now_ns.saturating_sub(confirmed))
    }

    /// The key is going to be read or written.
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
        self.make_room();
    }

    /// The key was read: it was so at this revision, which was the newest one after `began_ns`.
    pub(super) fn read(&mut self, key: &str, item: Option<&Item>, at: Revision, began_ns: u64) -> Verdict {
        let (floor, _) = self.bounds(key);
        if at < floor {
            return Verdict::Again;
        }
        self.keep(key, item, at, began_ns, CacheState::Shared);
        Verdict::Serve
    }

    /// The key was written through this process.
    pub(super) fn wrote(&mut self, key: &str, item: Option<&Item>, at: Revision, began_ns: u64) {
        self.keep(key, item, at, began_ns, CacheState::Modified);
    }

    /// From when on a value of this key may be served, and from when on it may be kept.
    fn bounds(&self, key: &str) -> (Revision, Revision) {
        self.slots.get(key).map_or((self.floor, self.seen), |slot| (slot.floor, slot.since.max(slot.floor)))
    }

    fn keep(&mut self, key: &str, item: Option<&Item>, at: Revision, began_ns: u64, state: CacheState) {
        let (_, keep_from) = self.bounds(key);
        // Gone, it may be gone since any time before; there, it is what it was when it was changed.
        let served = item.map_or(at, |item| item.modified);
        let Some(slot) = self.slots.get_mut(key) else {
            self.floor = self.floor.max(served);
            return;
        };
        slot.floor = slot.floor.max(served);
        if at < keep_from {
            return;
        }
        // Read again, what was written here is still so.
        let same = slot.item.as_ref().zip(item).is_some_and(|(old, new)| old.modified == new.modified);
        if !same || state == CacheState::Modified {
            slot.state = if item.is_some() { state } else { CacheState::Invalid };
        }
        let before = slot.item.take().map_or(0, |item| item.value.len());
        slot.item = item.cloned();
        slot.last = item.map(|item| (item.version, item.modified)).or(slot.last);
        slot.read_ns = began_ns;
        self.bytes = (self.bytes + item.map_or(0, |item| item.value.len())).saturating_sub(before);
        self.make_room();
    }

    /// The key is not what is held, if that is older than this.
    pub(super) fn invalidate(&mut self, key: &str, at: Revision) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if slot.item.as_ref().is_some_and(|item| item.modified >= at) {
            return;
        }
        slot.floor = slot.floor.max(at);
        self.drop_item(key);
    }

    /// Whatever is held of the key is not served any more.
    pub(super) fn doubt(&mut self, key: &str) {
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

    /// These keys are all that there are between two, and were so then; nothing older is served.
    pub(super) fn listed(
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
                // Newer than the list.
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
        // Of keys without a slot, too.
        self.floor = self.floor.max(at);
    }

    /// What changed, in order; whole revisions only.
    pub(super) fn apply(&mut self, changes: &[KvChange], upto: Revision) {
        for change in changes {
            match change {
                KvChange::Put(item) => self.invalidate(&item.key, item.modified),
                KvChange::Delete { key, revision } => self.invalidate(key, *revision),
            }
        }
        self.seen = self.seen.max(upto);
        if let Some((awaited, asked_ns)) = self.awaited
            && self.seen >= awaited
        {
            self.awaited = None;
            self.confirm(asked_ns);
        }
    }

    /// When the store was asked at this time, the last write was at this revision.
    pub(super) fn probe(&mut self, written: Revision, asked_ns: u64) {
        if self.seen >= written {
            self.confirm(asked_ns);
        } else if self.awaited.is_none() {
            // The first one stays: under many writes the last one might never be reached.
            self.awaited = Some((written, asked_ns));
        }
    }

    fn confirm(&mut self, at_ns: u64) {
        self.confirmed_ns = Some(self.confirmed_ns.map_or(at_ns, |known| known.max(at_ns)));
    }

    /// Changes are not told any more: nothing that is held may be served.
    pub(super) fn lost(&mut self) {
        (self.confirmed_ns, self.awaited) = (None, None);
        let held: Vec<_> = self.slots.iter().filter(|(_, slot)| slot.item.is_some()).collect();
        let held: Vec<_> = held.into_iter().map(|(key, _)| key.clone()).collect();
        for key in held {
            self.drop_item(&key);
        }
    }

    /// Changes after this revision are told from now on; those before may have been missed.
    pub(super) fn restart(&mut self, at: Revision) {
        self.lost();
        self.seen = self.seen.max(at);
        for (_, slot) in &mut self.slots {
            slot.since = self.seen;
        }
    }

    fn make_room(&mut self) {
        while self.slots.len() > self.limits.entries || self.bytes > self.limits.bytes {
            let Some((key, slot)) = self.slots.pop_front() else { return };
            // What it knew holds for all that have no slot.
            self.floor = self.floor.max(slot.floor);
            let value = slot.item.as_ref().map_or(0, |item| item.value.len());
            self.bytes = self.bytes.saturating_sub(key.len() + SLOT_BYTES + value);
            self.counts.evictions += u64::from(slot.item.is_some());
        }
    }

    /// How many values are held, and the bytes of all that is.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.slots.iter().filter(|(_, slot)| slot.item.is_some()).count(), self.bytes)
    }

    /// What is held of a key.
    pub(super) fn entry(&self, key: &str) -> Option<CacheEntry> {
        let (key, slot) = self.slots.get_key_value(key)?;
        entry(key, slot)
    }

    /// What is held of every key.
    pub(super) fn entries(&self) -> Vec<CacheEntry> {
        self.slots.iter().filter_map(|(key, slot)| entry(key, slot)).collect()
    }
}

/// `None` for a key that was asked for and never known.
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
