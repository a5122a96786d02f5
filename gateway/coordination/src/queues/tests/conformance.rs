//! Queue scenarios that every store must satisfy.

use std::task::Poll;

use crate::limits;
use crate::queues::tests::ownership::{
    ids_of_identities, messages_of_an_earlier_version, out_of_work, ownership,
};
use crate::queues::tests::*;

/// Longer than a busy machine pauses.
pub(super) const SHORT: Duration = Duration::from_secs(2);
pub(super) const LONG: Duration = Duration::from_secs(600);

/// Runs all scenarios over two services that share a store.
pub(crate) async fn suite(one: &Queues, other: &Queues) {
    order_and_priority(one, other).await;
    hidden_until_the_visibility_timeout(one, other).await;
    returned_and_extended(one, other).await;
    dead_letters(one, other).await;
    dedup_and_delay(one, other).await;
    waiting(one, other).await;
    purge(one, other).await;
    ownership(one, other).await;
    out_of_work(one, other).await;
    ids_of_identities(one, other).await;
    messages_of_an_earlier_version(one).await;
    rejections(one).await;
}

pub(super) fn hidden_for(visibility: Duration) -> DequeueOptions {
    DequeueOptions { max: 1, visibility: Some(visibility) }
}

pub(super) async fn put(queues: &Queues, queue: &str, body: &str) -> String {
    queues.enqueue(queue, &[message(body)], &ANN).await.unwrap().remove(0).id
}

pub(super) async fn dequeue_one(queues: &Queues, queue: &str, visibility: Duration) -> Delivery {
    let taken = queues.dequeue_within(queue, hidden_for(visibility), DEADLINE, &ANN).await.unwrap();
    taken.into_iter().next().expect("nothing came")
}

pub(super) async fn assert_empty(queues: &Queues, queue: &str) {
    assert_eq!(queues.dequeue(queue, hidden_for(LONG), &ANN).await.unwrap(), [], "{queue}");
}

async fn order_and_priority(one: &Queues, other: &Queues) {
    assert_empty(one, "order").await;
    let urgent = |body: &str, priority| Message { priority, ..message(body) };
    let batch =
        [urgent("low", 0), urgent("high", 9), urgent("mid", 5), urgent("low2", 0), urgent("high2", 9)];
    one.enqueue("order", &batch, &ANN).await.unwrap();
    other.enqueue("order", &[urgent("high3", 9)], &ANN).await.unwrap();
    let seen = one.peek("order", 20).await.unwrap();
    assert_eq!((seen.len(), &seen[0].body[..], seen[0].ready), (6, &b"high"[..], true));
    let all = DequeueOptions { max: 4, visibility: Some(LONG) };
    let first = other.dequeue("order", all, &ANN).await.unwrap();
    assert_eq!(bodies(&first), ["high", "high2", "high3", "mid"]);
    assert_eq!((first[0].priority, first[0].delivery, first[0].by.as_str()), (9, 1, "ann"));
    assert_eq!(bodies(&one.dequeue("order", all, &ANN).await.unwrap()), ["low", "low2"]);
    assert_empty(other, "order").await;
    let view = one.view("order").await.unwrap();
    assert_eq!((view.ready, view.in_flight, view.delayed, view.dead), (0, 6, 0, 0));
    for delivery in &first {
        other.ack(&delivery.id, None, &ANN).await.unwrap();
        assert!(matches!(one.ack(&delivery.id, None, &ANN).await, Err(QueueError::UnknownMessage(_))));
    }
    assert_eq!(one.view("order").await.unwrap().in_flight, 2);
    assert!(one.names().await.unwrap().contains(&"order".to_owned()));
}

async fn hidden_until_the_visibility_timeout(one: &Queues, other: &Queues) {
    let id = put(one, "time", "a").await;
    let begin = std::time::Instant::now();
    let first = dequeue_one(one, "time", SHORT).await;
    assert_empty(other, "time").await;
    let second = dequeue_one(other, "time", LONG).await;
    assert!(begin.elapsed() >= SHORT, "delivered twice within {:?}", begin.elapsed());
    assert_eq!((&second.id, first.delivery, second.delivery), (&id, 1, 2));
    // The first consumer is too late.
    let stale = QueueError::Stale { given: 1, newest: 2 };
    assert_eq!(one.ack(&id, Some(1), &ANN).await, Err(stale.clone()));
    assert_eq!(one.nak(&id, Some(1), None, None, &ANN).await, Err(stale.clone()));
    assert_eq!(one.extend(&id, Some(1), LONG, &ANN).await, Err(stale));
    assert_empty(one, "time").await;
    one.ack(&id, Some(2), &ANN).await.unwrap();
    assert_empty(one, "time").await;
}

