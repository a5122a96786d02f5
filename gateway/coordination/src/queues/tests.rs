mod conformance;
mod lost;
mod model;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) use crate::queues::tests::conformance::suite;
use crate::queues::*;
use crate::store::SqliteStore;

/// A file of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("roverline-queues-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Folder(std::env::temp_dir().join(name))
    }

    /// As one more process has it open.
    fn open(&self) -> Queues {
        Queues::new(Arc::new(SqliteStore::open(&self.0)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A time of day that is different each time.
fn tick() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(1);
    NOW.fetch_add(1, Ordering::Relaxed)
}

const ANN: By<'static> = By { who: "ann", now_ns: tick };

fn message(body: &str) -> Message {
    Message { body: Bytes::copy_from_slice(body.as_bytes()), ..Message::default() }
}

fn bodies(taken: &[Delivery]) -> Vec<&str> {
    taken.iter().map(|one| std::str::from_utf8(&one.body).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_alone_and_shared() {
    let folder = Folder::new();
    suite(&folder.open(), &folder.open()).await;
    let alone = Folder::new();
    let queues = alone.open();
    suite(&queues, &queues).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_processes_each_message_goes_to_one() {
    let folder = Folder::new();
    let all: Vec<Queues> = (0..4).map(|_| folder.open()).collect();
    race(&all).await;
}

/// Four put messages in and take them out, all at once.
pub(crate) async fn race(all: &[Queues]) {
    const EACH: usize = 30;
    let workers = all.iter().enumerate().map(|(n, queues)| {
        let queues = queues.clone();
        let worker = async move {
            for i in 0..EACH {
                queues.enqueue("race", &[message(&format!("{n}.{i}"))], &ANN).await.unwrap();
            }
            let mut got = Vec::new();
            // Others may still be putting messages in: done is who finds none for a while.
            loop {
                let take = Take { most: 3, visibility: Some(Duration::from_secs(600)) };
                let wait = Duration::from_secs(3);
                let taken = queues.dequeue_within("race", take, wait, &ANN).await.unwrap();
                if taken.is_empty() {
                    return got;
                }
                for one in &taken {
                    assert_eq!(one.delivery, 1);
                    queues.ack(&one.id, Some(1)).await.unwrap();
                }
                got.extend(bodies(&taken).into_iter().map(str::to_owned));
            }
        };
        tokio::spawn(worker)
    });
    let workers: Vec<_> = workers.collect();
    let mut got = Vec::new();
    for worker in workers {
        let mine: Vec<String> = worker.await.unwrap();
        // Of each who put them in, in the order in which they were put in.
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
async fn what_was_acknowledged_is_there_when_it_is_opened_again() {
    let folder = Folder::new();
    let id = folder.open().enqueue("work", &[message("a")], &ANN).await.unwrap().remove(0).id;
    let queues = folder.open();
    let taken = queues.dequeue("work", Take::default(), &ANN).await.unwrap();
    assert_eq!((bodies(&taken), &taken[0].id), (vec!["a"], &id));
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_in_flight_are_passed_and_then_it_is_enough() {
    let folder = Folder::new();
    let queues = folder.open();
    let batch: Vec<Message> = (0..limits::QUEUE_BATCH_MESSAGES).map(|_| message("x")).collect();
    let rounds = limits::QUEUE_FLIGHT_MESSAGES / limits::QUEUE_BATCH_MESSAGES;
    for _ in 0..rounds {
        queues.enqueue("much", &batch, &ANN).await.unwrap();
    }
    queues.enqueue("much", &[message("last")], &ANN).await.unwrap();
    let take = Take { most: limits::QUEUE_BATCH_MESSAGES, visibility: Some(Duration::from_secs(3_600)) };
    let mut first = String::new();
    for _ in 0..rounds {
        let taken = queues.dequeue("much", take, &ANN).await.unwrap();
        assert_eq!(taken.len(), limits::QUEUE_BATCH_MESSAGES);
        first.clone_from(&taken[0].id);
    }
    assert_eq!(queues.dequeue("much", take, &ANN).await, Err(QueueError::Flight));
    queues.ack(&first, None).await.unwrap();
    assert_eq!(bodies(&queues.dequeue("much", take, &ANN).await.unwrap()), ["last"]);
    // Everything can be thrown away, whoever has it.
    assert_eq!(queues.purge("much", false, None, &ANN).await.unwrap(), limits::QUEUE_FLIGHT_MESSAGES);
    assert_eq!(queues.view("much").await.unwrap().in_flight, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_is_counted_for_all_who_look_and_told_right_in_the_end() {
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
    // What another process changes shows a little later.
    let taken = other.dequeue("much", Take::default(), &ANN).await.unwrap().remove(0);
    other.ack(&taken.id, None).await.unwrap();
    let began = std::time::Instant::now();
    while queues.view("much").await.unwrap().ready != all - 1 {
        assert!(began.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What is thrown away here, at once.
    queues.purge("much", false, None, &ANN).await.unwrap();
    assert_eq!(queues.view("much").await.unwrap().ready, 0);
}

#[test]
fn an_id_is_read_as_it_is_written_and_not_otherwise() {
    let place = keys::Place { priority: 3, sequence: 17 };
    for queue in ["work", "a:b:1", "ä"] {
        let id = keys::MessageId { queue: queue.to_owned(), place, nonce: 0xab };
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    for bad in
        ["", "work", "work:3:17", "work:10:17:00000000000000ab", "work:3:17:ab", "a/b:3:17:00000000000000ab"]
    {
        assert!(bad.parse::<keys::MessageId>().is_err(), "{bad}");
    }
}
