//! Quotas of one author: messages and bytes in all queues, and bytes written per minute.

use crate::queues::tests::conformance::dequeue_one;
use crate::queues::tests::*;
use crate::quota::QuotaError;

const ADA: Actor<'static> = Actor { client: Client { identity: Some("ada"), name: "console" }, now_ns: tick };

const SMALL: QuotaLimits =
    QuotaLimits { owner_entries: 2, owner_bytes: 100, entries: 3, bytes: 150, owner_bytes_per_minute: 1_000 };

fn with_quota(folder: &Folder, limits: QuotaLimits) -> Queues {
    let store: Arc<dyn Store> = Arc::new(folder.store());
    let quota = Quota::new(store.clone(), keys::ALL, record::counted, limits);
    Queues { quota: Arc::new(quota), ..Queues::new(store) }
}

/// The quota that refuses messages of these sizes.
async fn refusal(queues: &Queues, queue: &str, sizes: &[usize], actor: &Actor<'_>) -> Option<QuotaError> {
    let messages: Vec<_> = sizes.iter().map(|size| message(&"x".repeat(*size))).collect();
    match queues.enqueue(queue, &messages, actor).await {
        Ok(_) => None,
        Err(QueueError::Quota(quota)) => Some(quota),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_author_are_bounded_in_all_queues_together() {
    let folder = Folder::new();
    let queues = with_quota(&folder, SMALL);
    assert_eq!(refusal(&queues, "a", &[1, 1, 1], &ANN).await, Some(QuotaError::OwnerEntries(2)));
    assert!(queues.peek("a", 20).await.is_err(), "nothing was written, not even the queue");
    assert_eq!(refusal(&queues, "a", &[60], &ANN).await, None);
    assert_eq!(refusal(&queues, "b", &[41], &ANN).await, Some(QuotaError::OwnerBytes(100)));
    assert_eq!(refusal(&queues, "b", &[40], &ANN).await, None);
    assert_eq!(refusal(&queues, "b", &[51], &ADA).await, Some(QuotaError::Bytes(150)));
    assert_eq!(refusal(&queues, "b", &[50], &ADA).await, None);
    assert_eq!(refusal(&queues, "c", &[0], &ADA).await, Some(QuotaError::Entries(3)));
    assert_eq!(queues.usage().refused_stored, 4);
    // Work that is done is given back.
    let taken = dequeue_one(&queues, "a", Duration::from_secs(600)).await;
    queues.ack(&taken.id, None, &ANN).await.unwrap();
    eventually("it is given back", async || {
        let refused = refusal(&queues, "a", &[10], &ANN).await;
        refused.is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_writes_so_much_in_a_minute() {
    let folder = Folder::new();
    let queues = with_quota(&folder, QuotaLimits { owner_bytes_per_minute: 50, ..SMALL });
    assert_eq!(refusal(&queues, "a", &[50], &ANN).await, None);
    let taken = dequeue_one(&queues, "a", Duration::from_secs(600)).await;
    queues.ack(&taken.id, None, &ANN).await.unwrap();
    // Nothing is kept, and yet it was written.
    let refused = refusal(&queues, "a", &[1], &ANN).await;
    assert!(matches!(refused, Some(QuotaError::Pace { bytes: 50, .. })), "{refused:?}");
    assert_eq!(refusal(&queues, "a", &[50], &ADA).await, None);
    assert_eq!(queues.usage().refused_pace, 1);
}
