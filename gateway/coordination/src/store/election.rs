//! Leader election: a key with a lease that one process holds at a time.

use std::time::Duration;

use bytes::Bytes;

use crate::store::{Compare, LeaseId, Op, Store, StoreError, Txn};

/// Tries to become the leader: creates `key` with a lease of `ttl`, unless it exists. `None`: another
/// process is the leader.
pub(crate) async fn try_acquire(
    store: &dyn Store,
    key: &str,
    name: &str,
    ttl: Duration,
) -> Result<Option<LeaseId>, StoreError> {
    let lease = store.grant(ttl).await?;
    let value = Bytes::copy_from_slice(name.as_bytes());
    let txn = Txn {
        compares: vec![Compare::Absent(key.to_owned())],
        success: vec![Op::Put { key: key.to_owned(), value, lease: Some(lease) }],
        failure: Vec::new(),
    };
    let outcome = store.txn(txn).await;
    if outcome.as_ref().is_ok_and(|outcome| outcome.succeeded) {
        return Ok(Some(lease));
    }
    // Also after an unknown outcome: leadership that this process does not know of must not last.
    let _ = store.revoke(lease).await;
    outcome.map(|_| None)
}
