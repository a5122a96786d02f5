//! Leases that hide messages. One serves for all that are hidden for the same time within a moment,
//! since each costs a write of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roverline_protocol::limits;
use rustix::time::{ClockId, clock_gettime};

use crate::store::{LeaseId, Store, StoreError};

/// Leases that are kept to be used again.
const KEPT: usize = 64;

/// A lease that lasts for a time, and some longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasting {
    pub(super) id: LeaseId,
    granted_ms: u64,
    lasts_ms: u64,
    slack_ms: u64,
}

pub(super) struct Leases {
    store: Arc<dyn Store>,
    kept: Mutex<HashMap<u64, Lasting>>,
}

impl Leases {
    pub(super) fn new(store: Arc<dyn Store>) -> Leases {
        Leases { store, kept: Mutex::default() }
    }

    /// A lease that lives for this long at least, if it is used at once.
    pub(super) async fn lasting(&self, time: Duration) -> Result<Lasting, StoreError> {
        let lasts_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if !(limits::LEASE_MIN_MS..=limits::LEASE_MAX_MS).contains(&lasts_ms) {
            return Err(StoreError::Ttl);
        }
        let now_ms = boot_ms();
        let known = self.kept().get(&lasts_ms).copied();
        if let Some(known) = known
            && now_ms.saturating_sub(known.granted_ms) < known.slack_ms / 2
        {
            return Ok(known);
        }
        let (least, most) = limits::QUEUE_SLACK_MS;
        let slack_ms = (lasts_ms / 10).clamp(least, most).min(limits::LEASE_MAX_MS - lasts_ms);
        let id = self.store.grant(Duration::from_millis(lasts_ms + slack_ms)).await?;
        let lasting = Lasting { id, granted_ms: now_ms, lasts_ms, slack_ms };
        let mut kept = self.kept();
        kept.retain(|_, known| now_ms.saturating_sub(known.granted_ms) < known.slack_ms / 2);
        if kept.len() < KEPT {
            kept.insert(lasts_ms, lasting);
        }
        Ok(lasting)
    }

    /// After it was used: it lives for its whole time from now on, or has ended meanwhile.
    pub(super) async fn confirm(&self, lease: &Lasting) -> Result<(), StoreError> {
        if boot_ms().saturating_sub(lease.granted_ms) <= lease.slack_ms {
            return Ok(());
        }
        self.forget(lease);
        self.store.keep_alive(lease.id).await
    }

    /// Not to be used again.
    pub(super) fn forget(&self, lease: &Lasting) {
        self.kept().retain(|_, known| known.id != lease.id);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Lasting>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lasting {
    /// For how long what it hides is hidden.
    pub(super) fn time_ms(&self) -> u64 {
        self.lasts_ms
    }
}

/// Time since the computer started, its sleep included, as the store's.
fn boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let ms = now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000);
    u64::try_from(ms).unwrap_or(0)
}
