//! Entries to be verified: of a file, or of a store that is read whole.

use bytes::Bytes;
use roverline_protocol::limits;

use crate::events::entry::ROOT;
use crate::store::{Range, Store, StoreError};

/// All that lies in a store, at one moment.
pub trait Dump {
    /// Shows every key that begins so, in the order of their bytes, and its value.
    fn scan(&self, prefix: &str, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError>;
}

/// The log as it was at one moment, in memory.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Keys in the order of their bytes, and their values.
    pub entries: Vec<(String, Bytes)>,
}

impl Snapshot {
    /// Reads it from a store. It is as large as the log.
    pub async fn of(store: &dyn Store) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot::default();
        let (mut after, mut at) = (None, None);
        loop {
            let limit = limits::STORE_PAGE_ENTRIES;
            let prefix = ROOT.to_owned();
            if at.is_none() {
                at = Some(
                    store
                        .range(Range { prefix: prefix.clone(), limit: 1, ..Range::default() })
                        .await?
                        .revision,
                );
            }
            let page =
                store.range(Range { prefix, after: after.take(), at, limit, ..Range::default() }).await?;
            snapshot.entries.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value)));
            after = snapshot.entries.last().map(|(key, _)| key.clone());
            if !page.more {
                return Ok(snapshot);
            }
        }
    }
}

impl Dump for Snapshot {
    fn scan(&self, prefix: &str, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
        let found = self.entries.iter().filter(|(key, _)| key.starts_with(prefix));
        found.for_each(|(key, value)| each(key, value));
        Ok(())
    }
}
