//! Tests of the recorder: events of every kind, failover without repeats or losses, and compaction.

use std::sync::Arc;

use serde_json::json;

use crate::client::Client;
use crate::events::{Event, NodeIdentity, Query};
use crate::lifecycle::{Author, Description, EntityId};
use crate::limits;
use crate::locks::LockMode::Exclusive;
use crate::queues::{Actor, DequeueOptions, Message, Settings};
use crate::recorder::*;
use crate::store::{Entry, SqliteStore};
use crate::test_support::eventually;

/// Opens a client of the named store; the same name opens the same store.
type Make<'a> = &'a (dyn Fn(&str) -> Arc<dyn Store> + Sync);

const LONG: Duration = Duration::from_secs(60);

/// A folder of stores, deleted at the end.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn store(&self, name: &str) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.0.path().join(name)))
    }
}

/// One process of a deployment.
fn member(store: Arc<dyn Store>, node: &str) -> Arc<Coordination> {
    Arc::new(Coordination::with_store(store, NodeIdentity::ephemeral(node)))
}

fn clock() -> i64 {
    7
}

/// Records until it is aborted.
fn recording(team: &Arc<Coordination>) -> tokio::task::JoinHandle<()> {
    let team = team.clone();
    tokio::spawn(async move { team.record(clock).await })
}

async fn all(team: &Coordination) -> Vec<Event> {
    let query = Query { limit: 1_000, ..Query::default() };
    let page = team.events.read(query).await.unwrap();
    page.events.into_iter().map(|stored| stored.event).collect()
}

/// All events, once there are at least `count`.
async fn events(team: &Coordination, count: usize) -> Vec<Event> {
    eventually("enough events", async || {
        let all = all(team).await;
        (all.len() >= count).then_some(all)
    })
    .await
}

async fn checkpoints(store: &dyn Store) -> Vec<Entry> {
    scan(store, CHECKPOINT_PREFIX, None).await.unwrap().entries
}

/// Waits for the recorder's checkpoints: from then on it records.
async fn wait_for_checkpoints(team: &Coordination) {
    eventually("checkpoints", async || (checkpoints(&*team.store).await.len() == 4).then_some(())).await;
}

fn kinds(events: &[Event]) -> Vec<(&str, &str)> {
    events.iter().map(|event| (event.kind.as_str(), event.data["client"].as_str().unwrap_or("-"))).collect()
}

async fn lock_events(make: Make<'_>) {
    let team = member(make("locks"), "primary");
    let recording = recording(&team);
    wait_for_checkpoints(&team).await;
    let locks = &team.locks;
    locks.acquire("arm", "ann", Exclusive, LONG).await.unwrap();
    locks.acquire("arm", "bob", Exclusive, LONG).await.unwrap();
    locks.acquire("arm", "cat", Exclusive, LONG).await.unwrap();
    locks.release("arm", "cat").await.unwrap();
    locks.release("arm", "ann").await.unwrap();
    locks.force_release("arm", "bob", "chief", "tea").await.unwrap();
    locks.acquire("arm", "dan", Exclusive, Duration::from_millis(500)).await.unwrap();
    // An expired lease is recorded as well.
    let events = events(&team, 9).await;
    let expected = [
        ("lock.acquired", "ann"),
        ("lock.waiting", "bob"),
        ("lock.waiting", "cat"),
        ("lock.given_up", "cat"),
        ("lock.released", "ann"),
        ("lock.acquired", "bob"),
        ("lock.taken", "bob"),
        ("lock.acquired", "dan"),
        ("lock.released", "dan"),
    ];
    assert_eq!(kinds(&events), expected);
    let taken = &events[6];
    assert_eq!((taken.by.as_deref(), &taken.data["reason"]), (Some("chief"), &json!("tea")));
    assert!(events.iter().all(|event| event.stream == "lock/arm" && event.at_ns == 7));
    recording.abort();
}

