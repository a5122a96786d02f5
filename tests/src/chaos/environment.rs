//! The store of a run: a fresh directory, a named store, or an own cluster of etcd.

use clap::Args;

use crate::etcd::Cluster;
use crate::temp::{self, TempDir};

/// Which store to use.
#[derive(Clone, Debug, Default, Args)]
pub struct StoreArgs {
    /// The store; a fresh directory when none is given
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// Over a cluster of its own: three nodes of etcd on loopback
    #[arg(long, conflicts_with = "store")]
    pub etcd: bool,
}

/// A run's store; its directory and its cluster are removed when this is dropped.
pub(crate) struct Environment {
    /// The store's name, for [`super::store_clients::open`].
    pub(crate) store: String,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) folder: TempDir,
}

impl StoreArgs {
    /// Prepares the store; an error has the reason why that is impossible here.
    pub(crate) fn prepare(&self) -> Result<Environment, String> {
        let folder = temp::dir();
        let cluster = match self.etcd {
            false => None,
            true => Some(Cluster::start().map_err(|missing| {
                missing.assert_optional();
                missing.to_string()
            })?),
        };
        let own = || folder.path().join("store").display().to_string();
        let store = match &cluster {
            Some(cluster) => cluster.store(),
            None => self.store.clone().unwrap_or_else(own),
        };
        Ok(Environment { store, cluster, folder })
    }
}
