//! Conformance suite for the event log over every store, and tests specific to SQLite.

mod races;
mod tampering;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::events::*;
use crate::limits;
use crate::store::SqliteStore;

const PATIENCE: Duration = Duration::from_secs(30);

/// A temporary directory, removed at the end of the test.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.0.path().join("store")))
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.0.path().join("keys")
    }

    pub(super) fn events(&self, node: &str) -> Events {
        Events::new(self.store(), NodeIdentity::new(node, &self.keys()))
    }
}

pub(super) fn new(stream: &str, kind: &str, n: i64) -> NewEvent {
    let (stream, kind) = (stream.to_owned(), kind.to_owned());
    NewEvent { stream, kind, at_ns: n, data: json!({"n": n}), ..NewEvent::default() }
}

pub(super) async fn sound(
    store: &dyn Store,
    trust: Option<&TrustedKeys>,
    checkpoints: &[Seal],
) -> VerifyReport {
    let report = verify(&Snapshot::of(store).await.unwrap(), trust, checkpoints).unwrap();
    assert_eq!(report.findings, []);
    report
}

/// Runs all tests over an empty store; `one` and `other` may be views of it from different processes.
pub(crate) async fn suite(one: Arc<dyn Store>, other: Arc<dyn Store>) {
    let keep = Retention { age: Duration::from_secs(1), bytes: u64::MAX };
    let events = Events::with_retention(one.clone(), NodeIdentity::ephemeral("one"), keep);
    let others = Events::new(other, NodeIdentity::ephemeral("other"));
    empty(&events).await;
    let mut follower = others.subscribe(None).await.unwrap();
    expected_versions(&events, &others).await;
    each_once(&events, &others).await;
    read_all_ways(&events, &others).await;
    followed(&events, &others, &mut follower).await;
    refused(&events).await;
    sound(&*one, None, &[]).await;
    removed(&events, &others, &mut follower).await;
    let report = sound(&*one, None, &[]).await;
    assert!(report.first > 1 && report.seals >= 2, "{report:?}");
}

async fn empty(events: &Events) {
    assert_eq!(events.head().await.unwrap(), None);
    assert_eq!(events.read(Query { limit: 10, ..Query::default() }).await.unwrap(), EventPage::default());
    assert_eq!(events.event(1).await, Err(EventError::None(1)));
}

async fn expected_versions(events: &Events, others: &Events) {
    let at = |seq, version| Ok(Appended { seq, version, again: false });
    assert_eq!(events.append(new("a", "begun", 1), Expected::NoStream).await, at(1, 1));
    let conflict = |version| Err(EventError::Conflict { stream: "a".to_owned(), version });
    assert_eq!(others.append(new("a", "begun", 2), Expected::NoStream).await, conflict(1));
    assert_eq!(others.append(new("a", "more", 2), Expected::Exactly(1)).await, at(2, 2));
    // A conflict with the cached head is checked against the store.
    assert_eq!(events.append(new("a", "more", 3), Expected::Exactly(2)).await, at(3, 3));
    assert_eq!(others.append(new("a", "more", 3), Expected::Exactly(2)).await, conflict(3));
    assert_eq!(others.append(new("a", "more", 3), Expected::Exactly(9)).await, conflict(3));
    assert_eq!(others.append(new("a/b", "begun", 4), Expected::Any).await, at(4, 1));
    assert_eq!(events.append(new("b", "begun", 5), Expected::NoStream).await, at(5, 1));
}

async fn each_once(events: &Events, others: &Events) {
    let told = NewEvent { id: Some("told-7".to_owned()), ..new("b", "told", 6) };
    let first = events.append(told.clone(), Expected::Any).await.unwrap();
    assert_eq!((first.seq, first.again), (6, false));
    for again in [events, others] {
        let again = again.append(told.clone(), Expected::NoStream).await.unwrap();
        assert_eq!(again, Appended { again: true, ..first });
    }
    let twice = NewEvent { id: Some("twice".to_owned()), ..new("b", "told", 7) };
    let (a, b) = tokio::join!(
        events.append(twice.clone(), Expected::Any),
        events.append(twice.clone(), Expected::Any)
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.seq, b.seq, a.again != b.again), (7, 7, true));
}

