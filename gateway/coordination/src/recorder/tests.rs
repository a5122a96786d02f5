use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use crate::events::{Event, Identity, Query};
use crate::lifecycle::{Author, Description, Name};
use crate::locks::LockMode::Exclusive;
use crate::queues::{By, Message, Settings, Take};
use crate::recorder::*;
use crate::store::SqliteStore;

/// A client of the store of this name; the same name is the same store.
type Make<'a> = &'a (dyn Fn(&str) -> Arc<dyn Store> + Sync);

const LONG: Duration = Duration::from_secs(60);

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Folder(std::env::temp_dir().join(format!("roverline-recorder-{}-{n}", std::process::id())))
    }

    fn store(&self, name: &str) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.0.join(name)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One process of a team.
fn member(store: Arc<dyn Store>, node: &str) -> Arc<Coordination> {
    Arc::new(Coordination::over(store, Identity::passing(node)))
}

fn clock() -> i64 {
    7
}

/// Records until it is dropped.
fn recording(team: &Arc<Coordination>) -> tokio::task::JoinHandle<()> {
    let team = team.clone();
    tokio::spawn(async move { team.record(clock).await })
}

async fn all(team: &Coordination) -> Vec<Event> {
    let query = Query { limit: 1_000, ..Query::default() };
    let page = team.events.read(query).await.unwrap();
    page.events.into_iter().map(|stored| stored.event).collect()
}

