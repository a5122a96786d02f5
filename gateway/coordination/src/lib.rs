//! Coordination of a team of operators: locks, queues, shared values, lifecycle and the event log.
//! Everything is implemented once, over one narrow store.

pub mod alarms;
mod boot_clock;
mod client;
mod event_source;
pub mod events;
mod json;
pub mod kv;
pub mod lifecycle;
mod limits;
pub mod locks;
mod name;
pub mod queues;
pub mod quota;
pub mod recorder;
pub mod store;
#[cfg(test)]
mod test_support;

use std::path::Path;
use std::sync::Arc;

use crate::alarms::Alarms;
pub use crate::client::Client;
use crate::events::{Events, NodeIdentity};
use crate::kv::{Cache, Kv};
use crate::lifecycle::Lifecycle;
use crate::locks::Locks;
use crate::queues::Queues;
use crate::store::{DisabledStore, Store, StoreNameError};

/// Everything that a team shares, as one process sees it.
pub struct Coordination {
    /// The store that everything is kept in.
    pub store: Arc<dyn Store>,
    /// Locks with fencing tokens.
    pub locks: Locks,
    /// Work queues.
    pub queues: Queues,
    /// Shared values, with this process's cache.
    pub kv: Cache,
    /// The records of alarms.
    pub alarms: Alarms,
    /// The event log.
    pub events: Events,
    /// The lifecycle of robots and endpoints.
    pub lifecycle: Lifecycle,
}

impl Coordination {
    /// Coordination over this store, as this node.
    pub fn with_store(store: Arc<dyn Store>, identity: NodeIdentity) -> Coordination {
        Coordination {
            locks: Locks::new(store.clone()),
            queues: Queues::new(store.clone()),
            kv: Cache::new(Kv::new(store.clone())),
            alarms: Alarms::new(store.clone()),
            events: Events::new(store.clone(), identity),
            lifecycle: Lifecycle::new(store.clone()),
            store,
        }
    }

    /// Coordination without a store: every operation is refused with this reason.
    pub fn disabled(why: &str) -> Coordination {
        Coordination::with_store(Arc::new(DisabledStore(why.to_owned())), NodeIdentity::default())
    }

    /// Coordination over the store with this name (see [`store::open`]); SQLite keeps its file in
    /// `directory`.
    pub fn open(
        name: &str,
        directory: &Path,
        identity: NodeIdentity,
    ) -> Result<Coordination, StoreNameError> {
        Ok(Coordination::with_store(store::open(name, directory)?, identity))
    }
}
