//! Concurrent processes, and a process that is killed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::events::tests::*;
use crate::test_support::leave_to_store;

#[tokio::test(flavor = "multi_thread")]
async fn of_four_that_append_each_event_is_there_once_and_none_starves() {
    let folder = Folder::new();
    let logs: Vec<Events> = (0..4).map(|n| folder.events(&format!("node{n}"))).collect();
    let mut writers = Vec::new();
    for (n, log) in logs.iter().cloned().enumerate() {
        for task in 0..3 {
            let log = log.clone();
            writers.push(tokio::spawn(async move {
                let (mut acknowledged, mut worst) = (Vec::new(), Duration::ZERO);
                for turn in 0..20 {
                    let begun = Instant::now();
                    let stream = format!("stream{}", turn % 3);
                    let event =
                        NewEvent { data: json!([n, task, turn]), ..new(&stream, &format!("type{n}"), turn) };
                    acknowledged.push((log.append(event.clone(), Expected::Any).await.unwrap(), event.data));
                    worst = worst.max(begun.elapsed());
                }
                (acknowledged, worst)
            }));
        }
    }
    let (mut all, mut worst) = (Vec::new(), Duration::ZERO);
    for writer in writers {
        let (acknowledged, longest) = writer.await.unwrap();
        all.extend(acknowledged);
        worst = worst.max(longest);
    }
    let seqs: HashSet<u64> = all.iter().map(|(appended, _)| appended.seq).collect();
    assert_eq!(seqs, (1..=240).collect::<HashSet<u64>>(), "dense, each once");
    for (appended, data) in &all {
        let event = logs[0].event(appended.seq).await.unwrap().event;
        assert_eq!((event.version, &event.data), (appended.version, data));
    }
    assert!(worst < Duration::from_secs(10), "{worst:?}");
    let report = sound(&*folder.store(), Some(&trust(&folder.keys()).unwrap()), &[]).await;
    assert_eq!((report.events, report.trusted), (240, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_expect_the_same_version_one_appends() {
    let folder = Folder::new();
    let logs: Vec<Events> = (0..4).map(|n| folder.events(&format!("node{n}"))).collect();
    for version in 0..10 {
        let append = |log: &Events| {
            let log = log.clone();
            tokio::spawn(async move { log.append(new("s", "x", 0), Expected::Exactly(version)).await })
        };
        let racers: Vec<_> = logs.iter().map(append).collect();
        let mut won = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Ok(appended) => won += u64::from(appended.version == version + 1),
                Err(error) => {
                    assert_eq!(error, EventError::Conflict { stream: "s".to_owned(), version: version + 1 });
                }
            }
        }
        assert_eq!(won, 1);
    }
}

/// Answers two of three transactions with `Unknown`; one of these two takes effect.
struct UncertainStore {
    store: Arc<dyn Store>,
    calls: AtomicU32,
}

impl Store for UncertainStore {
    fn txn(&self, txn: crate::store::Txn) -> crate::store::StoreFuture<'_, crate::store::Outcome> {
        Box::pin(async move {
            let unknown = Err(StoreError::Unknown("the line was cut".to_owned()));
            match self.calls.fetch_add(1, Ordering::Relaxed) % 3 {
                0 => self.store.txn(txn).await.and(unknown),
                1 => unknown,
                _ => self.store.txn(txn).await,
            }
        })
    }

    leave_to_store!(range, watch, leases, compact);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_happened_is_looked_up_and_not_done_twice() {
    let folder = Folder::new();
    let store = Arc::new(UncertainStore { store: folder.store(), calls: AtomicU32::new(0) });
    let (events, other) = (Events::new(store, NodeIdentity::ephemeral("one")), folder.events("other"));
    for n in 0..12 {
        let event = new("s", "x", n);
        let appended = tokio::join!(
            events.append(event.clone(), Expected::Any),
            events.append(event, Expected::Any),
            other.append(new("s", "y", n), Expected::Any)
        );
        appended.0.unwrap();
        appended.1.unwrap();
        appended.2.unwrap();
    }
    let count = async |kind: &str| {
        let select = Select::Type(kind.to_owned());
        events.read(Query { select, limit: 100, ..Query::default() }).await.unwrap().events.len()
    };
    assert_eq!((count("x").await, count("y").await), (24, 12));
    sound(&*folder.store(), None, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_process_that_is_killed() {
    let folder = Folder::new();
    let events = folder.events("one");
    for n in 0..30 {
        events.append(new("s", "x", n), Expected::Any).await.unwrap();
    }
    // The files as they are at this moment, nothing closed.
    let copy = Folder::new();
    std::fs::create_dir_all(copy.path().join("store")).unwrap();
    for name in ["roverline.db", "roverline.db-wal"] {
        std::fs::copy(folder.path().join("store").join(name), copy.path().join("store").join(name)).unwrap();
    }
    let trust = trust(&folder.keys()).unwrap();
    let report = sound(&*copy.store(), Some(&trust), &witnesses(&folder.keys()).unwrap()).await;
    assert_eq!(report.last, 30);
    let again = Events::new(copy.store(), NodeIdentity::new("one", &folder.keys()));
    assert_eq!(again.append(new("s", "x", 0), Expected::Exactly(30)).await.unwrap().seq, 31);
    sound(&*copy.store(), Some(&trust), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_long_an_append_takes() {
    for processes in [1, 4] {
        let folder = Folder::new();
        let logs: Vec<Events> = (0..processes).map(|n| folder.events(&format!("node{n}"))).collect();
        let mut tasks = Vec::new();
        for log in logs {
            tasks.push(tokio::spawn(async move {
                let mut taken = Vec::new();
                for n in 0..500 {
                    let begun = Instant::now();
                    log.append(new("s", "x", n), Expected::Any).await.unwrap();
                    taken.push(begun.elapsed());
                }
                taken
            }));
        }
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all.sort();
        let at = |percent: usize| all[(all.len() - 1) * percent / 100];
        println!("{processes}: p50 {:?} p99 {:?} worst {:?}", at(50), at(99), at(100));
    }
}
