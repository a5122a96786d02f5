//! Quotas: how much each author, and all together, may keep in the store and write to it.
//!
//! Every process counts the store's entries by watching it, so a deleted or expired entry frees its quota, no
//! matter which process deleted it. A write counts in its own process before it is sent, and elsewhere as soon
//! as the watch reports it: several processes that write at the same moment may exceed a quota by what they wrote then.

pub(crate) mod pace;
mod usage;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::boot_clock;
use crate::quota::pace::Pace;
use crate::quota::usage::{Table, follow};
use crate::store::{Entry, Revision, Store};

/// Limits on the entries kept and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Entries of one author.
    pub owner_entries: usize,
    /// Bytes of one author's entries.
    pub owner_bytes: u64,
    /// Entries of all authors.
    pub entries: usize,
    /// Bytes of all entries.
    pub bytes: u64,
    /// Bytes that one author may write in a minute, also over what is there.
    pub owner_bytes_per_minute: u64,
}

/// Which limit refused a write; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// The author has too many entries.
    #[error("limit reached ({0}): you have too many entries here; delete some")]
    OwnerEntries(usize),
    /// The author's entries are too large.
    #[error("limit reached ({0} bytes): your entries would be too large; delete some")]
    OwnerBytes(u64),
    /// There are too many entries.
    #[error("limit reached ({0}): all authors together have too many entries here; delete some")]
    Entries(usize),
    /// All entries together are too large.
    #[error("limit reached ({0} bytes): the entries of all authors would be too large; delete some")]
    Bytes(u64),
    /// The author writes too much in too short a time.
    #[error("you have written {bytes} bytes in a minute, all that one author may; try again in {} s", wait.as_secs() + 1)]
    Pace {
        /// The limit.
        bytes: u64,
        /// When the next minute begins.
        wait: Duration,
    },
}

/// Entries kept and writes refused, as one process knows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaUsage {
    /// Entries; `None` before the first write of this process, which begins to count.
    pub entries: Option<usize>,
    /// Their bytes.
    pub bytes: u64,
    /// Authors that have any.
    pub owners: usize,
    /// Writes refused because of what is kept.
    pub refused_stored: u64,
    /// Writes refused because of their pace.
    pub refused_pace: u64,
}

/// The author of an entry, and how many bytes it counts; `None` for an entry that is not counted.
pub(crate) type Describe = fn(&Entry) -> Option<(Arc<str>, u64)>;

/// One kind of entries with its limits.
pub(crate) struct Quota {
    store: Arc<dyn Store>,
    prefix: &'static str,
    describe: Describe,
    limits: QuotaLimits,
    table: Arc<Mutex<Table>>,
    pace: Mutex<Pace>,
    refused: [AtomicU64; 2],
    /// Started by the first write.
    watcher: OnceLock<AbortOnDropHandle<()>>,
}

/// A write that is about to happen. What it needs is set aside until it is dropped.
pub(crate) struct Reservation<'a> {
    quota: &'a Quota,
    owner: Arc<str>,
    added: (usize, u64),
}

impl Quota {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        prefix: &'static str,
        describe: Describe,
        limits: QuotaLimits,
    ) -> Quota {
        let (table, pace, refused) = (Arc::default(), Mutex::default(), Default::default());
        Quota { store, prefix, describe, limits, table, pace, refused, watcher: OnceLock::new() }
    }

    /// Counts bytes that an author is about to write, unless they are too many for this minute.
    pub(crate) fn pace(&self, owner: &str, bytes: u64) -> Result<(), QuotaError> {
        let most = self.limits.owner_bytes_per_minute;
        let taken = self.pace.lock().take(&Arc::from(owner), bytes, most, boot_clock::now());
        taken.map_err(|wait| {
            self.refused[1].fetch_add(1, Ordering::Relaxed);
            QuotaError::Pace { bytes: most, wait }
        })
    }

    /// Sets aside what a write needs: these entries (with their size) by this author, over what is there.
    pub(crate) fn reserve(
        &self,
        owner: &str,
        entries: &[(&str, u64)],
    ) -> Result<Reservation<'_>, QuotaError> {
        self.start_watcher();
        let owner: Arc<str> = Arc::from(owner);
        let added = self.table.lock().reserve(&owner, entries, &self.limits).inspect_err(|_| {
            self.refused[0].fetch_add(1, Ordering::Relaxed);
        })?;
        Ok(Reservation { quota: self, owner, added })
    }

    /// An entry was deleted at this revision.
    pub(crate) fn on_delete(&self, key: &str, revision: Revision) {
        self.table.lock().remove(key, revision);
    }

    /// The current usage.
    pub(crate) fn usage(&self) -> QuotaUsage {
        let table = self.table.lock();
        let (entries, bytes, owners) = table.totals();
        QuotaUsage {
            entries: self.watcher.get().map(|_| entries),
            bytes,
            owners,
            refused_stored: self.refused[0].load(Ordering::Relaxed),
            refused_pace: self.refused[1].load(Ordering::Relaxed),
        }
    }

    /// A process that writes nothing counts nothing.
    fn start_watcher(&self) {
        self.watcher.get_or_init(|| {
            let task = follow(self.store.clone(), self.prefix, self.describe, self.table.clone());
            AbortOnDropHandle::new(tokio::spawn(task))
        });
    }
}