async fn seqs(events: &Events, select: Select, from: Option<u64>, backward: bool, limit: usize) -> Vec<u64> {
    let (mut from, mut seqs, mut pages) = (from, Vec::new(), 0);
    loop {
        let query = Query { select: select.clone(), from, backward, limit };
        let page = events.read(query).await.unwrap();
        assert!(page.events.len() <= limit);
        seqs.extend(page.events.iter().map(|event| event.event.seq));
        pages += 1;
        match page.next {
            Some(next) if pages < 100 => from = Some(next),
            _ => return seqs,
        }
    }
}

async fn read_all_ways(events: &Events, others: &Events) {
    let tied = NewEvent {
        correlation_id: Some("trip".to_owned()),
        causation_id: Some("told-7".to_owned()),
        trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..new("c", "more", 8)
    };
    assert_eq!(events.append(tied.clone(), Expected::Any).await.unwrap().seq, 8);
    for events in [events, others] {
        for limit in [1, 3, 500] {
            assert_eq!(seqs(events, Select::All, None, false, limit).await, [1, 2, 3, 4, 5, 6, 7, 8]);
            assert_eq!(seqs(events, Select::All, None, true, limit).await, [8, 7, 6, 5, 4, 3, 2, 1]);
            assert_eq!(seqs(events, Select::All, Some(6), false, limit).await, [6, 7, 8]);
            assert_eq!(seqs(events, Select::All, Some(3), true, limit).await, [3, 2, 1]);
            let stream = || Select::Stream("a".to_owned());
            assert_eq!(seqs(events, stream(), None, false, limit).await, [1, 2, 3], "and not a/b");
            assert_eq!(seqs(events, stream(), Some(2), false, limit).await, [2, 3]);
            assert_eq!(seqs(events, stream(), Some(2), true, limit).await, [2, 1]);
            assert_eq!(seqs(events, stream(), Some(7), true, limit).await, [3, 2, 1]);
            assert_eq!(seqs(events, Select::Type("more".to_owned()), None, true, limit).await, [8, 3, 2]);
            assert_eq!(seqs(events, Select::Correlation("trip".to_owned()), None, false, limit).await, [8]);
            assert_eq!(seqs(events, Select::Type("mor".to_owned()), None, false, limit).await, [0; 0]);
        }
        assert_eq!(seqs(events, Select::All, Some(9), false, 5).await, [0; 0]);
    }
    let event = others.event(8).await.unwrap();
    assert_eq!(event.event.trace, tied.trace);
    assert_eq!((event.event.data, event.event.node.as_str()), (tied.data, "one"));
    assert_eq!(events.head().await.unwrap().unwrap().hash, event.hash);
}

async fn next(follower: &mut Subscription) -> Result<u64, EventError> {
    let next = tokio::time::timeout(PATIENCE, follower.next()).await.expect("nothing comes");
    next.map(|event| event.event.seq)
}

async fn followed(events: &Events, others: &Events, follower: &mut Subscription) {
    for seq in 1..=8 {
        assert_eq!(next(follower).await, Ok(seq));
    }
    let mut late = events.subscribe(Some(7)).await.unwrap();
    assert_eq!((next(&mut late).await, next(&mut late).await), (Ok(7), Ok(8)));
    let mut idle = events.subscribe(None).await.unwrap();
    // More than are delivered live.
    let count = limits::EVENT_LIVE_EVENTS as u64 + 40;
    for n in 0..count {
        let writer = if n % 2 == 0 { events } else { others };
        assert_eq!(writer.append(new("d", "counted", n as i64), Expected::Any).await.unwrap().seq, 9 + n);
    }
    for follower in [follower, &mut late, &mut idle] {
        for seq in 9..9 + count {
            assert_eq!(next(follower).await, Ok(seq));
        }
    }
}

