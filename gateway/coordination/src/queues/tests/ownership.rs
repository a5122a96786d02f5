//! A message in work belongs to the identity that it was delivered to; dedup ids are per identity.

use crate::queues::record::{Record, VisibilityMarker};
use crate::queues::tests::conformance::{LONG, SHORT, assert_empty, dequeue_one, hidden_for, put};
use crate::queues::tests::*;

const ADA: Actor<'static> = Actor { client: Client { identity: Some("ada"), name: "console" }, now_ns: tick };
const MALLORY: Actor<'static> =
    Actor { client: Client { identity: Some("mallory"), name: "console" }, now_ns: tick };

async fn taken_by(queues: &Queues, queue: &str, actor: &Actor<'_>) -> Delivery {
    queues.dequeue(queue, hidden_for(LONG), actor).await.unwrap().remove(0)
}

pub(super) async fn ownership(one: &Queues, other: &Queues) {
    let id = put(one, "owned", "a").await;
    taken_by(one, "owned", &ADA).await;
    for stranger in [&MALLORY, &ANN] {
        let refused = Err(QueueError::NotOwner { owner: "ada".to_owned() });
        assert_eq!(other.ack(&id, None, stranger).await, refused);
        assert_eq!(other.ack(&id, Some(1), stranger).await, refused);
        assert_eq!(other.nak(&id, None, None, Some("mine"), stranger).await, refused);
        assert_eq!(other.extend(&id, None, LONG, stranger).await, refused);
    }
    // Through another process, after a failover: the identity is the same.
    other.extend(&id, Some(1), LONG, &ADA).await.unwrap();
    assert!(matches!(other.ack(&id, None, &MALLORY).await, Err(QueueError::NotOwner { .. })), "extended");
    assert_eq!(one.force_nak(&id, None, None, "", &MALLORY).await, Err(QueueError::InvalidReason));
    one.force_nak(&id, None, None, "she left", &MALLORY).await.unwrap();
    // It has no owner now, so the next consumer may take it.
    let again = taken_by(one, "owned", &MALLORY).await;
    assert!(matches!(one.ack(&id, None, &ADA).await, Err(QueueError::NotOwner { .. })));
    other.nak(&id, Some(again.delivery), None, None, &MALLORY).await.unwrap();
    // It was given back, so any consumer may take it.
    for anybody in [&ADA, &MALLORY, &ANN] {
        assert_eq!(other.ack(&id, None, anybody).await, Err(QueueError::NotTaken));
    }
    assert_eq!(one.force_ack(&id, None, "", &MALLORY).await, Err(QueueError::InvalidReason));
    one.force_ack(&id, None, "not needed", &MALLORY).await.unwrap();
    assert_empty(one, "owned").await;
    let nobody = Actor { client: Client::of("", "x"), ..ADA };
    assert_eq!(one.dequeue("owned", hidden_for(LONG), &nobody).await, Err(QueueError::InvalidIdentity));
}

/// A message is not in work if it is new, was given back, or has timed out.
pub(super) async fn out_of_work(one: &Queues, other: &Queues) {
    let id = put(one, "idle", "a").await;
    for anybody in [&ADA, &MALLORY, &ANN] {
        assert_eq!(other.ack(&id, None, anybody).await, Err(QueueError::NotTaken), "nobody has taken it");
    }
    let taken = one.dequeue("idle", hidden_for(SHORT), &ADA).await.unwrap().remove(0);
    let is_over = async || one.view("idle").await.unwrap().ready == 1;
    eventually("its time is over", async || is_over().await.then_some(())).await;
    for stranger in [&MALLORY, &ANN] {
        assert_eq!(other.ack(&id, None, stranger).await, Err(QueueError::NotTaken));
        assert_eq!(other.ack(&id, Some(taken.delivery), stranger).await, Err(QueueError::NotTaken));
    }
    // She was late, but no other consumer has taken it since.
    other.ack(&id, Some(taken.delivery), &ADA).await.unwrap();
    assert_empty(one, "idle").await;
    let id = put(one, "idle", "b").await;
    taken_by(one, "idle", &ADA).await;
    other.force_ack(&id, None, "done by hand", &MALLORY).await.unwrap();
    assert_empty(one, "idle").await;
}

pub(super) async fn ids_of_identities(one: &Queues, other: &Queues) {
    let same_id = || Message { dedup: Some("1".to_owned()), ..message("x") };
    let first = one.enqueue("ids", &[same_id()], &ADA).await.unwrap().remove(0);
    let again = other.enqueue("ids", &[same_id()], &ADA).await.unwrap().remove(0);
    assert_eq!((again.duplicate, again.id), (true, first.id.clone()));
    let foreign = other.enqueue("ids", &[same_id()], &MALLORY).await.unwrap().remove(0);
    assert!(!foreign.duplicate && foreign.id != first.id, "{foreign:?}");
    let listed = one.peek("ids", 20).await.unwrap();
    let by: Vec<_> = listed.iter().map(|one| (one.by.as_str(), one.client.as_deref())).collect();
    assert_eq!(by, [("ada", Some("console")), ("mallory", Some("console"))]);
}

/// With a marker without an identity, any client that knows the message's id may settle it. A dedup id without
/// an identity applies to every client.
pub(super) async fn messages_of_an_earlier_version(queues: &Queues) {
    put(queues, "old", "x").await;
    let taken = dequeue_one(queues, "old", LONG).await;
    let marker = serde_json::to_value(VisibilityMarker { delivery: Some(1), by: None, touch: 2 }).unwrap();
    assert_eq!(marker, serde_json::json!({"delivery": 1, "touch": 2}), "as it was written before");
    let record = r#"{"nonce":1,"priority":0,"deliveries":1,"tries":1,"bytes":1,"by":"ann","at_ns":1,
        "last":{"what":"delivered","by":"ann","at_ns":1,"touch":1}}"#;
    let record: Record = serde_json::from_str(record).unwrap();
    assert_eq!((record.client, record.last.from), (None, None));
    queues.extend(&taken.id, None, LONG, &MALLORY).await.unwrap();
    queues.ack(&taken.id, None, &ADA).await.unwrap();
    let same_id = || Message { dedup: Some("2".to_owned()), ..message("x") };
    let first = queues.enqueue("old", &[same_id()], &ANN).await.unwrap().remove(0);
    let again = queues.enqueue("old", &[same_id()], &ADA).await.unwrap().remove(0);
    assert_eq!((again.duplicate, again.id), (true, first.id));
}
