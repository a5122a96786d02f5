//! A leader that is cut off from the other nodes, but not from its clients, in network namespaces that the
//! test creates.

use std::process::Command;
use std::time::Instant;

use roverline_test_support::etcd::{Cluster, server};
use roverline_test_support::require;
use roverline_test_support::skip::{Missing, skip};

use crate::store::etcd::tests::faults::{create, eventually, keys};
use crate::store::etcd::tests::rig::{self, Nodes, PATIENCE};
use crate::store::{Change, Range, Revision, Store, StoreError};

const INSIDE: &str = "ROVERLINE_TEST_INSIDE";
const NAME: &str = "store::etcd::tests::partition::a_leader_cut_off_refuses_and_the_others_go_on";

/// Runs this test again inside its own network namespace.
fn run_inside() {
    let _etcd = require!(server());
    let may =
        Command::new("unshare").args(["-rn", "ip", "link"]).output().is_ok_and(|ran| ran.status.success());
    if !may {
        return skip(&Missing::capability("there are no network namespaces to cut routes in"));
    }
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.arg("-rn").arg(test).args(["--exact", NAME, "--nocapture"]).env(INSIDE, "1");
    assert!(command.status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cut_off_refuses_and_the_others_go_on() {
    if std::env::var_os(INSIDE).is_none() {
        let _permit = rig::permit().await;
        return run_inside();
    }
    let nodes = Nodes::start_in_namespaces().await.unwrap();
    let all = nodes.client(&[0, 1, 2], "partition");
    let leader = nodes.leader().await;
    let cut_off = nodes.client(&[leader], "partition");
    eventually(&all, "a/begun").await;
    eventually(&cut_off, "a/through it").await;
    let mut watch = cut_off.watch("a/".to_owned(), Revision(1)).await.unwrap();
    Cluster::cut(leader, true);
    let begun = Instant::now();
    eventually(&all, "a/without it").await;
    rig::print(&format!("etcd: the leader cut off: no write for {} ms", begun.elapsed().as_millis()));
    // It reads no more than it writes: what it knows may be old.
    let range = || Range { prefix: "a/".to_owned(), limit: 9, ..Range::default() };
    let refused = cut_off.txn(create("a/to it alone")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_) | StoreError::Unknown(_))), "{refused:?}");
    let refused = cut_off.range(range()).await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("no leader")),
        "{refused:?}"
    );
    eventually(&all, "a/still without it").await;
    Cluster::cut(leader, false);
    eventually(&cut_off, "a/through it again").await;
    // The watch continued where it was.
    let there = keys(&all, "a/").await;
    let mut told: Vec<Change> = Vec::new();
    while told.len() < there.len() {
        told.extend(tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap());
    }
    let mut expected: Vec<_> = there.values().copied().collect();
    expected.sort_unstable();
    assert_eq!(told.iter().map(Change::revision).collect::<Vec<_>>(), expected);
    for key in ["a/begun", "a/through it", "a/without it", "a/still without it", "a/through it again"] {
        assert!(there.contains_key(key), "{key} of {there:?}");
    }
}