async fn refused(events: &Events) {
    let before = events.head().await.unwrap();
    let long = "x".repeat(limits::EVENT_ID_BYTES + 1);
    for name in ["", "a\u{1f}b", "a\0", &long] {
        for bad in [
            new(name, "x", 0),
            new("x", name, 0),
            NewEvent { id: Some(name.to_owned()), ..new("x", "x", 0) },
            NewEvent { correlation_id: Some(name.to_owned()), ..new("x", "x", 0) },
        ] {
            assert!(matches!(events.append(bad, Expected::Any).await, Err(EventError::Bad(_))));
        }
    }
    let data = Value::String("x".repeat(limits::EVENT_DATA_BYTES - 1));
    let huge = NewEvent { data, ..new("x", "x", 0) };
    let size = limits::EVENT_DATA_BYTES + 1;
    assert_eq!(events.append(huge, Expected::Any).await, Err(EventError::Long(size)));
    assert_eq!(events.head().await.unwrap(), before, "nothing changed");
}

async fn removed(events: &Events, others: &Events, follower: &mut Subscription) {
    events.append(new("e", "more", 1), Expected::Any).await.unwrap();
    while next(follower).await.unwrap() < events.head().await.unwrap().unwrap().seq {}
    assert_eq!(events.prune().await.unwrap(), 0, "none is older than a second");
    // One wrong clock removes nothing; most of the newest events have to agree.
    others.append(new("b", "2038", i64::MAX), Expected::Any).await.unwrap();
    assert_eq!(events.prune().await.unwrap(), 0, "one event says nothing");
    others.append(new("b", "old", 5), Expected::Any).await.unwrap();
    let mut version = None;
    for _ in 0..31 {
        version = Some(others.append(new("b", "late", 2_000_000_000), Expected::Any).await.unwrap());
    }
    let version = version.unwrap();
    let seq = version.seq - 30;
    while next(follower).await.unwrap() < version.seq {}
    assert_eq!(events.prune().await.unwrap(), seq - 1);
    let floor = events.floor().await.unwrap().unwrap();
    assert_eq!((floor.seq, events.head().await.unwrap().unwrap().seq), (seq - 1, seq + 30));
    let kept: Vec<u64> = (seq..=seq + 30).collect();
    assert_eq!(seqs(others, Select::All, None, false, 10).await, kept);
    let backward = seqs(others, Select::Stream("b".to_owned()), None, true, 10).await;
    assert!(backward.iter().rev().eq(&kept), "{backward:?}");
    for from in [1, seq - 1] {
        let query = Query { from: Some(from), limit: 1, ..Query::default() };
        assert_eq!(events.read(query).await, Err(EventError::Removed(seq)));
        assert_eq!(events.event(from).await, Err(EventError::Removed(seq)));
    }
    let mut behind = events.subscribe(Some(1)).await.unwrap();
    assert_eq!(next(&mut behind).await, Err(EventError::Removed(seq)));
    assert_eq!(next(&mut behind).await, Ok(seq), "and goes on");
    // The versions of a stream continue after a removal.
    let after = others.append(new("b", "late", 2_000_000_000), Expected::Exactly(version.version)).await;
    assert_eq!(after.unwrap().version, version.version + 1);
    assert_eq!(next(follower).await, Ok(version.seq + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_on_a_file_that_is_shared() {
    let folder = Folder::new();
    suite(folder.store(), folder.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_goes_from_the_front() {
    let folder = Folder::new();
    let keep = Retention { age: Duration::from_secs(3_600), bytes: 20_000 };
    let events = Events::with_retention(folder.store(), NodeIdentity::new("one", &folder.keys()), keep);
    for n in 0..200 {
        events.append(new("s", "x", n), Expected::Any).await.unwrap();
    }
    assert!(events.prune().await.unwrap() > 50);
    let (head, floor) = (events.head().await.unwrap().unwrap(), events.floor().await.unwrap().unwrap());
    assert!(head.bytes - floor.bytes <= 20_000 && head.bytes - floor.bytes > 15_000, "{head:?} {floor:?}");
    let trust = trust(&folder.keys()).unwrap();
    let report = sound(&*folder.store(), Some(&trust), &witnesses(&folder.keys()).unwrap()).await;
    assert_eq!((report.first, report.last), (floor.seq + 1, 200));
}
