//! What holds a team of operators together: locks, queues, shared values and the event log. All of it
//! is written once, over one narrow store.

pub mod events;
pub mod kv;
pub mod lifecycle;
pub mod locks;
pub mod queues;
pub mod recorder;
pub mod store;

use std::path::Path;
use std::sync::Arc;

use crate::events::{Events, Identity};
use crate::kv::{Cache, Kv};
use crate::lifecycle::Lifecycle;
use crate::locks::Locks;
use crate::queues::Queues;
use crate::store::{Nowhere, Store};

/// Everything that a team shares, as one process sees it.
pub struct Coordination {
    /// What carries it.
    pub store: Arc<dyn Store>,
    /// Who may use what.
    pub locks: Locks,
    /// Work that waits to be done.
    pub queues: Queues,
    /// Values that are shared, with what this process remembers of them.
    pub kv: Cache,
    /// What happened.
    pub events: Events,
    /// How robots and endpoints are.
    pub lifecycle: Lifecycle,
}

impl Coordination {
    /// Over this store, as this node.
    pub fn over(store: Arc<dyn Store>, identity: Identity) -> Coordination {
        Coordination {
            locks: Locks::new(store.clone()),
            queues: Queues::new(store.clone()),
            kv: Cache::new(Kv::new(store.clone())),
            events: Events::new(store.clone(), identity),
            lifecycle: Lifecycle::new(store.clone()),
            store,
        }
    }

    /// Nothing is shared here, for this reason.
    pub fn nowhere(why: &str) -> Coordination {
        Coordination::over(Arc::new(Nowhere(why.to_owned())), Identity::default())
    }

    /// Over the store of this name (see [`store::open`]); one of this computer lies in `directory`.
    pub fn open(name: &str, directory: &Path, identity: Identity) -> Result<Coordination, String> {
        Ok(Coordination::over(store::open(name, directory)?, identity))
    }
}
