//! Lost responses: for some transactions the outcome is unknown.

use crate::queues::tests::*;
use crate::store::{Outcome, Store, StoreError, StoreFuture, Txn};
use crate::test_support::leave_to_store;

/// A store that loses every third transaction response, half of them before the transaction is applied.
struct Lossy {
    store: SqliteStore,
    calls: AtomicU32,
}

impl Store for Lossy {
    fn txn(&self, txn: Txn) -> StoreFuture<'_, Outcome> {
        let lost = StoreError::Unknown("the line went dead".to_owned());
        Box::pin(async move {
            match self.calls.fetch_add(1, Ordering::SeqCst) % 6 {
                0 => Err(lost),
                3 => self.store.txn(txn).await.and(Err(lost)),
                _ => self.store.txn(txn).await,
            }
        })
    }

    leave_to_store!(range, watch, leases, compact);
}

fn lossy(folder: &Folder, calls: u32) -> Queues {
    let calls = AtomicU32::new(calls);
    Queues::new(Arc::new(Lossy { store: folder.store(), calls }))
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_responses_neither_repeat_nor_lose_operations() {
    let folder = Folder::new();
    // Each round starts at another offset, so that every operation meets every kind of loss.
    for begin in 0..6 {
        let queues = lossy(&folder, begin);
        let queue = format!("lossy {begin}");
        for n in 0..12 {
            queues.enqueue(&queue, &[message(&n.to_string())], &ANN).await.unwrap();
        }
        assert_eq!(queues.view(&queue).await.unwrap().enqueued, 12, "each once");
        for n in 0..12 {
            let options = DequeueOptions { max: 1, visibility: Some(Duration::from_secs(600)) };
            let taken = queues.dequeue(&queue, options, &ANN).await.unwrap();
            assert_eq!((bodies(&taken), taken[0].delivery), (vec![n.to_string().as_str()], 1));
            queues.extend(&taken[0].id, Some(1), Duration::from_secs(600), &ANN).await.unwrap();
            queues.nak(&taken[0].id, Some(1), None, None, &ANN).await.unwrap();
            let taken = queues.dequeue(&queue, options, &ANN).await.unwrap();
            assert_eq!((bodies(&taken), taken[0].delivery), (vec![n.to_string().as_str()], 2));
            queues.ack(&taken[0].id, Some(2), &ANN).await.unwrap();
        }
        let view = queues.view(&queue).await.unwrap();
        assert_eq!((view.ready, view.in_flight, view.delayed, view.dead), (0, 0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_responses_are_harmless_with_concurrent_consumers() {
    let folder = Folder::new();
    let workers = (0..3).map(|n| {
        let queues = lossy(&folder, n);
        tokio::spawn(async move {
            let (mut put, mut done) = (Vec::new(), Vec::new());
            for i in 0..20 {
                let body = format!("{n}.{i}");
                queues.enqueue("all", &[message(&body)], &ANN).await.unwrap();
                put.push(body);
                let options = DequeueOptions { max: 1, visibility: Some(Duration::from_secs(600)) };
                for one in queues.dequeue("all", options, &ANN).await.unwrap() {
                    queues.ack(&one.id, Some(one.delivery), &ANN).await.unwrap();
                    done.push(String::from_utf8(one.body.to_vec()).unwrap());
                }
            }
            (put, done)
        })
    });
    let (mut put, mut done) = (Vec::new(), Vec::new());
    for worker in workers.collect::<Vec<_>>() {
        let (mine, got) = worker.await.unwrap();
        put.extend(mine);
        done.extend(got);
    }
    put.sort_unstable();
    done.sort_unstable();
    assert_eq!(done, put, "each message is consumed once");
}
