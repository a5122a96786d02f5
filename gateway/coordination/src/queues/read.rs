//! Typed reads of a queue's keys.

use serde::de::DeserializeOwned;

use crate::queues::record::{self, Versioned};
use crate::queues::{QueueError, Queues};
use crate::store::commit::{CommitOutcome, commit};
use crate::store::scan::get;
use crate::store::{Compare, Entry, Op, Page, Range, Revision, StoreError};

impl Queues {
    /// Commits a transaction that changes what it compares; see [`commit`].
    pub(super) async fn commit(
        &self,
        compares: Vec<Compare>,
        success: Vec<Op>,
    ) -> Result<CommitOutcome, StoreError> {
        commit(&*self.store, compares, success).await
    }

    /// Reads and parses a key; also returns the revision of the read.
    pub(super) async fn read_key<T: DeserializeOwned>(
        &self,
        key: String,
    ) -> Result<(Option<Versioned<T>>, Revision), QueueError> {
        let (entry, at) = self.get(key).await?;
        Ok((entry.as_ref().map(record::decode).transpose()?, at))
    }

    /// Reads a key; also returns the revision of the read.
    pub(super) async fn get(&self, key: String) -> Result<(Option<Entry>, Revision), StoreError> {
        get(&*self.store, &key, None).await
    }

    /// Reads a page of keys under a prefix.
    pub(super) async fn page(
        &self,
        prefix: &str,
        after: Option<String>,
        at: Option<Revision>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.store.range(Range { prefix: prefix.to_owned(), after, at, limit, backward: false }).await
    }
}
