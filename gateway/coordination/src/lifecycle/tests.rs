mod memory;
mod team;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::lifecycle::*;
use crate::store::{Change, SqliteStore};

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("roverline-lives-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Folder(std::env::temp_dir().join(name))
    }

    fn open(&self) -> Lifecycle {
        Lifecycle::new(Arc::new(SqliteStore::open(&self.0)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at(now_ns: i64) -> Author<'static> {
    Author { by: "test", reason: "a test", manual: false, now_ns }
}

fn by_hand(now_ns: i64) -> Author<'static> {
    Author { by: "ann", reason: "she wants it", manual: true, now_ns }
}

fn rover(address: &str, heartbeat_ms: Option<u64>) -> Description {
    Description { type_name: "rover".to_owned(), address: Some(address.to_owned()), heartbeat_ms }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come about");
        sleep(Duration::from_millis(10)).await;
    }
}

fn state_of(lives: &Lifecycle, name: &Name) -> Option<State> {
    lives.with(|model| model.get(name).map(|view| view.record.state)).flatten()
}

fn views(model: &Model) -> Vec<View> {
    model.select(&Selection::default(), None, usize::MAX).0
}

/// All of it, over two that share one store.
pub(crate) async fn suite(one: &Lifecycle, other: &Lifecycle) {
    a_life(one, other).await;
    refusals(one).await;
    speakers(one, other).await;
    time_travel(one, other).await;
}

async fn a_life(one: &Lifecycle, other: &Lifecycle) {
    let name = Name::robot("curie");
    let view = one.register(&name, &rover("a", None), at(1)).await.unwrap();
    assert_eq!((view.record.state, view.record.fact), (State::Discovered, Fact::Discovered));
    let again = other.register(&name, &rover("a", None), at(2)).await.unwrap();
    assert_eq!(again, view, "the same again changes nothing");
    let moved = other.register(&name, &rover("b", None), at(3)).await.unwrap();
    assert_eq!((moved.record.fact, moved.created), (Fact::Described, view.created));
    let active = one.advance(&name, State::Active, at(4)).await.unwrap();
    assert_eq!((active.record.state, active.record.previous), (State::Active, State::Ready));
    assert_eq!((active.record.since_ns, active.modified.0), (4, moved.modified.0 + 3));
    // Two failures are borne, a success ends the row, three are too many.
    for (n, input) in [1, 2, 0, 1, 2].into_iter().enumerate() {
        let now = at(5 + n as i64);
        let view = if input == 0 { other.success(&name, now).await } else { one.failure(&name, now).await };
        let record = view.unwrap().record;
        assert_eq!((record.state, record.failures, record.since_ns), (State::Active, input, 4));
    }
    let failed = other.failure(&name, at(20)).await.unwrap().record;
    assert_eq!((failed.state, failed.previous, failed.failures), (State::Failed, State::Active, 3));
    assert_eq!((failed.since_ns, failed.fact, failed.reason.as_str()), (20, Fact::Failure, "a test"));
    // A clock that was set back does not make facts older than those before.
    let back = one.transition(&name, State::Provisioning, by_hand(1)).await.unwrap().record;
    assert_eq!((back.at_ns, back.failures, back.by.as_str()), (20, 0, "ann"));
    // Where a person wants it, it stays.
    one.transition(&name, State::Ready, by_hand(21)).await.unwrap();
    let kept = other.advance(&name, State::Active, at(22)).await.unwrap();
    assert!(kept.record.state == State::Ready && kept.is_deployable() && kept.is_healthy());
    one.transition(&name, State::Active, by_hand(23)).await.unwrap();
    let used = other.advance(&name, State::Ready, at(24)).await.unwrap().record;
    assert_eq!((used.state, used.manual), (State::Ready, false), "what is used is handed over");
}

async fn refusals(one: &Lifecycle) {
    let name = Name::endpoint("e:1");
    let nobody = one.transition(&name, State::Ready, at(1)).await;
    assert_eq!(nobody, Err(LifecycleError::NotKnown(name.clone())));
    one.register(&name, &rover("a", None), at(1)).await.unwrap();
    let before = one.scan().await.unwrap().revision();
    let invalid = one.transition(&name, State::Active, at(1)).await.unwrap_err();
    assert!(invalid.to_string().contains("it becomes provisioning or failed"), "{invalid}");
    let long = "x".repeat(limits::LIFECYCLE_NAME_BYTES + 1);
    for bad in ["", "a/b", "a\nb", "a\0", &long] {
        let refused = one.register(&Name::robot(bad), &rover("a", None), at(1)).await;
        assert_eq!(refused, Err(LifecycleError::Name));
        assert_eq!(one.speaker(bad, Duration::from_secs(5)).err(), Some(LifecycleError::Name));
    }
    let text = "x".repeat(limits::LIFECYCLE_TEXT_CHARS + 1);
    let wordy = Author { reason: &text, ..at(1) };
    assert_eq!(one.failure(&name, wordy).await, Err(LifecycleError::Text));
    assert_eq!(one.register(&name, &rover(&text, None), at(1)).await, Err(LifecycleError::Text));
    for ms in [0, limits::LEASE_MIN_MS - 1, limits::LEASE_MAX_MS + 1] {
        let refused = one.register(&name, &rover("a", Some(ms)), at(1)).await;
        assert_eq!(refused, Err(LifecycleError::Heartbeat));
    }
    assert_eq!(one.success(&name, at(9)).await.unwrap().record.at_ns, 1, "there was nothing to end");
    assert_eq!(one.scan().await.unwrap().revision(), before, "nothing changed");
    one.failure(&name, at(2)).await.unwrap();
    assert!(matches!(one.failure(&name, at(3)).await, Err(LifecycleError::Invalid(_))));
}

