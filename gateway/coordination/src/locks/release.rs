//! Keeps a lock alive, releases it, forces its release, and checks fencing tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::json;
use crate::limits;
use crate::locks::queue::{Waiter, holders, status};
use crate::locks::{FORCED_PREFIX, FencingToken, LockError, LockStatus, Locks, not_held};
use crate::store::scan::get;
use crate::store::{Compare, Op, StoreError, Txn};

/// How long a client can learn who released its lock, and why.
const LOCK_FORCED_KEPT_MS: u64 = 600_000;

/// The stored value of a forced release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ForcedRelease {
    by: String,
    reason: String,
    token: FencingToken,
}

pub(super) fn forced_key(resource: &str, client: &str) -> String {
    format!("{FORCED_PREFIX}{resource}/{client}")
}

impl Locks {
    /// Whether the client holds the lock, or its queue position.
    pub async fn status(&self, resource: &str, client: &str) -> Result<LockStatus, LockError> {
        let queue = self.entries_for(resource).await?;
        let queue: Vec<&Waiter> = queue.iter().collect();
        match queue.iter().find(|waiter| waiter.client == client) {
            Some(own) => Ok(status(&queue, own)),
            None => Err(self.rejection_reason(resource, client).await),
        }
    }

    /// Renews the lease of a lock or a request for its whole time to live.
    pub async fn keep_alive(&self, resource: &str, client: &str) -> Result<(), LockError> {
        let own = self.own_entry(resource, client).await?;
        match self.store.keep_alive(own.record.lease).await {
            Err(StoreError::LeaseEnded) => Err(not_held(resource, client)),
            other => Ok(other?),
        }
    }

    /// Releases a lock once, or withdraws a request. Returns the remaining hold count.
    pub async fn release(&self, resource: &str, client: &str) -> Result<u32, LockError> {
        loop {
            let own = self.own_entry(resource, client).await?;
            if own.record.held > 1 {
                let left = own.record.held - 1;
                if self.replace(&own, left).await? {
                    return Ok(left);
                }
                continue;
            }
            return match self.store.revoke(own.record.lease).await {
                Err(StoreError::LeaseEnded) => Err(not_held(resource, client)),
                other => Ok(other.map(|()| 0)?),
            };
        }
    }

    /// Removes a client's lock whatever its hold count, and records by whom and why; the client learns
    /// it at its next call. Authorization is up to the caller.
    pub async fn force_release(
        &self,
        resource: &str,
        client: &str,
        by: &str,
        reason: &str,
    ) -> Result<(), LockError> {
        if !(1..=limits::LOCK_REASON_CHARS).contains(&reason.chars().count()) {
            return Err(LockError::InvalidReason);
        }
        let by = by.chars().take(limits::LOCK_REASON_CHARS).collect();
        let kept = Duration::from_millis(LOCK_FORCED_KEPT_MS);
        let own = self.own_entry(resource, client).await?;
        let forced = ForcedRelease { by, reason: reason.to_owned(), token: own.token() };
        let value = json::encode(&forced);
        let note = self.store.grant(kept).await?;
        let txn = Txn {
            compares: vec![Compare::Created(own.key.clone(), own.created)],
            success: vec![
                Op::Delete(own.key.clone()),
                Op::Put { key: forced_key(resource, client), value, lease: Some(note) },
            ],
            failure: Vec::new(),
        };
        if !self.store.txn(txn).await?.succeeded {
            // The entry is gone already.
            let _ = self.store.revoke(note).await;
            return Err(not_held(resource, client));
        }
        // No key depends on it any more; it would expire by itself.
        let _ = self.store.revoke(own.record.lease).await;
        Ok(())
    }

    /// Checks that the token belongs to a current holder. The protected resource calls this before it
    /// acts.
    pub async fn check(&self, resource: &str, token: FencingToken) -> Result<(), LockError> {
        let queue = self.entries_for(resource).await?;
        let queue: Vec<&Waiter> = queue.iter().collect();
        match holders(&queue).iter().any(|holder| holder.token() == token) {
            true => Ok(()),
            false => Err(LockError::Stale { resource: resource.to_owned(), given: token.0 }),
        }
    }

    /// The error for a client without an entry: forcibly released, or not held.
    pub(super) async fn rejection_reason(&self, resource: &str, client: &str) -> LockError {
        let entry = match get(&*self.store, &forced_key(resource, client), None).await {
            Ok((entry, _)) => entry,
            Err(error) => return error.into(),
        };
        match entry.and_then(|entry| serde_json::from_slice::<ForcedRelease>(&entry.value).ok()) {
            None => not_held(resource, client),
            Some(ForcedRelease { by, reason, .. }) => {
                LockError::Taken { resource: resource.to_owned(), client: client.to_owned(), by, reason }
            }
        }
    }
}
