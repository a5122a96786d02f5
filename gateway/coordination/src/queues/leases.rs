//! Shared leases that hide messages: one lease serves all messages hidden for the same duration at
//! about the same time, since each lease costs a write.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::boot_clock;
use crate::limits;
use crate::store::{LeaseId, Store, StoreError, lease_ttl_ms};

/// How far a visibility timeout may exceed the requested one: several messages share a lease.
const QUEUE_SLACK_MS: (u64, u64) = (100, 5_000);

/// The most leases kept for reuse.
const MAX_REUSABLE: usize = 64;

/// A lease that lasts for a duration plus some slack, so that it can be shared.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedLease {
    pub(super) id: LeaseId,
    granted_ms: u64,
    duration_ms: u64,
    slack_ms: u64,
}

pub(super) struct LeasePool {
    store: Arc<dyn Store>,
    reusable: Mutex<HashMap<u64, SharedLease>>,
}

impl LeasePool {
    pub(super) fn new(store: Arc<dyn Store>) -> LeasePool {
        LeasePool { store, reusable: Mutex::default() }
    }

    /// A lease that lives for at least this duration, if it is used at once.
    pub(super) async fn acquire(&self, time: Duration) -> Result<SharedLease, StoreError> {
        let duration_ms = lease_ttl_ms(time)?;
        let now_ms = now_ms();
        let known = self.reusable.lock().get(&duration_ms).copied();
        if let Some(known) = known
            && now_ms.saturating_sub(known.granted_ms) < known.slack_ms / 2
        {
            return Ok(known);
        }
        let (min, max) = QUEUE_SLACK_MS;
        let slack_ms = (duration_ms / 10).clamp(min, max).min(limits::LEASE_MAX_MS - duration_ms);
        let id = self.store.grant(Duration::from_millis(duration_ms + slack_ms)).await?;
        let lease = SharedLease { id, granted_ms: now_ms, duration_ms, slack_ms };
        let mut reusable = self.reusable.lock();
        reusable.retain(|_, known| now_ms.saturating_sub(known.granted_ms) < known.slack_ms / 2);
        if reusable.len() < MAX_REUSABLE {
            reusable.insert(duration_ms, lease);
        }
        Ok(lease)
    }

    /// To be called after use: fails if the lease may have ended meanwhile, and renews it if its slack
    /// is used up.
    pub(super) async fn confirm(&self, lease: &SharedLease) -> Result<(), StoreError> {
        if now_ms().saturating_sub(lease.granted_ms) <= lease.slack_ms {
            return Ok(());
        }
        self.forget(lease);
        self.store.keep_alive(lease.id).await
    }

    /// Removes a lease from reuse.
    pub(super) fn forget(&self, lease: &SharedLease) {
        self.reusable.lock().retain(|_, known| known.id != lease.id);
    }
}

impl SharedLease {
    /// The requested duration, in milliseconds.
    pub(super) fn duration_ms(&self) -> u64 {
        self.duration_ms
    }
}

/// Milliseconds on the boot clock, like the leases of the store.
fn now_ms() -> u64 {
    u64::try_from(boot_clock::now().as_millis()).unwrap_or(u64::MAX)
}