async fn returned_and_extended(one: &Queues, other: &Queues) {
    let id = put(one, "back", "a").await;
    assert_eq!(one.nak(&id, None, None, None, &ANN).await, Err(QueueError::NotInFlight));
    dequeue_one(one, "back", LONG).await;
    other.nak(&id, Some(1), None, Some("no arm"), &ANN).await.unwrap();
    let again = dequeue_one(one, "back", SHORT).await;
    assert_eq!(again.delivery, 2);
    // An extended message does not return at its original time.
    let begin = std::time::Instant::now();
    other.extend(&id, Some(2), 2 * SHORT, &ANN).await.unwrap();
    let third = dequeue_one(other, "back", LONG).await;
    assert!(begin.elapsed() >= 2 * SHORT, "{:?}", begin.elapsed());
    assert_eq!(third.delivery, 3);
    // Returned with a delay.
    let begin = std::time::Instant::now();
    one.nak(&id, Some(3), Some(SHORT), None, &ANN).await.unwrap();
    assert_eq!(one.extend(&id, Some(3), LONG, &ANN).await, Err(QueueError::NotInFlight));
    let view = other.view("back").await.unwrap();
    assert_eq!((view.ready, view.in_flight, view.delayed), (0, 0, 1));
    assert_eq!(dequeue_one(one, "back", LONG).await.delivery, 4);
    assert!(begin.elapsed() >= SHORT);
    one.ack(&id, Some(4), &ANN).await.unwrap();
}

async fn dead_letters(one: &Queues, other: &Queues) {
    let settings = Settings { max_deliveries: 2, visibility_ms: 500 };
    one.configure("dead", settings, &ANN).await.unwrap();
    assert_eq!(other.view("dead").await.unwrap().settings, settings);
    // One message is returned, the other one never acknowledged.
    let (given, silent) = (put(one, "dead", "given").await, put(one, "dead", "silent").await);
    for _ in 0..2 {
        assert_eq!(dequeue_one(one, "dead", LONG).await.id, given);
        other.nak(&given, None, None, Some("it fell"), &ANN).await.unwrap();
    }
    let brief = DequeueOptions::default();
    for n in 1..=2 {
        let taken = other.dequeue_within("dead", brief, DEADLINE, &ANN).await.unwrap();
        assert_eq!((&taken[0].id, taken[0].delivery), (&silent, n));
    }
    let letters = eventually("two dead letters", async || {
        assert_eq!(one.dequeue("dead", brief, &ANN).await.unwrap(), []);
        let letters = one.dead_letters("dead", 0, 20).await.unwrap();
        (letters.len() == 2).then_some(letters)
    })
    .await;
    assert_eq!((&letters[0].message.id, letters[0].why.as_deref()), (&given, Some("it fell")));
    assert_eq!(letters[1].why.as_deref(), Some("delivered 2 times and never acknowledged"));
    assert_eq!(&letters[1].message.body[..], b"silent");
    assert_eq!(one.dead_letters("dead", letters[0].sequence, 20).await.unwrap(), letters[1..]);
    let view = other.view("dead").await.unwrap();
    assert_eq!((view.ready, view.in_flight, view.dead), (0, 0, 2));
    assert!(matches!(one.ack(&given, None, &ANN).await, Err(QueueError::UnknownMessage(_))));
    // Redriven messages keep their order and get a fresh delivery limit.
    assert_eq!(other.redrive("dead", 10, &ANN).await.unwrap(), 2);
    assert_eq!(other.redrive("dead", 10, &ANN).await.unwrap(), 0);
    for (id, delivery) in [(&given, 3), (&silent, 3)] {
        let taken = dequeue_one(one, "dead", LONG).await;
        assert_eq!((&taken.id, taken.delivery), (id, delivery));
    }
    one.nak(&given, Some(3), None, None, &ANN).await.unwrap();
    assert_eq!(dequeue_one(one, "dead", LONG).await.delivery, 4);
}

