//! Heartbeats of robots and endpoints: keys that expire with the sender's lease. A heartbeat only
//! renews the lease.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::lifecycle::record::{EntityId, check_name};
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::limits;
use crate::store::{LeaseId, Op, StoreError, Txn};

/// Sends heartbeats for a set of entities; when the process dies, all of them expire together.
pub struct HeartbeatSender {
    lifecycle: Lifecycle,
    name: String,
    ttl: Duration,
    lease: Option<LeaseId>,
    entities: BTreeSet<EntityId>,
}

impl Lifecycle {
    /// Creates a sender whose heartbeats expire after `ttl`. Names of senders are unique.
    pub fn heartbeat_sender(&self, name: &str, ttl: Duration) -> Result<HeartbeatSender, LifecycleError> {
        check_name(name)?;
        let (lifecycle, name) = (self.clone(), name.to_owned());
        Ok(HeartbeatSender { lifecycle, name, ttl, lease: None, entities: BTreeSet::new() })
    }
}

impl HeartbeatSender {
    /// Sends a heartbeat for exactly these entities; previous ones that are not listed end. Must be
    /// repeated well within the time to live.
    pub async fn beat(&mut self, of: &BTreeSet<EntityId>) -> Result<(), LifecycleError> {
        for entity in of {
            entity.check()?;
        }
        if let Some(lease) = self.lease {
            match self.lifecycle.store.keep_alive(lease).await {
                Ok(()) => {}
                Err(StoreError::LeaseEnded) => self.forget(),
                Err(error) => return Err(error.into()),
            }
        }
        if *of != self.entities {
            match self.write(of).await {
                Err(LifecycleError::Store(StoreError::LeaseEnded)) => {
                    self.forget();
                    self.write(of).await?;
                }
                other => other?,
            }
        }
        self.lifecycle.record_beats(of);
        Ok(())
    }

    /// Ends all heartbeats of this sender.
    pub async fn stop(&mut self) {
        if let Some(lease) = self.lease {
            // Otherwise the lease expires by itself, later.
            let _ = self.lifecycle.store.revoke(lease).await;
        }
        self.forget();
    }

    async fn write(&mut self, of: &BTreeSet<EntityId>) -> Result<(), LifecycleError> {
        let lease = match self.lease {
            Some(lease) => lease,
            None => self.lifecycle.store.grant(self.ttl).await?,
        };
        self.lease = Some(lease);
        let value = serde_json::json!({ "by": self.name, "ttl_ms": self.ttl.as_millis() as u64 });
        let value = Bytes::from(value.to_string());
        let put = |entity: &EntityId| Op::Put {
            key: entity.heartbeat_key(&self.name),
            value: value.clone(),
            lease: Some(lease),
        };
        let puts = of.difference(&self.entities).map(put);
        let ends = self.entities.difference(of).map(|entity| Op::Delete(entity.heartbeat_key(&self.name)));
        let ops: Vec<Op> = puts.chain(ends).collect();
        // Writing twice does no harm, so an unknown outcome starts over.
        for part in ops.chunks(limits::STORE_TXN_ELEMENTS) {
            let txn = Txn { success: part.to_vec(), ..Txn::default() };
            if let Err(error) = self.lifecycle.store.txn(txn).await {
                if matches!(error, StoreError::Unknown(_)) {
                    self.stop().await;
                }
                return Err(error.into());
            }
        }
        self.entities.clone_from(of);
        Ok(())
    }

    fn forget(&mut self) {
        self.lease = None;
        self.entities.clear();
    }
}
