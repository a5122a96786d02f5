//! The entries of one kind that are in the store, by author.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::limits;
use crate::quota::{Describe, QuotaError, QuotaLimits};
use crate::store::list_watch::each_change;
use crate::store::scan::Pages;
use crate::store::{Change, Revision, Store, StoreError};

/// One entry.
#[derive(Debug)]
struct Counted {
    owner: Arc<str>,
    bytes: u64,
    revision: Revision,
}

/// Entries that are kept, and room set aside for writes in progress.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<String, Counted>,
    owners: HashMap<Arc<str>, (usize, u64)>,
    total: (usize, u64),
}

impl Table {
    /// Entries, bytes, authors.
    pub(super) fn totals(&self) -> (usize, u64, usize) {
        (self.total.0, self.total.1, self.owners.len())
    }

    /// Sets aside what these entries add, if there is room. What does not grow is always allowed.
    pub(super) fn reserve(
        &mut self,
        owner: &Arc<str>,
        entries: &[(&str, u64)],
        limits: &QuotaLimits,
    ) -> Result<(usize, u64), QuotaError> {
        let (mut own, mut all) = ((0, 0), (0, 0));
        for (key, bytes) in entries {
            let known = self.entries.get(*key);
            let before = known.map_or(0, |known| known.bytes);
            all.0 += usize::from(known.is_none());
            all.1 += bytes.saturating_sub(before);
            match known {
                Some(known) if known.owner == *owner => own.1 += bytes.saturating_sub(before),
                // The new author takes over an entry of another author.
                _ => own = (own.0 + 1, own.1 + bytes),
            }
        }
        let (held, held_bytes) = self.owners.get(owner).copied().unwrap_or_default();
        let exceeds = |held: usize, added: usize, most: usize| added > 0 && held + added > most;
        let exceeds_bytes = |held: u64, added: u64, most: u64| added > 0 && held.saturating_add(added) > most;
        if exceeds(held, own.0, limits.owner_entries) {
            return Err(QuotaError::OwnerEntries(limits.owner_entries));
        }
        if exceeds_bytes(held_bytes, own.1, limits.owner_bytes) {
            return Err(QuotaError::OwnerBytes(limits.owner_bytes));
        }
        if exceeds(self.total.0, all.0, limits.entries) {
            return Err(QuotaError::Entries(limits.entries));
        }
        if exceeds_bytes(self.total.1, all.1, limits.bytes) {
            return Err(QuotaError::Bytes(limits.bytes));
        }
        self.add(owner, own);
        Ok(own)
    }

    /// Gives back what was set aside.
    pub(super) fn release(&mut self, owner: &Arc<str>, (entries, bytes): (usize, u64)) {
        self.subtract(owner, entries, bytes);
    }

    /// An entry was written at this revision.
    pub(super) fn put(&mut self, key: &str, owner: &Arc<str>, bytes: u64, revision: Revision) {
        if self.entries.get(key).is_some_and(|known| known.revision >= revision) {
            return;
        }
        let counted = Counted { owner: owner.clone(), bytes, revision };
        if let Some(before) = self.entries.insert(key.to_owned(), counted) {
            self.subtract(&before.owner, 1, before.bytes);
        }
        self.add(owner, (1, bytes));
    }

    /// An entry was deleted at this revision.
    pub(super) fn remove(&mut self, key: &str, revision: Revision) {
        if self.entries.get(key).is_some_and(|known| known.revision < revision)
            && let Some(before) = self.entries.remove(key)
        {
            self.subtract(&before.owner, 1, before.bytes);
        }
    }

    /// Forgets the entries that a complete list of this revision did not have.
    fn retain(&mut self, listed: &std::collections::HashSet<String>, revision: Revision) {
        let known = self.entries.iter().filter(|(_, known)| known.revision <= revision);
        let gone: Vec<_> =
            known.filter(|(key, _)| !listed.contains(*key)).map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| self.remove(key, revision.next()));
    }

    fn add(&mut self, owner: &Arc<str>, (entries, bytes): (usize, u64)) {
        let own = self.owners.entry(owner.clone()).or_default();
        for sum in [own, &mut self.total] {
            *sum = (sum.0 + entries, sum.1 + bytes);
        }
    }

    fn subtract(&mut self, owner: &Arc<str>, entries: usize, bytes: u64) {
        let less =
            |sum: &mut (usize, u64)| *sum = (sum.0.saturating_sub(entries), sum.1.saturating_sub(bytes));
        less(&mut self.total);
        if let Slot::Occupied(mut own) = self.owners.entry(owner.clone()) {
            less(own.get_mut());
            if *own.get() == (0, 0) {
                own.remove();
            }
        }
    }
}

/// Counts what is in the store, and follows its changes, until it is dropped.
pub(super) async fn follow(
    store: Arc<dyn Store>,
    prefix: &'static str,
    describe: Describe,
    table: Arc<Mutex<Table>>,
) {
    loop {
        let why = match follow_once(&*store, prefix, describe, &table).await {
            Ok(()) => StoreError::Unavailable("the watch was closed".to_owned()),
            Err(why) => why,
        };
        tracing::debug!(%why, prefix, "what is kept is counted again");
        tokio::time::sleep(Duration::from_millis(limits::STORE_POLL_MS)).await;
    }
}

async fn follow_once(
    store: &dyn Store,
    prefix: &str,
    describe: Describe,
    table: &Mutex<Table>,
) -> Result<(), StoreError> {
    let mut pages = Pages::pinned(store, prefix, None);
    let (mut listed, mut revision) = (std::collections::HashSet::new(), Revision(0));
    while let Some(page) = pages.next().await? {
        revision = page.revision;
        let mut table = table.lock();
        for entry in &page.entries {
            if let Some((owner, bytes)) = describe(entry) {
                table.put(&entry.key, &owner, bytes, entry.modified);
                listed.insert(entry.key.clone());
            }
        }
    }
    table.lock().retain(&listed, revision);
    drop(listed);
    let mut watch = store.watch(prefix.to_owned(), revision.next()).await?;
    each_change(&mut watch, |changes| {
        let mut table = table.lock();
        for change in &changes {
            match change {
                Change::Put(entry) => {
                    if let Some((owner, bytes)) = describe(entry) {
                        table.put(&entry.key, &owner, bytes, entry.modified);
                    }
                }
                Change::Delete { key, revision } => table.remove(key, *revision),
            }
        }
        ControlFlow::Continue(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_newest_write_of_an_entry_counts() {
        let (mut table, ada, bob) = (Table::default(), Arc::from("ada"), Arc::from("bob"));
        table.put("a", &ada, 10, Revision(5));
        table.put("a", &ada, 99, Revision(4));
        assert_eq!(table.totals(), (1, 10, 1), "a late report changes nothing");
        table.put("a", &bob, 20, Revision(6));
        assert_eq!(table.totals(), (1, 20, 1));
    }

    #[test]
    fn a_list_tells_what_is_gone_and_nothing_of_what_came_later() {
        let (mut table, ada) = (Table::default(), Arc::from("ada"));
        table.put("gone", &ada, 1, Revision(1));
        table.put("listed", &ada, 2, Revision(2));
        table.put("later", &ada, 4, Revision(9));
        table.retain(&HashSet::from(["listed".to_owned()]), Revision(8));
        assert_eq!(table.totals(), (2, 6, 1));
    }
}