async fn dedup_and_delay(one: &Queues, other: &Queues) {
    let once = |body: &str| Message { dedup: Some("job 7".to_owned()), ..message(body) };
    let first = one.enqueue("once", &[once("a"), once("b"), message("c")], &ANN).await.unwrap();
    assert_eq!(first.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(first[0].id, first[1].id);
    dequeue_one(one, "once", LONG).await;
    one.ack(&first[0].id, None, &ANN).await.unwrap();
    let again = other.enqueue("once", &[once("d")], &ANN).await.unwrap();
    assert_eq!(again, [Accepted { id: first[0].id.clone(), duplicate: true }], "also when it is done with");
    assert_eq!(&dequeue_one(other, "once", LONG).await.body[..], b"c");
    assert_empty(one, "once").await;
    // Deduplication is per queue.
    assert!(!one.enqueue("once more", &[once("e")], &ANN).await.unwrap()[0].duplicate);

    let begin = std::time::Instant::now();
    let later = Message { delay: Some(SHORT), ..message("later") };
    one.enqueue("later", &[later, message("now")], &ANN).await.unwrap();
    assert_eq!(&dequeue_one(other, "later", LONG).await.body[..], b"now");
    assert_empty(other, "later").await;
    assert_eq!(one.view("later").await.unwrap().delayed, 1);
    assert_eq!(&dequeue_one(other, "later", LONG).await.body[..], b"later");
    assert!(begin.elapsed() >= SHORT);
}

async fn waiting(one: &Queues, other: &Queues) {
    let mut waiters = Vec::new();
    for n in 1..=3 {
        let queues = one.clone();
        let mut waiter = Box::pin(async move { dequeue_one(&queues, "wait", LONG).await.body });
        // The first poll joins the wait queue.
        let first = std::future::poll_fn(|context| Poll::Ready(waiter.as_mut().poll(context))).await;
        assert_eq!((first, one.local.wait_queues.waiting()), (Poll::Pending, n));
        waiters.push(tokio::spawn(waiter));
    }
    for (waiter, body) in waiters.into_iter().zip(["a", "b", "c"]) {
        put(other, "wait", body).await;
        assert_eq!(&waiter.await.unwrap()[..], body.as_bytes(), "first come, first served");
    }
    assert_eq!(one.local.wait_queues.waiting(), 0);
    let begin = std::time::Instant::now();
    let wait = Duration::from_millis(200);
    assert_eq!(one.dequeue_within("wait", hidden_for(LONG), wait, &ANN).await.unwrap(), []);
    assert!(begin.elapsed() >= wait);
}

async fn purge(one: &Queues, other: &Queues) {
    for n in 0..50 {
        put(one, "purge", &n.to_string()).await;
    }
    let had = dequeue_one(one, "purge", LONG).await;
    assert_eq!(other.purge("purge", true, Some("mission over"), &ANN).await.unwrap(), 50);
    assert_empty(one, "purge").await;
    assert!(matches!(one.ack(&had.id, None, &ANN).await, Err(QueueError::UnknownMessage(_))));
    let view = other.view("purge").await.unwrap();
    assert_eq!((view.ready, view.in_flight, view.dead, view.enqueued), (0, 0, 0, 50));
    let left = one.page("queue-body/purge/", None, None, 10).await.unwrap();
    assert_eq!(left.entries, [], "payloads are gone with their messages");
    put(one, "purge", "new").await;
    assert_eq!(&dequeue_one(other, "purge", LONG).await.body[..], b"new");
}

async fn rejections(queues: &Queues) {
    let before = queues.page("", None, None, 1).await.unwrap().revision;
    let long = "x".repeat(limits::QUEUE_NAME_BYTES + 1);
    for name in ["", "a/b", "a\nb", &long] {
        assert_eq!(queues.enqueue(name, &[message("a")], &ANN).await, Err(QueueError::InvalidName));
        assert_eq!(queues.dequeue(name, DequeueOptions::default(), &ANN).await, Err(QueueError::InvalidName));
        let dedup = Message { dedup: Some(name.to_owned()), ..message("a") };
        assert_eq!(queues.enqueue("bad", &[dedup], &ANN).await, Err(QueueError::InvalidName));
    }
    let many = vec![message("a"); limits::QUEUE_BATCH_MESSAGES + 1];
    assert_eq!(queues.enqueue("bad", &many, &ANN).await, Err(QueueError::BatchSize(many.len())));
    assert_eq!(queues.enqueue("bad", &[], &ANN).await, Err(QueueError::BatchSize(0)));
    let size = limits::QUEUE_BATCH_BYTES + 1;
    let large = Message { body: vec![0; size].into(), ..Message::default() };
    assert_eq!(queues.enqueue("bad", &[large], &ANN).await, Err(QueueError::TooLarge(size)));
    let urgent = Message { priority: 10, ..message("a") };
    assert_eq!(queues.enqueue("bad", &[urgent], &ANN).await, Err(QueueError::InvalidPriority(10)));
    for time in [Duration::ZERO, Duration::from_millis(499), Duration::from_secs(366 * 86_400)] {
        let error = QueueError::InvalidDuration(time.as_millis());
        let late = Message { delay: Some(time), ..message("a") };
        assert_eq!(queues.enqueue("bad", &[late], &ANN).await, Err(error.clone()));
        assert_eq!(queues.dequeue("bad", hidden_for(time), &ANN).await, Err(error.clone()));
        assert_eq!(queues.extend("bad:0:1:0000000000000000", None, time, &ANN).await, Err(error));
    }
    let unknown = QueueError::UnknownQueue("bad".to_owned());
    assert_eq!(queues.view("bad").await, Err(unknown.clone()));
    assert_eq!(queues.purge("bad", true, None, &ANN).await, Err(unknown));
    for id in ["", "bad", "bad:0:1:0000000000000000"] {
        assert_eq!(queues.ack(id, None, &ANN).await, Err(QueueError::UnknownMessage(id.to_owned())));
    }
    let never = Settings { max_deliveries: 0, ..Settings::default() };
    assert_eq!(queues.configure("bad", never, &ANN).await, Err(QueueError::InvalidDeliveryLimit(0)));
    assert_eq!(queues.page("", None, None, 1).await.unwrap().revision, before, "nothing changed");
}