/// All events, as soon as there are so many.
async fn events(team: &Coordination, count: usize) -> Vec<Event> {
    let enough = async {
        loop {
            let all = all(team).await;
            if all.len() >= count {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, enough).await.expect("too few events")
}

/// Until a recorder has its place: what was before it came is not its business.
async fn begun(team: &Coordination) {
    while snapshot(&*team.store, PLACE, newest(&*team.store).await.unwrap()).await.unwrap().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn kinds(events: &[Event]) -> Vec<(&str, &str)> {
    events.iter().map(|event| (event.kind.as_str(), event.data["client"].as_str().unwrap_or("-"))).collect()
}

async fn what_becomes_of_a_lock(make: Make<'_>) {
    let team = member(make("locks"), "primary");
    let recording = recording(&team);
    begun(&team).await;
    let locks = &team.locks;
    locks.acquire("arm", "ann", Exclusive, LONG).await.unwrap();
    locks.acquire("arm", "bob", Exclusive, LONG).await.unwrap();
    locks.acquire("arm", "cat", Exclusive, LONG).await.unwrap();
    locks.release("arm", "cat").await.unwrap();
    locks.release("arm", "ann").await.unwrap();
    locks.force_release("arm", "bob", "chief", "tea").await.unwrap();
    locks.acquire("arm", "dan", Exclusive, Duration::from_millis(500)).await.unwrap();
    // Its lease ends by itself, and that is a fact as well.
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

async fn dead_letters_and_lives(make: Make<'_>) {
    let team = member(make("others"), "primary");
    let recording = recording(&team);
    begun(&team).await;
    let by = By { who: "ann", now_ns: || 9 };
    let settings = Settings { max_deliveries: 1, ..Settings::default() };
    team.queues.configure("points", settings, &by).await.unwrap();
    let message = Message { body: Bytes::from_static(b"1"), ..Message::default() };
    team.queues.enqueue("points", &[message], &by).await.unwrap();
    let got = team.queues.dequeue("points", Take::default(), &by).await.unwrap().remove(0);
    team.queues.nak(&got.id, None, None, Some("no wheel"), &by).await.unwrap();
    team.queues.purge("points", true, Some("over"), &by).await.unwrap();
    let name = Name::robot("rover");
    let described = Description { type_name: "rover".to_owned(), address: None, heartbeat_ms: None };
    let author = Author { by: "primary", reason: "seen", now_ns: 11, manual: false };
    team.lifecycle.register(&name, &described, author).await.unwrap();
    let events = events(&team, 3).await;
    let find = |kind: &str| {
        events.iter().find(|event| event.kind == kind).unwrap_or_else(|| panic!("{kind}: {events:?}"))
    };
    assert_eq!(find("queue.dead_letter").data["reason"], json!("no wheel"));
    assert_eq!(find("queue.purged").data["reason"], json!("over"));
    let life = find("lifecycle.discovered");
    assert_eq!((life.stream.as_str(), life.at_ns), ("lifecycle/robot/rover", 11));
    recording.abort();
}

async fn another_goes_on(make: Make<'_>) {
    let (one, other) = (member(make("changes"), "primary"), member(make("changes"), "secondary"));
    let first = recording(&one);
    begun(&one).await;
    let mut recorders = vec![first, recording(&other)];
    for n in 0..30 {
        let client = format!("c{n}");
        one.locks.acquire("arm", &client, Exclusive, LONG).await.unwrap();
        one.locks.release("arm", &client).await.unwrap();
        if n % 10 == 5 {
            // Without a word, in the middle of it; its lease goes on for a while.
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

/// All of it, over stores that can be opened more than once.
#[cfg(feature = "etcd")]
pub(crate) async fn suite(make: Make<'_>) {
    what_becomes_of_a_lock(make).await;
    dead_letters_and_lives(make).await;
    another_goes_on(make).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_lock_is_recorded_in_order() {
    let folder = Folder::new();
    what_becomes_of_a_lock(&|name| folder.store(name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_and_lives_are_recorded() {
    let folder = Folder::new();
    dead_letters_and_lives(&|name| folder.store(name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_twice_or_left_out_when_another_goes_on() {
    let folder = Folder::new();
    another_goes_on(&|name| folder.store(name)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_keeps_a_fact_out_of_the_log() {
    let folder = Folder::new();
    let team = member(folder.store("names"), "primary");
    let recording = recording(&team);
    begun(&team).await;
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
async fn what_is_not_recorded_yet_is_not_forgotten() {
    let folder = Folder::new();
    let store = folder.store("places");
    let put = async |key: String, value: u64| {
        let put = Op::Put { key, value: value.to_string().into(), lease: None };
        store.txn(Txn { success: vec![put], ..Txn::default() }).await.unwrap().revision
    };
    let first = put("fact".to_owned(), 1).await;
    put(format!("{PLACE}far"), 1_000).await;
    put(format!("{PLACE}behind"), first.next().0).await;
    let (mut compaction, now) = (Compaction::new(&store), tokio::time::Instant::now());
    compaction.compact(now).await.unwrap();
    compaction.compact(now + Duration::from_millis(limits::STORE_PAST_MS)).await.unwrap();
    assert!(snapshot(&*store, PLACE, first.next()).await.is_ok(), "what comes behind the place");
    let forgotten = snapshot(&*store, PLACE, Revision(0)).await;
    assert!(matches!(forgotten, Err(StoreError::Compacted(_))), "{forgotten:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_in_which_nothing_happens_does_not_keep_the_past() {
    let folder = Folder::new();
    let team = member(folder.store("ticks"), "primary");
    let recording = recording(&team);
    begun(&team).await;
    let begin = newest(&*team.store).await.unwrap();
    // Only locks are used; the others have seen as much when the next tick has come.
    team.locks.acquire("arm", "ann", Exclusive, LONG).await.unwrap();
    let all_are_further = async {
        loop {
            let mut compaction = Compaction::new(&team.store);
            compaction.compact(tokio::time::Instant::now()).await.unwrap();
            let at = newest(&*team.store).await.unwrap();
            let places = snapshot(&*team.store, PLACE, at).await.unwrap();
            let place = |entry: &Entry| std::str::from_utf8(&entry.value).unwrap().parse::<u64>().unwrap();
            if places.len() == 3 && places.iter().all(|entry| place(entry) > begin.0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG, all_are_further).await.expect("a part stays behind");
    recording.abort();
}
