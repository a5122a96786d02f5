//! Against three nodes of etcd: what every store must do, and what they do when nodes fail.

mod entrance;
mod faults;
mod partition;
mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use self::rig::Nodes;
use super::super::{Store, tests as conformance};
use crate::locks;

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_over_two_members_and_so_do_the_locks() {
    let Some(nodes) = Nodes::start("suite").await else { return };
    let (one, other) = (nodes.client(&[0], "suite"), nodes.client(&[1, 2], "suite"));
    conformance::suite(&one, &other).await;
    let next = AtomicU32::new(0);
    let empty = || -> Arc<dyn Store> {
        let prefix = format!("locks{}", next.fetch_add(1, Ordering::Relaxed));
        Arc::new(nodes.client(&[0, 1, 2], &prefix))
    };
    locks::tests::suite(&empty).await;
}
