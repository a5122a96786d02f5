//! Doing a transaction once, though its answer be lost.

use std::time::Duration;

use roverline_protocol::limits;
use serde::de::DeserializeOwned;

use crate::queues::record::{self, Read};
use crate::queues::{QueueError, Queues};
use crate::store::{Change, Compare, Entry, Op, Outcome, Page, Range, Revision, StoreError, Txn};

/// What became of a transaction.
pub(super) enum Done {
    Yes(Outcome),
    /// Something else came first.
    No,
    /// Its answer was lost, and its compares hold no more: because of itself, or of something else.
    Perhaps,
}

impl Queues {
    /// Does a transaction that cannot happen twice, since it changes what it compares. So it is asked
    /// for again when its answer is lost.
    pub(super) async fn commit(&self, compares: Vec<Compare>, success: Vec<Op>) -> Result<Done, StoreError> {
        let txn = Txn { compares, success, failure: Vec::new() };
        let mut lost: Option<String> = None;
        for attempt in 0..limits::QUEUE_LOST_ATTEMPTS {
            match self.store.txn(txn.clone()).await {
                Ok(outcome) if outcome.succeeded => return Ok(Done::Yes(outcome)),
                Ok(_) if lost.is_some() => return Ok(Done::Perhaps),
                Ok(_) => return Ok(Done::No),
                Err(StoreError::Unknown(why)) => lost = Some(why),
                Err(error) => match &mut lost {
                    None => return Err(error),
                    // What is refused now may have happened before.
                    Some(why) => *why = error.to_string(),
                },
            }
            tokio::time::sleep(Duration::from_millis(10 << attempt)).await;
        }
        Err(StoreError::Unknown(lost.unwrap_or_default()))
    }

    /// Whether the first change of a key after this revision is the one that is looked for.
    pub(super) async fn first_change(
        &self,
        key: &str,
        after: Revision,
        is: impl Fn(&Entry) -> bool,
    ) -> Result<bool, StoreError> {
        let mut watch = self.store.watch(key.to_owned(), after.next()).await?;
        let patience = Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS);
        loop {
            let changes = match tokio::time::timeout(patience, watch.next()).await {
                Ok(Some(Ok(changes))) => changes,
                _ => return Err(StoreError::Unknown("the change was not found again".to_owned())),
            };
            for change in changes {
                match change {
                    Change::Put(entry) if entry.key == key => return Ok(is(&entry)),
                    Change::Delete { key: gone, .. } if gone == key => return Ok(false),
                    _ => {}
                }
            }
        }
    }

    /// What a key holds, and when.
    pub(super) async fn one<T: DeserializeOwned>(
        &self,
        key: String,
    ) -> Result<(Option<Read<T>>, Revision), QueueError> {
        let (entry, at) = self.entry(key).await?;
        Ok((entry.as_ref().map(record::read).transpose()?, at))
    }

    /// A key as it is, and when.
    pub(super) async fn entry(&self, key: String) -> Result<(Option<Entry>, Revision), StoreError> {
        let page = self.store.range(Range { prefix: key.clone(), limit: 1, ..Range::default() }).await?;
        Ok((page.entries.into_iter().find(|entry| entry.key == key), page.revision))
    }

    /// A page of what is under a prefix.
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