async fn events_of_identities(make: Make<'_>) {
    let team = member(make("identities"), "primary");
    let recording = recording(&team);
    wait_for_checkpoints(&team).await;
    let (ada, chief) = (Client::of("ada", "console"), Client::of("chief", "desk"));
    let locks = &team.locks;
    locks.acquire("arm", ada, Exclusive, LONG).await.unwrap();
    let asked = Duration::from_secs(30);
    let (asking, refused) = tokio::join!(
        locks.request_handover("arm", chief, "please", LONG, asked),
        eventually("a refusal", async || locks.refuse_handover("arm", ada, "desk", "no").await.ok()),
    );
    assert!(asking.is_ok(), "{asking:?} {refused:?}");
    locks.force_release("arm", "console", chief, "tea").await.unwrap();
    let by = |client| Actor { client, now_ns: || 9 };
    let message = Message { body: Bytes::from_static(b"1"), ..Message::default() };
    team.queues.enqueue("jobs", &[message], &by(ada)).await.unwrap();
    let got = team.queues.dequeue("jobs", DequeueOptions::default(), &by(ada)).await.unwrap().remove(0);
    team.queues.force_nak(&got.id, None, None, "she left", &by(chief)).await.unwrap();
    let got = team.queues.dequeue("jobs", DequeueOptions::default(), &by(ada)).await.unwrap().remove(0);
    team.queues.force_ack(&got.id, None, "done by hand", &by(chief)).await.unwrap();
    let events = events(&team, 8).await;
    let found = |kind: &str, by: &str, client: &str, from: serde_json::Value| {
        let is_it = |event: &&Event| {
            event.kind == kind
                && (event.by.as_deref(), event.client.as_deref()) == (Some(by), Some(client))
                && event.data["from"] == from
        };
        assert_eq!(events.iter().filter(is_it).count(), 1, "{kind} by {by}: {events:?}");
    };
    found("lock.acquired", "ada", "console", json!(null));
    found("lock.waiting", "chief", "desk", json!(null));
    found("lock.handover_asked", "chief", "desk", json!("chief"));
    found("lock.handover_refused", "ada", "console", json!("chief"));
    found("lock.taken", "chief", "desk", json!("ada"));
    found("lock.acquired", "chief", "desk", json!(null));
    found("queue.taken", "chief", "desk", json!("ada"));
    found("queue.discarded", "chief", "desk", json!("ada"));
    recording.abort();
}

async fn events_before_the_first_recorder(make: Make<'_>) {
    let team = member(make("early"), "primary");
    team.locks.acquire("arm", "ann", Exclusive, LONG).await.unwrap();
    team.locks.force_release("arm", "ann", "chief", "tea").await.unwrap();
    let recording = recording(&team);
    let events = events(&team, 2).await;
    assert_eq!(kinds(&events), [("lock.acquired", "ann"), ("lock.taken", "ann")]);
    recording.abort();
}

async fn dead_letter_and_lifecycle_events(make: Make<'_>) {
    let team = member(make("others"), "primary");
    let recording = recording(&team);
    wait_for_checkpoints(&team).await;
    let actor = Actor { client: "ann".into(), now_ns: || 9 };
    let settings = Settings { max_deliveries: 1, ..Settings::default() };
    team.queues.configure("points", settings, &actor).await.unwrap();
    let message = Message { body: Bytes::from_static(b"1"), ..Message::default() };
    team.queues.enqueue("points", &[message], &actor).await.unwrap();
    let got = team.queues.dequeue("points", DequeueOptions::default(), &actor).await.unwrap().remove(0);
    team.queues.nak(&got.id, None, None, Some("no wheel"), &actor).await.unwrap();
    team.queues.purge("points", true, Some("over"), &actor).await.unwrap();
    let name = EntityId::robot("rover");
    let described = Description { type_name: "rover".to_owned(), address: None, heartbeat_ms: None };
    let author = Author { by: "primary", client: None, reason: "seen", now_ns: 11, manual: false };
    team.lifecycle.register(&name, &described, author).await.unwrap();
    let events = events(&team, 3).await;
    let find = |kind: &str| {
        events.iter().find(|event| event.kind == kind).unwrap_or_else(|| panic!("{kind}: {events:?}"))
    };
    assert_eq!(find("queue.dead_letter").data["reason"], json!("no wheel"));
    assert_eq!(find("queue.purged").data["reason"], json!("over"));
    let transition = find("lifecycle.discovered");
    assert_eq!((transition.stream.as_str(), transition.at_ns), ("lifecycle/robot/rover", 11));
    recording.abort();
}

