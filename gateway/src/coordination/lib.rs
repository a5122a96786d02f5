//! What holds a team of operators together: locks, queues, shared values and the event log. All of it
//! is written once, over one narrow store.

pub mod lifecycle;
pub mod locks;
pub mod store;

use std::path::Path;
use std::sync::Arc;

use self::lifecycle::Lifecycle;
use self::locks::Locks;
use self::store::{Nowhere, SqliteStore, Store};

/// Everything that a team shares, as one process sees it.
pub struct Coordination {
    /// What carries it.
    pub store: Arc<dyn Store>,
    /// Who may use what.
    pub locks: Locks,
    /// How robots and endpoints are.
    pub lifecycle: Lifecycle,
}

impl Coordination {
    /// Over this store.
    pub fn over(store: Arc<dyn Store>) -> Coordination {
        Coordination { locks: Locks::new(store.clone()), lifecycle: Lifecycle::new(store.clone()), store }
    }

    /// Nothing is shared here, for this reason.
    pub fn nowhere(why: &str) -> Coordination {
        Coordination::over(Arc::new(Nowhere(why.to_owned())))
    }

    /// Over the store of this computer, in this directory.
    pub fn on_disk(directory: &Path) -> Coordination {
        Coordination::over(Arc::new(SqliteStore::open(directory)))
    }
}
