//! Time travel: all robots and endpoints as they were.

use roverline_protocol::limits;
use tokio::time::Instant;

use crate::lifecycle::model::{Model, Selection};
use crate::lifecycle::record::PREFIX;
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::store::{Entry, Range, Revision, StoreError};

impl Lifecycle {
    /// As they are, read from the store itself.
    pub async fn scan(&self) -> Result<Model, LifecycleError> {
        self.read(None).await
    }

    /// As they were at a revision, as far back as the store keeps them.
    pub async fn as_of(&self, revision: Revision) -> Result<Model, LifecycleError> {
        self.read(Some(revision)).await
    }

    /// As they were when the first fact after this time had not come about yet, by the clocks of those
    /// who wrote them; as far back as the store keeps them.
    pub async fn as_of_time(&self, unix_ns: i64) -> Result<Model, LifecycleError> {
        let newest = self.scan().await?;
        if is_within(&newest, unix_ns) {
            return Ok(newest);
        }
        // The time of the newest fact never falls from one revision to the next.
        let (mut low, mut high) = (Revision(1), newest.revision());
        let mut found = None;
        while low < high {
            let middle = Revision(low.0 + (high.0 - low.0) / 2);
            match self.as_of(middle).await {
                Ok(model) if is_within(&model, unix_ns) => {
                    found = Some(model);
                    low = middle.next();
                }
                Ok(_) => high = middle,
                Err(LifecycleError::Store(StoreError::Compacted(kept))) => {
                    // Stores differ in which revision they name: at least one further on.
                    low = kept.max(middle.next());
                }
                Err(error) => return Err(error),
            }
        }
        match found {
            Some(model) => Ok(model),
            // Before the very first fact there was nothing; or it is not kept.
            None => match self.as_of(Revision(1)).await {
                Ok(model) if model.is_empty() => Ok(model),
                Ok(_) => Ok(Model::default()),
                Err(error) => Err(error),
            },
        }
    }

    async fn read(&self, at: Option<Revision>) -> Result<Model, LifecycleError> {
        let (mut entries, mut after, mut at): (Vec<Entry>, Option<String>, _) = (Vec::new(), None, at);
        loop {
            let range = Range {
                prefix: PREFIX.to_owned(),
                after: after.take(),
                at,
                limit: limits::STORE_PAGE_ENTRIES,
                ..Range::default()
            };
            let page = self.store.range(range).await?;
            // All pages of one revision.
            at = Some(page.revision);
            after = page.entries.last().map(|entry| entry.key.clone());
            entries.extend(page.entries);
            if !page.more {
                return Ok(Model::of(&entries, page.revision, Instant::now()));
            }
        }
    }
}

/// Whether no fact of it came about after this time.
fn is_within(model: &Model, unix_ns: i64) -> bool {
    let (all, _) = model.select(&Selection::default(), None, usize::MAX);
    all.iter().all(|view| view.record.at_ns <= unix_ns)
}
