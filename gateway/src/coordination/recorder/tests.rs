use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::events::{Event, Identity, Query};
use crate::lifecycle::{Author, Description, Name};
use crate::locks::LockMode::Exclusive;
use crate::queues::{By, Message, Settings, Take};
use crate::store::SqliteStore;

const LONG: Duration = Duration::from_secs(60);

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        Folder(std::env::temp_dir().join(format!("roverline-recorder-{}-{name}", std::process::id())))
    }

    fn team(&self, node: &str) -> Arc<Coordination> {
        let identity = Identity::passing(node);
        Arc::new(Coordination::over(Arc::new(SqliteStore::open(&self.0)), identity))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_lock_is_recorded_in_order() {
    let folder = Folder::new("locks");
    let team = folder.team("primary");
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

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_and_lives_are_recorded() {
    let folder = Folder::new("others");
    let team = folder.team("primary");
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

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_twice_or_left_out_when_another_goes_on() {
    let folder = Folder::new("changes");
    let (one, other) = (folder.team("primary"), folder.team("secondary"));
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
