//! Authentication: nodes that require TLS and a user.

use std::process::Command;

use roverline_test_support::require;

use crate::store::etcd::EtcdStore;
use crate::store::etcd::proto::{AuthenticateRequest, EmptyResponse};
use crate::store::etcd::retry::{self, Idempotency};
use crate::store::etcd::tests::faults::{create, eventually};
use crate::store::etcd::tests::rig::Nodes;
use crate::store::{Range, Store, StoreError};

/// The requests to create a user and to grant a role consist of two strings, like this one.
type Pair = AuthenticateRequest;

fn pair(name: &str, password: &str) -> Pair {
    Pair { name: name.to_owned(), password: password.to_owned() }
}

async fn ask(store: &EtcdStore, method: &'static str, request: &Pair) {
    retry::call::<EmptyResponse>(&store.cluster, method, request, Idempotency::NotIdempotent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_a_user_are_needed_where_the_cluster_wants_them() {
    let mut nodes = require!(Nodes::start().await);
    let file = |name: &str| nodes.folder().join(name);
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=etcd", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let open = nodes.client(&[0, 1, 2], "entrance");
    ask(&open, "Auth/UserAdd", &pair("root", "secret")).await;
    ask(&open, "Auth/RoleAdd", &pair("root", "")).await;
    ask(&open, "Auth/UserGrantRole", &pair("root", "root")).await;
    ask(&open, "Auth/AuthEnable", &pair("", "")).await;
    let refused = open.txn(create("a")).await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("user name is empty")),
        "{refused:?}"
    );
    // Switch to TLS, one node at a time.
    nodes.tls = Some((cert.clone(), key.clone()));
    for node in 0..3 {
        nodes.kill(node);
        nodes.run(node);
    }
    let password = nodes.folder().join("password");
    let members = nodes.members(&[0, 1, 2]);
    let named = |scheme: &str, query: &str| format!("{scheme}://root@{}?{query}", members);
    let query = format!("ca={}&password_file={}", cert.display(), password.display());
    let store = EtcdStore::open(&named("etcds", &query)).unwrap();
    let refused = store.txn(create("a")).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("password")), "{refused:?}");
    std::fs::write(&password, "wrong\n").unwrap();
    let wrong = EtcdStore::open(&named("etcds", &query)).unwrap();
    let refused = loop {
        match wrong.txn(create("a")).await {
            Err(StoreError::Unavailable(why)) if why.contains("authentication failed") => break why,
            Err(StoreError::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(!refused.contains("wrong"), "{refused}");
    // The file has appeared: the store continues by itself.
    std::fs::write(&password, "secret\n").unwrap();
    eventually(&store, "a").await;
    // A rejected token is replaced.
    store.cluster.invalidate_token();
    eventually(&store, "b").await;
    let page = store.range(Range { limit: 9, ..Range::default() }).await.unwrap();
    assert_eq!(page.entries.len(), 2);
    let lease = store.grant(std::time::Duration::from_secs(60)).await.unwrap();
    store.keep_alive(lease).await.unwrap();
    let mut watch = store.watch("a".to_owned(), page.entries[0].created).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().len(), 1);
    // Without TLS no member answers.
    let plain = EtcdStore::open(&named("etcd", &format!("password_file={}", password.display()))).unwrap();
    assert!(matches!(plain.txn(create("c")).await, Err(StoreError::Unavailable(_))));
}
