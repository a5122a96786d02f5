//! What a run stands on: a fresh directory, a store that was named, or a cluster of its own.

use clap::Args;

use crate::etcd::Cluster;
use crate::scratch::Scratch;

/// Which of them.
#[derive(Clone, Debug, Default, Args)]
pub struct Where {
    /// The store; a fresh directory when none is given
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// Over a cluster of its own: three nodes of etcd on loopback
    #[arg(long, conflicts_with = "store")]
    pub etcd: bool,
}

/// It is there until this is dropped.
pub(crate) struct Ground {
    /// As a process is told where it is.
    pub(crate) store: String,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) folder: Scratch,
}

impl Where {
    /// Made; or why it cannot be made here.
    pub(crate) fn ground(&self) -> Result<Ground, String> {
        let folder = Scratch::new();
        let cluster = match self.etcd {
            false => None,
            true => Some(Cluster::start().ok_or("there is no etcd: run scripts/setup-clients")?),
        };
        let own = || folder.path().join("store").display().to_string();
        let store = match &cluster {
            Some(cluster) => cluster.store(),
            None => self.store.clone().unwrap_or_else(own),
        };
        Ok(Ground { store, cluster, folder })
    }
}