impl Reservation<'_> {
    /// The write happened: these entries were written at this revision.
    pub(crate) fn commit(self, entries: &[(&str, u64)], revision: Revision) {
        let mut table = self.quota.table.lock();
        for (key, bytes) in entries {
            table.put(key, &self.owner, *bytes, revision);
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.quota.table.lock().release(&self.owner, self.added);
    }
}

#[cfg(test)]
mod tests {
    use roverline_test_support::wait::poll_async;

    use super::*;
    use crate::store::{Op, SqliteStore, Txn};

    const LIMITS: QuotaLimits = QuotaLimits {
        owner_entries: 2,
        owner_bytes: 100,
        entries: 3,
        bytes: 150,
        owner_bytes_per_minute: 1_000,
    };

    fn describe(entry: &Entry) -> Option<(Arc<str>, u64)> {
        let owner = entry.key.strip_prefix("q/")?.split('/').next()?;
        Some((Arc::from(owner), entry.value.len() as u64))
    }

    fn txn(op: Op) -> Txn {
        Txn { success: vec![op], ..Txn::default() }
    }

    async fn put(quota: &Quota, owner: &str, key: &str, size: u64) -> Result<(), QuotaError> {
        let reservation = quota.reserve(owner, &[(key, size)])?;
        let value = vec![b'x'; size as usize].into();
        let op = Op::Put { key: key.to_owned(), value, lease: None };
        let revision = quota.store.txn(txn(op)).await.unwrap().revision;
        reservation.commit(&[(key, size)], revision);
        Ok(())
    }

    async fn until(mut is_so: impl FnMut() -> bool) {
        let patience = Duration::from_secs(10);
        assert!(poll_async(patience, async || is_so().then_some(())).await.is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_kept_has_limits_and_deletion_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Quota::new(Arc::new(SqliteStore::open(folder.path())), "q/", describe, LIMITS);
        let quota = open();
        put(&quota, "ada", "q/ada/1", 60).await.unwrap();
        assert_eq!(put(&quota, "ada", "q/ada/2", 41).await, Err(QuotaError::OwnerBytes(100)));
        put(&quota, "ada", "q/ada/2", 40).await.unwrap();
        assert_eq!(put(&quota, "ada", "q/ada/3", 0).await, Err(QuotaError::OwnerEntries(2)));
        put(&quota, "ada", "q/ada/1", 60).await.unwrap();
        let taken_over = quota.reserve("bob", &[("q/ada/1", 60), ("q/ada/2", 41)]).err();
        assert_eq!(taken_over, Some(QuotaError::OwnerBytes(100)), "what was another's counts as a whole");
        assert_eq!(put(&quota, "bob", "q/bob/1", 51).await, Err(QuotaError::Bytes(150)));
        put(&quota, "bob", "q/bob/1", 50).await.unwrap();
        assert_eq!(put(&quota, "bob", "q/bob/2", 0).await, Err(QuotaError::Entries(3)));
        assert_eq!((quota.usage().entries, quota.usage().bytes, quota.usage().owners), (Some(3), 150, 2));
        assert_eq!(quota.usage().refused_stored, 5);

        // Another process learns of entries and deletions by its watch.
        let other = open();
        assert!(other.usage().entries.is_none());
        // The first write begins to count.
        drop(other.reserve("carl", &[]));
        until(|| other.usage().owners >= 2).await;
        assert_eq!(put(&other, "dora", "q/dora/1", 90).await, Err(QuotaError::Entries(3)));
        let gone = quota.store.txn(txn(Op::Delete("q/ada/1".to_owned()))).await.unwrap();
        quota.on_delete("q/ada/1", gone.revision);
        until(|| other.usage().bytes < 100).await;
        put(&other, "ada", "q/ada/4", 10).await.unwrap();
    }

    #[tokio::test]
    async fn what_this_process_deletes_is_given_back_at_once() {
        let store = Arc::new(crate::store::DisabledStore("nothing is watched".to_owned()));
        let quota = Quota::new(store, "q/", describe, LIMITS);
        let written = [("q/ada/1", 60)];
        quota.reserve("ada", &written).unwrap().commit(&written, Revision(5));
        quota.on_delete("q/ada/1", Revision(4));
        assert_eq!((quota.usage().entries, quota.usage().bytes), (Some(1), 60), "written after that");
        quota.on_delete("q/ada/1", Revision(6));
        assert_eq!((quota.usage().entries, quota.usage().bytes), (Some(0), 0));
    }

    #[tokio::test]
    async fn who_overwrites_again_and_again_is_slowed_down() {
        let quota = Quota::new(
            Arc::new(crate::store::DisabledStore("no store".to_owned())),
            "q/",
            describe,
            QuotaLimits { owner_bytes_per_minute: 150, ..LIMITS },
        );
        assert_eq!(quota.pace("ada", 100), Ok(()));
        let refused = quota.pace("ada", 100).unwrap_err();
        assert!(matches!(refused, QuotaError::Pace { bytes: 150, .. }), "{refused}");
        assert_eq!(quota.pace("bob", 100), Ok(()), "each author has a pace of their own");
        assert_eq!(quota.usage().refused_pace, 1);
        drop(quota.reserve("ada", &[("q/ada/1", 100)]).unwrap());
        assert_eq!((quota.usage().entries, quota.usage().bytes), (Some(0), 0), "nothing stays set aside");
    }
}
