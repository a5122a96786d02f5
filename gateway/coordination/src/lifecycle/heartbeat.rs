//! Who speaks for robots and endpoints: keys that go with the speaker's lease. To speak on writes
//! nothing but the lease's end.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;

use crate::lifecycle::record::{Name, check_word};
use crate::lifecycle::{Lifecycle, LifecycleError};
use crate::store::{LeaseId, Op, StoreError, Txn};

/// One process that says of some robots and endpoints that they are there. When it is not heard of any
/// more, it says it of none.
pub struct Speaker {
    lifecycle: Lifecycle,
    name: String,
    ttl: Duration,
    lease: Option<LeaseId>,
    said: BTreeSet<Name>,
}

impl Lifecycle {
    /// Somebody who speaks, and is missed after `ttl`. No two have the same name.
    pub fn speaker(&self, name: &str, ttl: Duration) -> Result<Speaker, LifecycleError> {
        check_word(name)?;
        let (lifecycle, name) = (self.clone(), name.to_owned());
        Ok(Speaker { lifecycle, name, ttl, lease: None, said: BTreeSet::new() })
    }
}

impl Speaker {
    /// Says that these are there, and that no others are that it said it of before. To be said anew well
    /// before the time to live is over.
    pub async fn speak(&mut self, of: &BTreeSet<Name>) -> Result<(), LifecycleError> {
        for name in of {
            name.check()?;
        }
        if let Some(lease) = self.lease {
            match self.lifecycle.store.keep_alive(lease).await {
                Ok(()) => {}
                Err(StoreError::LeaseEnded) => self.forget(),
                Err(error) => return Err(error.into()),
            }
        }
        if *of != self.said {
            match self.write(of).await {
                Err(LifecycleError::Store(StoreError::LeaseEnded)) => {
                    self.forget();
                    self.write(of).await?;
                }
                other => other?,
            }
        }
        self.lifecycle.heard(of);
        Ok(())
    }

    /// Falls silent: it says nothing of any.
    pub async fn fall_silent(&mut self) {
        if let Some(lease) = self.lease {
            // It would end by itself, later.
            let _ = self.lifecycle.store.revoke(lease).await;
        }
        self.forget();
    }

    async fn write(&mut self, of: &BTreeSet<Name>) -> Result<(), LifecycleError> {
        let lease = match self.lease {
            Some(lease) => lease,
            None => self.lifecycle.store.grant(self.ttl).await?,
        };
        self.lease = Some(lease);
        let value = serde_json::json!({ "by": self.name, "ttl_ms": self.ttl.as_millis() as u64 });
        let value = Bytes::from(value.to_string());
        let put =
            |name: &Name| Op::Put { key: name.beat(&self.name), value: value.clone(), lease: Some(lease) };
        let puts = of.difference(&self.said).map(put);
        let ends = self.said.difference(of).map(|name| Op::Delete(name.beat(&self.name)));
        let ops: Vec<Op> = puts.chain(ends).collect();
        // To say something twice does no harm, so it is done anew where it is not known.
        for part in ops.chunks(limits::STORE_TXN_ELEMENTS) {
            let txn = Txn { success: part.to_vec(), ..Txn::default() };
            if let Err(error) = self.lifecycle.store.txn(txn).await {
                if matches!(error, StoreError::Unknown(_)) {
                    self.fall_silent().await;
                }
                return Err(error.into());
            }
        }
        self.said.clone_from(of);
        Ok(())
    }

    fn forget(&mut self) {
        self.lease = None;
        self.said.clear();
    }
}
