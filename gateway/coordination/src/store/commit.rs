//! Idempotent transactions: commits a transaction at most once even if its response is lost.

use std::time::Duration;

use crate::limits;
use crate::store::{Change, Compare, Entry, Op, Outcome, Revision, Store, StoreError, Txn};

/// Attempts to repeat a transaction whose response was lost.
const RETRY_ATTEMPTS: u32 = 6;

/// The outcome of an idempotent transaction.
pub(crate) enum CommitOutcome {
    /// The transaction was applied by this call.
    Applied(Outcome),
    /// The compares do not hold.
    Conflict,
    /// A response was lost and the compares do not hold any more, because of this transaction or of
    /// another one.
    Unknown,
}

/// Commits a transaction that cannot succeed twice, since it changes what it compares. It is
/// therefore safe to repeat it after a lost response.
pub(crate) async fn commit(
    store: &dyn Store,
    compares: Vec<Compare>,
    success: Vec<Op>,
) -> Result<CommitOutcome, StoreError> {
    let txn = Txn { compares, success, failure: Vec::new() };
    let mut lost: Option<String> = None;
    for attempt in 0..RETRY_ATTEMPTS {
        match store.txn(txn.clone()).await {
            Ok(outcome) if outcome.succeeded => return Ok(CommitOutcome::Applied(outcome)),
            Ok(_) if lost.is_some() => return Ok(CommitOutcome::Unknown),
            Ok(_) => return Ok(CommitOutcome::Conflict),
            Err(StoreError::Unknown(why)) => lost = Some(why),
            Err(error) => match &mut lost {
                None => return Err(error),
                // This error does not say whether an earlier attempt succeeded.
                Some(why) => *why = error.to_string(),
            },
        }
        tokio::time::sleep(Duration::from_millis(10 << attempt)).await;
    }
    Err(StoreError::Unknown(lost.unwrap_or_default()))
}

/// Whether the first change of a key after this revision satisfies `is_ours`. Resolves
/// [`CommitOutcome::Unknown`] for a key that every competing transaction changes.
pub(crate) async fn is_first_change(
    store: &dyn Store,
    key: &str,
    after: Revision,
    is_ours: impl Fn(&Entry) -> bool,
) -> Result<bool, StoreError> {
    let mut watch = store.watch(key.to_owned(), after.next()).await?;
    let timeout = Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS);
    loop {
        let changes = match tokio::time::timeout(timeout, watch.next()).await {
            Ok(Some(Ok(changes))) => changes,
            _ => return Err(StoreError::Unknown("the change was not found again".to_owned())),
        };
        for change in changes {
            match change {
                Change::Put(entry) if entry.key == key => return Ok(is_ours(&entry)),
                Change::Delete { key: gone, .. } if gone == key => return Ok(false),
                _ => {}
            }
        }
    }
}
