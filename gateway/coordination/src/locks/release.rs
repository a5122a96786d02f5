//! Keeping a lock and giving it back, by will or by force.

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use serde::{Deserialize, Serialize};

use crate::locks::queue::{Contender, holders, standing};
use crate::locks::{FORCED, FencingToken, LockError, Locks, Standing, not_held};
use crate::store::{Compare, Op, Range, StoreError, Txn};

/// What the store keeps of a lock that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Forced {
    by: String,
    reason: String,
    token: FencingToken,
}

pub(super) fn forced_key(resource: &str, client: &str) -> String {
    format!("{FORCED}{resource}/{client}")
}

impl Locks {
    /// Whether the client holds the lock, or its place among those who wait.
    pub async fn standing(&self, resource: &str, client: &str) -> Result<Standing, LockError> {
        let here = self.here(resource).await?;
        let here: Vec<&Contender> = here.iter().collect();
        match here.iter().find(|one| one.client == client) {
            Some(own) => Ok(standing(&here, own)),
            None => Err(self.why_not(resource, client).await),
        }
    }

    /// The client is there: its lock or its place lives for a whole time to live from now on.
    pub async fn keep_alive(&self, resource: &str, client: &str) -> Result<(), LockError> {
        let own = self.own(resource, client).await?;
        match self.store.keep_alive(own.record.lease).await {
            Err(StoreError::LeaseEnded) => Err(not_held(resource, client)),
            other => Ok(other?),
        }
    }

    /// Gives a lock back, once; or gives up waiting. How often it is held still: 0 when it is not.
    pub async fn release(&self, resource: &str, client: &str) -> Result<u32, LockError> {
        loop {
            let own = self.own(resource, client).await?;
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

    /// Takes a lock from whoever has it, however often, and says by whom and why: the client learns it
    /// when it calls next. Whether one may is for the caller to say.
    pub async fn force_release(
        &self,
        resource: &str,
        client: &str,
        by: &str,
        reason: &str,
    ) -> Result<(), LockError> {
        if !(1..=limits::LOCK_REASON_CHARS).contains(&reason.chars().count()) {
            return Err(LockError::Reason);
        }
        let by = by.chars().take(limits::LOCK_REASON_CHARS).collect();
        let kept = Duration::from_millis(limits::LOCK_FORCED_KEPT_MS);
        let own = self.own(resource, client).await?;
        let forced = Forced { by, reason: reason.to_owned(), token: own.token() };
        let value = Bytes::from(serde_json::to_vec(&forced).unwrap_or_default());
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
            // It is gone already.
            let _ = self.store.revoke(note).await;
            return Err(not_held(resource, client));
        }
        // Nothing hangs on it any more; it would end by itself.
        let _ = self.store.revoke(own.record.lease).await;
        Ok(())
    }

    /// Whether the token is that of one who holds the resource now: to be asked by whatever the lock
    /// protects, before it acts.
    pub async fn check(&self, resource: &str, token: FencingToken) -> Result<(), LockError> {
        let here = self.here(resource).await?;
        let here: Vec<&Contender> = here.iter().collect();
        match holders(&here).iter().any(|holder| holder.token() == token) {
            true => Ok(()),
            false => Err(LockError::Stale { resource: resource.to_owned(), given: token.0 }),
        }
    }

    /// Why a client does not have a lock that it thinks it has.
    pub(super) async fn why_not(&self, resource: &str, client: &str) -> LockError {
        let prefix = forced_key(resource, client);
        let page = self.store.range(Range { prefix: prefix.clone(), limit: 1, ..Range::default() }).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => return error.into(),
        };
        let entry = page.entries.first().filter(|entry| entry.key == prefix);
        match entry.and_then(|entry| serde_json::from_slice::<Forced>(&entry.value).ok()) {
            None => not_held(resource, client),
            Some(Forced { by, reason, .. }) => {
                LockError::Taken { resource: resource.to_owned(), client: client.to_owned(), by, reason }
            }
        }
    }
}
