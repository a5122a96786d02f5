//! What the store must do, and every part that is written over it, on three nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;

use crate::kv::{Author, Expect, Kv};
use crate::lifecycle::Lifecycle;
use crate::queues::{By, Message, Queues, Take};
use crate::store::etcd::tests::rig::Nodes;
use crate::store::{Compare, Op, Range, Store, StoreError, Txn, tests as conformance};
use crate::{events, kv, lifecycle, locks, queues, recorder};

impl Nodes {
    /// Two clients of one place, each with members of its own.
    fn pair(&self, prefix: &str) -> (Arc<dyn Store>, Arc<dyn Store>) {
        (Arc::new(self.client(&[0], prefix)), Arc::new(self.client(&[1, 2], prefix)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_over_two_members_and_so_do_the_locks() {
    let Some(nodes) = Nodes::start("suite").await else { return };
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
    let Some(nodes) = Nodes::start("queues").await else { return };
    let (one, other) = nodes.pair("queues");
    queues::tests::suite(&Queues::new(one), &Queues::new(other)).await;
    let all = [0, 1, 2, 0].map(|node| Queues::new(Arc::new(nodes.client(&[node], "race"))));
    queues::tests::race(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_values_conform_over_two_members() {
    let Some(nodes) = Nodes::start("kv").await else { return };
    let (one, other) = nodes.pair("kv");
    kv::tests::suite(one, other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_conform_over_two_members() {
    let Some(nodes) = Nodes::start("events").await else { return };
    let (one, other) = nodes.pair("events");
    events::tests::suite(one, other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lives_conform_over_two_members() {
    let Some(nodes) = Nodes::start("lives").await else { return };
    let (one, other) = nodes.pair("lives");
    lifecycle::tests::suite(&Lifecycle::new(one), &Lifecycle::new(other)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_recorded_over_a_cluster() {
    let Some(nodes) = Nodes::start("recorder").await else { return };
    recorder::tests::suite(&|name| Arc::new(nodes.client(&[0, 1, 2], name))).await;
}

fn filled(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

/// etcd takes 1.5 MiB and 128 operations unless it is told otherwise: nothing of ours is more.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_of_everything_fits_into_a_cluster_as_it_comes() {
    let Some(nodes) = Nodes::start("largest").await else { return };
    let store: Arc<dyn Store> = Arc::new(nodes.client(&[0, 1, 2], "largest"));
    let put = |key: &str, value: Bytes| Op::Put { key: key.to_owned(), value, lease: None };
    let key = "k".repeat(limits::STORE_KEY_BYTES);
    let txn = Txn { success: vec![put(&key, filled(limits::STORE_VALUE_BYTES))], ..Txn::default() };
    store.txn(txn).await.unwrap();
    // As many parts as there may be, of any kind.
    let n = limits::STORE_TXN_ELEMENTS;
    let puts = |count: usize| (0..count).map(|n| put(&format!("{n}"), filled(64))).collect::<Vec<_>>();
    let absent = |count: usize| vec![Compare::Absent("none".to_owned()); count];
    store.txn(Txn { success: puts(n), ..Txn::default() }).await.unwrap();
    store.txn(Txn { compares: absent(n - 1), success: puts(1), failure: Vec::new() }).await.unwrap();
    let thirds = Txn { compares: absent(n / 3), success: puts(n / 3), failure: puts(n / 3) };
    store.txn(thirds).await.unwrap();
    // Values, also where what was before is compared.
    let (kv, author) = (Kv::new(store.clone()), Author { by: "ann".into(), at_ns: 1 });
    let value = filled(limits::KV_VALUE_BYTES);
    kv.put("large", value.clone(), &Expect::Any, None, &author).await.unwrap();
    kv.put("large", value.clone(), &Expect::Value(value), None, &author).await.unwrap();
    // Messages, one and many.
    let (queues, by) = (Queues::new(store.clone()), By { who: "ann", now_ns: || 1 });
    let each = limits::QUEUE_BATCH_BYTES / limits::QUEUE_BATCH_MESSAGES;
    let message = |bytes| Message { body: filled(bytes), dedup: Some("d".repeat(200)), ..Message::default() };
    queues.enqueue("large", &[message(limits::QUEUE_BATCH_BYTES)], &by).await.unwrap();
    let many = |n| Message { dedup: Some(format!("{n:0200}")), ..message(each) };
    let many: Vec<_> = (0..limits::QUEUE_BATCH_MESSAGES).map(many).collect();
    queues.enqueue("large", &many, &by).await.unwrap();
    let take = Take { most: limits::QUEUE_BATCH_MESSAGES, visibility: Some(Duration::from_secs(60)) };
    let taken = queues.dequeue("large", take, &by).await.unwrap();
    assert_eq!(taken.first().map(|one| one.body.len()), Some(limits::QUEUE_BATCH_BYTES));
    // Pages of many large values come in pieces.
    let page = store.range(Range { limit: 1_000, ..Range::default() }).await.unwrap();
    assert!(!page.entries.is_empty());
    // More than that is refused, and nothing happened.
    let both = ["one", "two"].map(|key| put(key, filled(limits::STORE_VALUE_BYTES)));
    let refused = store.txn(Txn { success: both.to_vec(), ..Txn::default() }).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("larg")), "{refused:?}");
    let page = store.range(Range { prefix: "one".to_owned(), limit: 1, ..Range::default() }).await.unwrap();
    assert_eq!(page.entries, []);
}
