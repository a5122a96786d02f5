//! History queries: all robots and endpoints at a past revision or time.

use tokio::time::Instant;

use crate::lifecycle::model::{Model, Selection};
use crate::lifecycle::record::PREFIX;
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::store::scan::scan;
use crate::store::{Revision, StoreError};

impl Lifecycle {
    /// The present state, read from the store.
    pub async fn scan(&self) -> Result<Model, LifecycleError> {
        self.read(None).await
    }

    /// The state at a revision, as far back as the store keeps its history.
    pub async fn as_of(&self, revision: Revision) -> Result<Model, LifecycleError> {
        self.read(Some(revision)).await
    }

    /// The state right before the first transition after this time, by the writers' clocks, as far back
    /// as the store keeps its history.
    pub async fn as_of_time(&self, unix_ns: i64) -> Result<Model, LifecycleError> {
        let newest = self.scan().await?;
        if is_not_after(&newest, unix_ns) {
            return Ok(newest);
        }
        // Binary search: the newest transition time never decreases from one revision to the next.
        let (mut low, mut high) = (Revision(1), newest.revision());
        let mut found = None;
        while low < high {
            let middle = Revision(low.0 + (high.0 - low.0) / 2);
            match self.as_of(middle).await {
                Ok(model) if is_not_after(&model, unix_ns) => {
                    found = Some(model);
                    low = middle.next();
                }
                Ok(_) => high = middle,
                Err(LifecycleError::Store(StoreError::Compacted(kept))) => {
                    // Stores differ in the revision they report; continue at least one further on.
                    low = kept.max(middle.next());
                }
                Err(error) => return Err(error),
            }
        }
        match found {
            Some(model) => Ok(model),
            // Before the first transition there was nothing, unless the history is compacted.
            None => match self.as_of(Revision(1)).await {
                Ok(model) if model.is_empty() => Ok(model),
                Ok(_) => Ok(Model::default()),
                Err(error) => Err(error),
            },
        }
    }

    async fn read(&self, at: Option<Revision>) -> Result<Model, LifecycleError> {
        let snapshot = scan(&*self.store, PREFIX, at).await?;
        Ok(Model::from_entries(&snapshot.entries, snapshot.revision, Instant::now()))
    }
}

/// Whether no transition in it is after this time.
fn is_not_after(model: &Model, unix_ns: i64) -> bool {
    let (all, _) = model.select(&Selection::default(), None, usize::MAX);
    all.iter().all(|view| view.record.at_ns <= unix_ns)
}
