//! The conformance suites of the store and of every module on top of it, on three nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use roverline_test_support::require;

use crate::kv::{Author, Expect, Kv};
use crate::lifecycle::Lifecycle;
use crate::limits;
use crate::queues::{Actor, DequeueOptions, Message, Queues};
use crate::store::etcd::tests::rig::Nodes;
use crate::store::{Compare, Op, Range, Store, StoreError, Txn, tests as conformance};
use crate::{events, kv, lifecycle, locks, queues, recorder};

impl Nodes {
    /// Two clients of one prefix, each with different members.
    fn pair(&self, prefix: &str) -> (Arc<dyn Store>, Arc<dyn Store>) {
        (Arc::new(self.client(&[0], prefix)), Arc::new(self.client(&[1, 2], prefix)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_over_two_members_and_so_do_the_locks() {
    let nodes = require!(Nodes::start().await);
    let (one, other) = nodes.pair("suite");
    conformance::suite(&*one, &*other).await;
    let next = AtomicU32::new(0);
    let empty = || -> Arc<dyn Store> {
        let prefix = format!("locks{}", next.fetch_add(1, Ordering::Relaxed));
        Arc::new(nodes.client(&[0, 1, 2], &prefix))
    };
    locks::tests::suite(&empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_conform_over_two_members() {
    let nodes = require!(Nodes::start().await);
    let (one, other) = nodes.pair("queues");
    queues::tests::suite(&Queues::new(one), &Queues::new(other)).await;
    let all = [0, 1, 2, 0].map(|node| Queues::new(Arc::new(nodes.client(&[node], "race"))));
    queues::tests::race(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_values_conform_over_two_members() {
    let nodes = require!(Nodes::start().await);
    let (one, other) = nodes.pair("kv");
    kv::tests::suite(one, other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_conform_over_two_members() {
    let nodes = require!(Nodes::start().await);
    let (one, other) = nodes.pair("events");
    events::tests::suite(one, other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lives_conform_over_two_members() {
    let nodes = require!(Nodes::start().await);
    let (one, other) = nodes.pair("lives");
    lifecycle::tests::suite(&Lifecycle::new(one), &Lifecycle::new(other)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_recorded_over_a_cluster() {
    let nodes = require!(Nodes::start().await);
    recorder::tests::suite(&|name| Arc::new(nodes.client(&[0, 1, 2], name))).await;
}

fn filled(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

/// etcd's default limits are 1.5 MiB and 128 operations per request; all our requests must stay within them.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_of_everything_fits_into_a_cluster_as_it_comes() {
    let nodes = require!(Nodes::start().await);
    let store: Arc<dyn Store> = Arc::new(nodes.client(&[0, 1, 2], "largest"));
    let put = |key: &str, value: Bytes| Op::Put { key: key.to_owned(), value, lease: None };
    let key = "k".repeat(crate::store::STORE_KEY_BYTES);
    let txn = Txn { success: vec![put(&key, filled(limits::STORE_VALUE_BYTES))], ..Txn::default() };
    store.txn(txn).await.unwrap();
    // The largest number of parts, of each kind.
    let n = limits::STORE_TXN_ELEMENTS;
    let puts = |count: usize| (0..count).map(|n| put(&format!("{n}"), filled(64))).collect::<Vec<_>>();
    let absent = |count: usize| vec![Compare::Absent("none".to_owned()); count];
    store.txn(Txn { success: puts(n), ..Txn::default() }).await.unwrap();
    store.txn(Txn { compares: absent(n - 1), success: puts(1), failure: Vec::new() }).await.unwrap();
    let thirds = Txn { compares: absent(n / 3), success: puts(n / 3), failure: puts(n / 3) };
    store.txn(thirds).await.unwrap();
    // Values, also with a comparison of the previous value.
    let (kv, author) = (Kv::new(store.clone()), Author { by: "ann".into(), client: None, at_ns: 1 });
    let value = filled(limits::KV_VALUE_BYTES);
    kv.put("large", value.clone(), &Expect::Any, None, &author).await.unwrap();
    kv.put("large", value.clone(), &Expect::Value(value), None, &author).await.unwrap();
    // Messages, one large and many.
    let (queues, by) = (Queues::new(store.clone()), Actor { client: "ann".into(), now_ns: || 1 });
    let each = limits::QUEUE_BATCH_BYTES / limits::QUEUE_BATCH_MESSAGES;
    let message = |bytes| Message { body: filled(bytes), dedup: Some("d".repeat(200)), ..Message::default() };
    queues.enqueue("large", &[message(limits::QUEUE_BATCH_BYTES)], &by).await.unwrap();
    let many = |n| Message { dedup: Some(format!("{n:0200}")), ..message(each) };
    let many: Vec<_> = (0..limits::QUEUE_BATCH_MESSAGES).map(many).collect();
    queues.enqueue("large", &many, &by).await.unwrap();
    let take =
        DequeueOptions { max: limits::QUEUE_BATCH_MESSAGES, visibility: Some(Duration::from_secs(60)) };
    let taken = queues.dequeue("large", take, &by).await.unwrap();
    assert_eq!(taken.first().map(|one| one.body.len()), Some(limits::QUEUE_BATCH_BYTES));
    // Pages of many large values are split.
    let page = store.range(Range { limit: 1_000, ..Range::default() }).await.unwrap();
    assert!(!page.entries.is_empty());
    // Larger requests are refused and have no effect.
    let both = ["one", "two"].map(|key| put(key, filled(limits::STORE_VALUE_BYTES)));
    let refused = store.txn(Txn { success: both.to_vec(), ..Txn::default() }).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("larg")), "{refused:?}");
    let page = store.range(Range { prefix: "one".to_owned(), limit: 1, ..Range::default() }).await.unwrap();
    assert_eq!(page.entries, []);
}