async fn recorder_failover(make: Make<'_>) {
    let (one, other) = (member(make("changes"), "primary"), member(make("changes"), "secondary"));
    let first = recording(&one);
    wait_for_checkpoints(&one).await;
    let mut recorders = vec![first, recording(&other)];
    for n in 0..30 {
        let client = format!("c{n}");
        one.locks.acquire("arm", &client, Exclusive, LONG).await.unwrap();
        one.locks.release("arm", &client).await.unwrap();
        if n % 10 == 5 {
            // The recorder dies in the middle; its lease lasts a while longer.
            recorders.remove(0).abort();
            recorders.push(recording(if n == 15 { &other } else { &one }));
        }
    }
    let expected: Vec<_> = (0..30)
        .flat_map(|n| {
            [("lock.acquired".to_owned(), format!("c{n}")), ("lock.released".to_owned(), format!("c{n}"))]
        })
        .collect();
    let events = events(&one, expected.len()).await;
    let found: Vec<_> =
        kinds(&events).into_iter().map(|(kind, client)| (kind.to_owned(), client.to_owned())).collect();
    assert_eq!(found, expected);
    recorders.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Runs all scenarios over stores that can be opened more than once.
#[cfg(feature = "etcd")]
pub(crate) async fn suite(make: Make<'_>) {
    lock_events(make).await;
    events_of_identities(make).await;
    events_before_the_first_recorder(make).await;
    dead_letter_and_lifecycle_events(make).await;
    recorder_failover(make).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_events_are_recorded_in_order() {
    let folder = Folder::new();
    lock_events(&|name| folder.store(name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_name_identities_and_what_clients_call_themselves() {
    let folder = Folder::new();
    events_of_identities(&|name| folder.store(name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_before_the_first_recorder_are_recorded() {
    let folder = Folder::new();
    events_before_the_first_recorder(&|name| folder.store(name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_and_lifecycle_transitions_are_recorded() {
    let folder = Folder::new();
    dead_letter_and_lifecycle_events(&|name| folder.store(name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_neither_repeats_nor_loses_events() {
    let folder = Folder::new();
    recorder_failover(&|name| folder.store(name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_keeps_an_event_out_of_the_log() {
    let folder = Folder::new();
    let team = member(folder.store("names"), "primary");
    let recording = recording(&team);
    wait_for_checkpoints(&team).await;
    let long = "x".repeat(limits::LOCK_NAME_BYTES);
    team.locks.acquire(&long, "ann", Exclusive, LONG).await.unwrap();
    for by in ["\n", "", &"é".repeat(limits::EVENT_NAME_BYTES)] {
        team.locks.acquire("arm", "ann", Exclusive, LONG).await.unwrap();
        team.locks.force_release("arm", "ann", by, "tea").await.unwrap();
    }
    let events = events(&team, 7).await;
    assert_eq!(events[0].data["resource"], long.as_str());
    assert!(events[0].stream.starts_with("lock/xxx") && events[0].stream.len() == limits::EVENT_NAME_BYTES);
    let taken = events.iter().filter(|event| event.kind == "lock.taken");
    let by: Vec<_> = taken.map(|event| event.by.as_deref().map(str::len)).collect();
    assert_eq!(by, [None, None, Some(limits::EVENT_NAME_BYTES)]);
    recording.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn unrecorded_history_is_not_compacted() {
    let folder = Folder::new();
    let store = folder.store("places");
    let put = async |key: String, value: u64| {
        let put = Op::Put { key, value: value.to_string().into(), lease: None };
        store.txn(Txn { success: vec![put], ..Txn::default() }).await.unwrap().revision
    };
    let first = put("fact".to_owned(), 1).await;
    put(format!("{CHECKPOINT_PREFIX}far"), 1_000).await;
    put(format!("{CHECKPOINT_PREFIX}behind"), first.next().0).await;
    let (mut compaction, now) = (Compaction::new(&store), tokio::time::Instant::now());
    compaction.compact(now).await.unwrap();
    compaction.compact(now + Duration::from_millis(limits::STORE_HISTORY_MS)).await.unwrap();
    assert!(
        scan(&*store, CHECKPOINT_PREFIX, Some(first.next())).await.is_ok(),
        "what comes behind the place"
    );
    let forgotten = scan(&*store, CHECKPOINT_PREFIX, Some(Revision(0))).await;
    assert!(matches!(forgotten, Err(StoreError::Compacted(_))), "{forgotten:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_event_source_does_not_block_compaction() {
    let folder = Folder::new();
    let team = member(folder.store("ticks"), "primary");
    let recording = recording(&team);
    wait_for_checkpoints(&team).await;
    let begin = newest_revision(&*team.store, CHECKPOINT_PREFIX).await.unwrap();
    // Only locks change; the other sources advance with the next tick.
    team.locks.acquire("arm", "ann", Exclusive, LONG).await.unwrap();
    let mut compaction = Compaction::new(&team.store);
    eventually("all checkpoints advance", async || {
        compaction.compact(tokio::time::Instant::now()).await.unwrap();
        let checkpoints = checkpoints(&*team.store).await;
        let revision = |entry: &Entry| std::str::from_utf8(&entry.value).unwrap().parse::<u64>().unwrap();
        (checkpoints.len() == 4 && checkpoints.iter().all(|entry| revision(entry) > begin.0)).then_some(())
    })
    .await;
    recording.abort();
}
