//! A cluster of three etcd nodes for tests, of which only a few run at once.

use std::io::Write;
use std::ops::{Deref, DerefMut};

use roverline_test_support::etcd::{Cluster, leader_of};
use roverline_test_support::skip::Missing;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use crate::store::etcd::EtcdStore;

pub(super) use roverline_test_support::etcd::PATIENCE;

/// Clusters that run at once: most tests spend most of their time waiting.
const CLUSTERS: u32 = 3;
static PERMITS: Semaphore = Semaphore::const_new(CLUSTERS as usize);

/// Waits until one more cluster may run.
pub(super) async fn permit() -> SemaphorePermit<'static> {
    PERMITS.acquire().await.unwrap()
}

/// Writes a line to standard error, past the test runner, which would capture it.
pub(super) fn print(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// A running cluster and its permit.
pub(super) struct Nodes {
    cluster: Cluster,
    _permit: SemaphorePermit<'static>,
}

impl Nodes {
    /// Starts the nodes and waits until they have a leader.
    pub(super) async fn start() -> Result<Nodes, Missing> {
        Nodes::start_with(1, Cluster::start).await
    }

    /// Starts the nodes while no other cluster runs: for measurements.
    pub(super) async fn start_alone() -> Result<Nodes, Missing> {
        Nodes::start_with(CLUSTERS, Cluster::start).await
    }

    /// Starts each node in a network namespace of its own, see [`Cluster::start_in_namespaces`].
    pub(super) async fn start_in_namespaces() -> Result<Nodes, Missing> {
        Nodes::start_with(1, Cluster::start_in_namespaces).await
    }

    async fn start_with(
        permits: u32,
        start: impl FnOnce() -> Result<Cluster, Missing> + Send + 'static,
    ) -> Result<Nodes, Missing> {
        let permit = PERMITS.acquire_many(permits).await.unwrap();
        let cluster = spawn_blocking(start).await.unwrap()?;
        Ok(Nodes { cluster, _permit: permit })
    }

    /// A client of these nodes.
    pub(super) fn client(&self, nodes: &[usize], prefix: &str) -> EtcdStore {
        EtcdStore::open(&format!("etcd://{}/{prefix}", self.members(nodes))).unwrap()
    }

    /// The leader, once every running node follows it.
    pub(super) async fn leader(&self) -> usize {
        let running = self.running();
        spawn_blocking(move || leader_of(&running)).await.unwrap()
    }
}

impl Deref for Nodes {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for Nodes {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}
