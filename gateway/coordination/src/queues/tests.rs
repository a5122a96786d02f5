//! Tests of work queues: conformance of one and of two processes on a store, concurrent consumers, and limits.

mod conformance;
mod lost;
mod model;
mod ownership;
mod quota;

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::limits;
pub(crate) use crate::queues::tests::conformance::suite;
use crate::queues::*;
use crate::store::SqliteStore;
use crate::test_support::{DEADLINE, eventually};

/// A store of its own, deleted at the end.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.0.path().join("store"))
    }

    /// Opens the store as another process would.
    fn open(&self) -> Queues {
        Queues::new(Arc::new(self.store()))
    }
}

/// A strictly increasing clock.
fn tick() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(1);
    NOW.fetch_add(1, Ordering::Relaxed)
}

const ANN: Actor<'static> = Actor { client: Client { identity: None, name: "ann" }, now_ns: tick };

fn message(body: &str) -> Message {
    Message { body: Bytes::copy_from_slice(body.as_bytes()), ..Message::default() }
}

fn bodies(taken: &[Delivery]) -> Vec<&str> {
    taken.iter().map(|one| std::str::from_utf8(&one.body).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_alone() {
    let folder = Folder::new();
    let queues = folder.open();
    suite(&queues, &queues).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_shared_by_two_processes() {
    let folder = Folder::new();
    suite(&folder.open(), &folder.open()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_goes_to_one_of_many_processes() {
    let folder = Folder::new();
    let all: Vec<Queues> = (0..4).map(|_| folder.open()).collect();
    race(&all).await;
}

/// Concurrent producers and consumers.
pub(crate) async fn race(all: &[Queues]) {
    const EACH: usize = 30;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let total = EACH * all.len();
    let workers = all.iter().enumerate().map(|(n, queues)| {
        let (queues, acknowledged) = (queues.clone(), acknowledged.clone());
        let worker = async move {
            for i in 0..EACH {
                queues.enqueue("race", &[message(&format!("{n}.{i}"))], &ANN).await.unwrap();
            }
            let mut got = Vec::new();
            // Others may still be enqueuing or acknowledging.
            let started = std::time::Instant::now();
            while acknowledged.load(Ordering::Relaxed) < total {
                assert!(started.elapsed() < DEADLINE, "messages are missing");
                let options = DequeueOptions { max: 3, visibility: Some(Duration::from_secs(600)) };
                let wait = Duration::from_millis(100);
                let taken = queues.dequeue_within("race", options, wait, &ANN).await.unwrap();
                for one in &taken {
                    assert_eq!(one.delivery, 1);
                    queues.ack(&one.id, Some(1), &ANN).await.unwrap();
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                got.extend(bodies(&taken).into_iter().map(str::to_owned));
            }
            got
        };
        tokio::spawn(worker)
    });
    let workers: Vec<_> = workers.collect();
    let mut got = Vec::new();
    for worker in workers {
        let mine: Vec<String> = worker.await.unwrap();
        // Each producer's messages arrive in order.
        for n in 0..4 {
            let order: Vec<usize> =
                mine.iter().filter_map(|body| body.strip_prefix(&format!("{n}."))?.parse().ok()).collect();
            assert!(order.is_sorted(), "{order:?}");
        }
        got.extend(mine);
    }
    got.sort_unstable();
    let mut put: Vec<String> = (0..4).flat_map(|n| (0..EACH).map(move |i| format!("{n}.{i}"))).collect();
    put.sort_unstable();
    assert_eq!(got, put);
    let view = all[0].view("race").await.unwrap();
    assert_eq!((view.ready, view.in_flight, view.dead, view.enqueued), (0, 0, 0, 4 * EACH as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_message_survives_reopening() {
    let folder = Folder::new();
    let id = folder.open().enqueue("work", &[message("a")], &ANN).await.unwrap().remove(0).id;
    let queues = folder.open();
    let taken = queues.dequeue("work", DequeueOptions::default(), &ANN).await.unwrap();
    assert_eq!((bodies(&taken), &taken[0].id), (vec!["a"], &id));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_flight_are_skipped_up_to_the_limit() {
    let folder = Folder::new();
    let queues = folder.open();
    let batch: Vec<Message> = (0..limits::QUEUE_BATCH_MESSAGES).map(|_| message("x")).collect();
    let rounds = limits::QUEUE_FLIGHT_MESSAGES / limits::QUEUE_BATCH_MESSAGES;
    for _ in 0..rounds {
        queues.enqueue("much", &batch, &ANN).await.unwrap();
    }
    queues.enqueue("much", &[message("last")], &ANN).await.unwrap();
    let options =
        DequeueOptions { max: limits::QUEUE_BATCH_MESSAGES, visibility: Some(Duration::from_secs(3_600)) };
    let mut first = String::new();
    for _ in 0..rounds {
        let taken = queues.dequeue("much", options, &ANN).await.unwrap();
        assert_eq!(taken.len(), limits::QUEUE_BATCH_MESSAGES);
        first.clone_from(&taken[0].id);
    }
    assert_eq!(queues.dequeue("much", options, &ANN).await, Err(QueueError::TooManyInFlight));
    queues.ack(&first, None, &ANN).await.unwrap();
    assert_eq!(bodies(&queues.dequeue("much", options, &ANN).await.unwrap()), ["last"]);
    // A purge includes messages in flight.
    assert_eq!(queues.purge("much", false, None, &ANN).await.unwrap(), limits::QUEUE_FLIGHT_MESSAGES);
    assert_eq!(queues.view("much").await.unwrap().in_flight, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_a_large_queue_are_shared_and_converge() {
    let folder = Folder::new();
    let (queues, other) = (folder.open(), folder.open());
    let batch: Vec<Message> = (0..limits::QUEUE_BATCH_MESSAGES).map(|_| message("x")).collect();
    let all = limits::QUEUE_COUNTED_MESSAGES.next_multiple_of(batch.len()) + batch.len();
    for _ in 0..all / batch.len() {
        queues.enqueue("much", &batch, &ANN).await.unwrap();
    }
    let names: Vec<String> = (0..9).map(|_| "much".to_owned()).collect();
    for view in queues.views(&names).await.unwrap() {
        assert_eq!(view.ready, all);
    }
    // Changes by another process become visible a little later.
    let taken = other.dequeue("much", DequeueOptions::default(), &ANN).await.unwrap().remove(0);
    other.ack(&taken.id, None, &ANN).await.unwrap();
    let is_counted = async || queues.view("much").await.unwrap().ready == all - 1;
    eventually("the change is counted", async || is_counted().await.then_some(())).await;
    // A purge by this process is visible at once.
    queues.purge("much", false, None, &ANN).await.unwrap();
    assert_eq!(queues.view("much").await.unwrap().ready, 0);
}

#[test]
fn message_ids_round_trip_and_only_the_canonical_form_parses() {
    let position = keys::MessagePosition { priority: 3, sequence: 17 };
    for queue in ["work", "a:b:1", "ä"] {
        let id = keys::MessageId { queue: queue.to_owned(), position, nonce: 0xab };
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    for bad in
        ["", "work", "work:3:17", "work:10:17:00000000000000ab", "work:3:17:ab", "a/b:3:17:00000000000000ab"]
    {
        assert!(bad.parse::<keys::MessageId>().is_err(), "{bad}");
    }
}
