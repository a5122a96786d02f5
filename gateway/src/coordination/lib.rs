//! What holds a team of operators together: locks, queues, shared values and the event log. All of it
//! is written once, over one narrow store.

pub mod locks;
pub mod store;

use std::path::Path;
use std::sync::Arc;

use self::locks::Locks;
use self::store::{Nowhere, Store};

/// Everything that a team shares, as one process sees it.
pub struct Coordination {
    /// What carries it.
    pub store: Arc<dyn Store>,
    /// Who may use what.
    pub locks: Locks,
}

impl Coordination {
    /// Over this store.
    pub fn over(store: Arc<dyn Store>) -> Coordination {
        Coordination { locks: Locks::new(store.clone()), store }
    }

    /// Nothing is shared here, for this reason.
    pub fn nowhere(why: &str) -> Coordination {
        Coordination::over(Arc::new(Nowhere(why.to_owned())))
    }

    /// Over the store of this name (see [`store::open`]); one of this computer lies in `directory`.
    pub fn open(name: &str, directory: &Path) -> Result<Coordination, String> {
        Ok(Coordination::over(store::open(name, directory)?))
    }
}
