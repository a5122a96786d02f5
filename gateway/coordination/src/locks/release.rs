//! Keeps a lock alive, releases it, forces its release, and checks fencing tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::{Client, key_suffix};
use crate::json;
use crate::limits;
use crate::locks::queue::{Waiter, holders, own_entry, status};
use crate::locks::{FORCED_PREFIX, FencingToken, LockError, LockStatus, Locks, check_name, not_held};
use crate::store::scan::get;
use crate::store::{Compare, Op, StoreError, Txn};

/// How long a client can learn who released its lock, and why.
const LOCK_FORCED_KEPT_MS: u64 = 600_000;

/// The stored value of a forced release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ForcedRelease {
    /// The identity that released it.
    by: String,
    /// The unverified name that the client declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// The identity that held or awaited it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    reason: String,
    token: FencingToken,
}

pub(super) fn forced_key(resource: &str, client: Client<'_>) -> String {
    format!("{FORCED_PREFIX}{resource}/{}{}", client.name, key_suffix(client.identity))
}

impl Locks {
    /// Whether the client holds the lock, or its queue position.
    pub async fn status<'a>(
        &self,
        resource: &str,
        client: impl Into<Client<'a>>,
    ) -> Result<LockStatus, LockError> {
        let (client, queue) = (client.into(), self.entries_for(resource).await?);
        let waiters: Vec<&Waiter> = queue.iter().collect();
        match own_entry(&waiters, client) {
            Some(own) => Ok(status(&waiters, own)),
            None => Err(self.rejection_reason(resource, client, &queue).await),
        }
    }

    /// Renews the lease of a lock or a request for its whole time to live.
    pub async fn keep_alive<'a>(
        &self,
        resource: &str,
        client: impl Into<Client<'a>>,
    ) -> Result<(), LockError> {
        let client = client.into();
        let own = self.own_entry(resource, client).await?;
        match self.store.keep_alive(own.record.lease).await {
            Err(StoreError::LeaseEnded) => Err(not_held(resource, client)),
            other => Ok(other?),
        }
    }

    /// Releases a lock once, or withdraws a request. Returns the remaining hold count.
    pub async fn release<'a>(&self, resource: &str, client: impl Into<Client<'a>>) -> Result<u32, LockError> {
        let client = client.into();
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

    /// Removes a client's lock regardless of its hold count, and records the actor and the reason. The client
    /// learns it at its next call. Of several identities' clients with this name, the first in the queue is meant
    /// unless `client` has an identity. Authorization is up to the caller.
    pub async fn force_release<'a>(
        &self,
        resource: &str,
        client: impl Into<Client<'a>>,
        by: impl Into<Client<'a>>,
        reason: &str,
    ) -> Result<(), LockError> {
        if !(1..=limits::LOCK_REASON_CHARS).contains(&reason.chars().count()) {
            return Err(LockError::InvalidReason);
        }
        let (client, by) = (client.into(), by.into());
        check_name(resource)?;
        check_name(client.name)?;
        let queue = self.entries_for(resource).await?;
        let is_meant = |waiter: &&Waiter| {
            let Client { identity, name } = waiter.client();
            name == client.name && (client.identity.is_none() || identity == client.identity)
        };
        let Some(own) = queue.iter().find(is_meant) else {
            return Err(self.rejection_reason(resource, client, &[]).await);
        };
        let bounded = |text: &str| text.chars().take(limits::LOCK_REASON_CHARS).collect::<String>();
        let forced = ForcedRelease {
            by: bounded(by.label()),
            client: by.identity.and(Some(by.name)).filter(|name| !name.is_empty()).map(bounded),
            from: own.client.identity.clone(),
            reason: reason.to_owned(),
            token: own.token(),
        };
        let kept = Duration::from_millis(LOCK_FORCED_KEPT_MS);
        let value = json::encode(&forced);
        let note = self.store.grant(kept).await?;
        let txn = Txn {
            compares: vec![Compare::Created(own.key.clone(), own.created)],
            success: vec![
                Op::Delete(own.key.clone()),
                Op::Put { key: forced_key(resource, own.client()), value, lease: Some(note) },
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

    /// The error for a client without an entry in this queue: forcibly released, another identity's, or not
    /// held.
    pub(super) async fn rejection_reason(
        &self,
        resource: &str,
        client: Client<'_>,
        queue: &[Waiter],
    ) -> LockError {
        // An earlier version recorded it without the identity.
        let unknown = Client { identity: None, ..client };
        for owner in [Some(client).filter(|client| *client != unknown), Some(unknown)].into_iter().flatten() {
            let entry = match get(&*self.store, &forced_key(resource, owner), None).await {
                Ok((entry, _)) => entry,
                Err(error) => return error.into(),
            };
            let forced = entry.and_then(|entry| serde_json::from_slice::<ForcedRelease>(&entry.value).ok());
            if let Some(ForcedRelease { by, client: forcer, reason, .. }) = forced {
                let by = match forcer.filter(|forcer| *forcer != by) {
                    Some(forcer) => format!("{by} ({forcer})"),
                    None => by,
                };
                let (resource, client) = (resource.to_owned(), client.name.to_owned());
                return LockError::Taken { resource, client, by, reason };
            }
        }
        let other = queue.iter().find(|waiter| waiter.client.name == client.name);
        match other.and_then(|other| other.client.identity.clone()) {
            None => not_held(resource, client),
            Some(owner) => {
                LockError::NotOwner { resource: resource.to_owned(), client: client.name.to_owned(), owner }
            }
        }
    }
}
