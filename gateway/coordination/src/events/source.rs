//! Sources of log entries for verification: a store file, or a snapshot of a store in memory.

use bytes::Bytes;

use crate::events::entry::ROOT;
use crate::store::backup::StoreFile;
use crate::store::scan::scan;
use crate::store::{Store, StoreError};

/// The entries of a store at one revision.
pub trait EntrySource {
    /// Calls `each` with every key that has this prefix, in key order, and its value.
    fn scan(&self, prefix: &str, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError>;
}

/// The log at one revision, in memory.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Keys in order, with their values.
    pub entries: Vec<(String, Bytes)>,
}

impl Snapshot {
    /// Reads the log from a store. The snapshot is as large as the log.
    pub async fn of(store: &dyn Store) -> Result<Snapshot, StoreError> {
        let found = scan(store, ROOT, None).await?.entries;
        Ok(Snapshot { entries: found.into_iter().map(|entry| (entry.key, entry.value)).collect() })
    }
}

impl EntrySource for Snapshot {
    fn scan(&self, prefix: &str, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
        let found = self.entries.iter().filter(|(key, _)| key.starts_with(prefix));
        found.for_each(|(key, value)| each(key, value));
        Ok(())
    }
}

impl EntrySource for StoreFile {
    fn scan(&self, prefix: &str, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
        self.visit_entries(prefix, each)
    }
}
