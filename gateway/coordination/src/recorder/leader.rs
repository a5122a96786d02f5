//! Who records: one process, until its lease ends.

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;

use crate::events::EventError;
use crate::recorder::LEADER;
use crate::store::{Compare, LeaseId, Op, Range, Store, StoreError, Txn};

/// Waits until nobody else records, and takes it.
pub(super) async fn lead(store: &dyn Store, node: &str) -> Result<LeaseId, StoreError> {
    loop {
        let range = Range { prefix: LEADER.to_owned(), limit: 1, ..Range::default() };
        let page = store.range(range).await?;
        if !page.entries.is_empty() {
            // Gone, or nothing seen for a while: it is looked at again in any case.
            let mut watch = store.watch(LEADER.to_owned(), page.revision.next()).await?;
            let patience = Duration::from_millis(limits::RECORDER_LEASE_MS);
            let _ = tokio::time::timeout(patience, watch.next()).await;
            continue;
        }
        let lease = store.grant(Duration::from_millis(limits::RECORDER_LEASE_MS)).await?;
        let value = Bytes::copy_from_slice(node.as_bytes());
        let take = Txn {
            compares: vec![Compare::Absent(LEADER.to_owned())],
            success: vec![Op::Put { key: LEADER.to_owned(), value, lease: Some(lease) }],
            failure: Vec::new(),
        };
        let taken = store.txn(take).await;
        if taken.as_ref().is_ok_and(|taken| taken.succeeded) {
            return Ok(lease);
        }
        // It would end by itself, later.
        let _ = store.revoke(lease).await;
        taken?;
    }
}

/// Keeps the lease; says why it could not any more.
pub(super) async fn stay(store: &dyn Store, lease: LeaseId) -> EventError {
    let mut beat = tokio::time::interval(Duration::from_millis(limits::RECORDER_LEASE_MS / 4));
    beat.reset();
    loop {
        beat.tick().await;
        match store.keep_alive(lease).await {
            Ok(()) | Err(StoreError::Busy) => {}
            Err(error) => return error.into(),
        }
    }
}
