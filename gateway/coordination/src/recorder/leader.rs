//! Leader election of the recorder: one process records until its lease ends.

use std::time::Duration;

use crate::events::EventError;
use crate::recorder::LEADER_KEY;
use crate::store::election::try_acquire;
use crate::store::scan::get;
use crate::store::{LeaseId, Store, StoreError};

/// Lease of the recording process, after which it is replaced.
const RECORDER_LEASE_MS: u64 = 4_000;

/// Waits until no other process records, then takes the lease.
pub(super) async fn acquire(store: &dyn Store, node: &str) -> Result<LeaseId, StoreError> {
    loop {
        let (leader, at) = get(store, LEADER_KEY, None).await?;
        if leader.is_some() {
            // Wait for a change, and check again after a lease's time in any case.
            let mut watch = store.watch(LEADER_KEY.to_owned(), at.next()).await?;
            let timeout = Duration::from_millis(RECORDER_LEASE_MS);
            let _ = tokio::time::timeout(timeout, watch.next()).await;
            continue;
        }
        let ttl = Duration::from_millis(RECORDER_LEASE_MS);
        if let Some(lease) = try_acquire(store, LEADER_KEY, node, ttl).await? {
            return Ok(lease);
        }
    }
}

/// Renews the lease; returns the error that ended it.
pub(super) async fn renew(store: &dyn Store, lease: LeaseId) -> EventError {
    let mut beat = tokio::time::interval(Duration::from_millis(RECORDER_LEASE_MS / 4));
    beat.reset();
    loop {
        beat.tick().await;
        match store.keep_alive(lease).await {
            Ok(()) | Err(StoreError::Busy) => {}
            Err(error) => return error.into(),
        }
    }
}