async fn speakers(one: &Lifecycle, other: &Lifecycle) {
    let (name, second) = (Name::robot("heard"), Name::robot("heard2"));
    one.register(&name, &rover("h", Some(2_000)), at(1)).await.unwrap();
    one.register(&second, &rover("h", Some(2_000)), at(1)).await.unwrap();
    let mut first = one.speaker("p1", Duration::from_secs(60)).unwrap();
    // Longer than a busy machine stands still.
    let mut brief = other.speaker("p2", Duration::from_secs(2)).unwrap();
    first.speak(&BTreeSet::from([name.clone(), second.clone()])).await.unwrap();
    brief.speak(&BTreeSet::from([name.clone()])).await.unwrap();
    let speakers = |model: &Model, name: &Name| model.get(name).unwrap().speakers;
    let model = other.scan().await.unwrap();
    assert_eq!(
        (speakers(&model, &name), speakers(&model, &second)),
        (strings(&["p1", "p2"]), strings(&["p1"]))
    );
    // To speak on writes nothing.
    first.speak(&BTreeSet::from([name.clone(), second.clone()])).await.unwrap();
    assert_eq!(one.scan().await.unwrap().revision(), model.revision());
    first.speak(&BTreeSet::from([second.clone()])).await.unwrap();
    let end = Instant::now() + PATIENCE;
    while !speakers(&one.scan().await.unwrap(), &name).is_empty() {
        assert!(Instant::now() < end, "the lease does not end");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(!one.scan().await.unwrap().get(&name).unwrap().is_alive());
    // Whose lease ended says it again.
    brief.speak(&BTreeSet::from([name.clone()])).await.unwrap();
    assert_eq!(speakers(&one.scan().await.unwrap(), &name), strings(&["p2"]));
    first.fall_silent().await;
    brief.fall_silent().await;
    assert!(speakers(&one.scan().await.unwrap(), &second).is_empty());
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

async fn time_travel(one: &Lifecycle, other: &Lifecycle) {
    let name = Name::robot("travels");
    let base = 1_000_000;
    let mut past = vec![(base, one.register(&name, &rover("t", None), at(base)).await.unwrap())];
    for (n, to) in
        [State::Provisioning, State::Ready, State::Maintenance, State::Ready].into_iter().enumerate()
    {
        let now = base + 10 * (n as i64 + 1);
        past.push((now, other.transition(&name, to, at(now)).await.unwrap()));
    }
    for (now, view) in &past {
        let then = one.as_of(view.modified).await.unwrap();
        assert_eq!((then.get(&name).as_ref(), then.revision()), (Some(view), view.modified));
        for after in [0, 9] {
            assert_eq!(other.as_of_time(now + after).await.unwrap().get(&name).as_ref(), Some(view));
        }
    }
    let before = other.as_of_time(base - 1).await.unwrap();
    assert!(before.get(&name).is_none() && before.get(&Name::robot("curie")).is_some());
    assert!(one.as_of_time(0).await.unwrap().is_empty());
    let newest = one.scan().await.unwrap().revision();
    let future = one.as_of(Revision(newest.0 + 5)).await.unwrap_err();
    assert_eq!(future, LifecycleError::Store(StoreError::Future(newest)));
    // What is not kept is not made up.
    let kept = past[2].1.modified;
    one.store.compact(kept).await.unwrap();
    assert!(matches!(one.as_of(Revision(1)).await, Err(LifecycleError::Store(StoreError::Compacted(_)))));
    assert!(matches!(one.as_of_time(base).await, Err(LifecycleError::Store(StoreError::Compacted(_)))));
    assert_eq!(one.as_of_time(past[2].0).await.unwrap().get(&name).as_ref(), Some(&past[2].1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_alone_and_shared() {
    let folder = Folder::new();
    suite(&folder.open(), &folder.open()).await;
    let alone = Folder::new();
    let lives = alone.open();
    suite(&lives, &lives).await;
}
