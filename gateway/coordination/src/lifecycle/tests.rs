//! Tests of lifecycle records: conformance of one and of two processes on a store, a team, and memory bounds.

mod memory;
mod team;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::lifecycle::*;
use crate::limits;
use crate::store::{Change, SqliteStore};
use crate::test_support::{DEADLINE, eventually};

/// A store of its own, deleted at the end.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Lifecycle {
        Lifecycle::new(Arc::new(SqliteStore::open(&self.0.path().join("store"))))
    }
}

fn at(now_ns: i64) -> Author<'static> {
    Author { by: "test", client: None, reason: "a test", manual: false, now_ns }
}

fn by_hand(now_ns: i64) -> Author<'static> {
    Author { by: "ann", client: None, reason: "she wants it", manual: true, now_ns }
}

fn rover(address: &str, heartbeat_ms: Option<u64>) -> Description {
    Description { type_name: "rover".to_owned(), address: Some(address.to_owned()), heartbeat_ms }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, async || holds().then_some(())).await;
}

fn state_of(lifecycle: &Lifecycle, entity: &EntityId) -> Option<State> {
    lifecycle.with(|model| model.get(entity).map(|view| view.record.state)).flatten()
}

fn views(model: &Model) -> Vec<View> {
    model.select(&Selection::default(), None, usize::MAX).0
}

/// Runs all scenarios over two services that share a store.
pub(crate) async fn suite(one: &Lifecycle, other: &Lifecycle) {
    a_lifecycle(one, other).await;
    rejections(one).await;
    senders(one, other).await;
    time_travel(one, other).await;
}

async fn a_lifecycle(one: &Lifecycle, other: &Lifecycle) {
    let entity = EntityId::robot("curie");
    let view = one.register(&entity, &rover("a", None), at(1)).await.unwrap();
    assert_eq!((view.record.state, view.record.transition), (State::Discovered, Transition::Discovered));
    let again = other.register(&entity, &rover("a", None), at(2)).await.unwrap();
    assert_eq!(again, view, "the same again changes nothing");
    let moved = other.register(&entity, &rover("b", None), at(3)).await.unwrap();
    assert_eq!((moved.record.transition, moved.created), (Transition::Described, view.created));
    let active = one.advance(&entity, State::Active, at(4)).await.unwrap();
    assert_eq!((active.record.state, active.record.previous), (State::Active, State::Ready));
    assert_eq!((active.record.since_ns, active.modified.0), (4, moved.modified.0 + 3));
    // Two failures are tolerated, a success resets the count, the third one in a row is too many.
    for (n, input) in [1, 2, 0, 1, 2].into_iter().enumerate() {
        let now = at(5 + n as i64);
        let view =
            if input == 0 { other.success(&entity, now).await } else { one.failure(&entity, now).await };
        let record = view.unwrap().record;
        assert_eq!((record.state, record.failures, record.since_ns), (State::Active, input, 4));
    }
    let failed = other.failure(&entity, at(20)).await.unwrap().record;
    assert_eq!((failed.state, failed.previous, failed.failures), (State::Failed, State::Active, 3));
    assert_eq!(
        (failed.since_ns, failed.transition, failed.reason.as_str()),
        (20, Transition::Failure, "a test")
    );
    // A clock that was set back does not make transitions older than earlier ones.
    let back = one.transition(&entity, State::Provisioning, by_hand(1)).await.unwrap().record;
    assert_eq!((back.at_ns, back.failures, back.by.as_str()), (20, 0, "ann"));
    // An operator pins the state.
    one.transition(&entity, State::Ready, by_hand(21)).await.unwrap();
    let kept = other.advance(&entity, State::Active, at(22)).await.unwrap();
    assert!(kept.record.state == State::Ready && kept.is_deployable() && kept.is_healthy());
    one.transition(&entity, State::Active, by_hand(23)).await.unwrap();
    let used = other.advance(&entity, State::Ready, at(24)).await.unwrap().record;
    assert_eq!((used.state, used.manual), (State::Ready, false), "what is used is handed over");
}

async fn rejections(one: &Lifecycle) {
    let entity = EntityId::endpoint("e:1");
    let nobody = one.transition(&entity, State::Ready, at(1)).await;
    assert_eq!(nobody, Err(LifecycleError::Unknown(entity.clone())));
    one.register(&entity, &rover("a", None), at(1)).await.unwrap();
    let before = one.scan().await.unwrap().revision();
    let invalid = one.transition(&entity, State::Active, at(1)).await.unwrap_err();
    assert!(invalid.to_string().contains("it becomes provisioning or failed"), "{invalid}");
    let long = "x".repeat(limits::LIFECYCLE_NAME_BYTES + 1);
    for bad in ["", "a/b", "a\nb", "a\0", &long] {
        let refused = one.register(&EntityId::robot(bad), &rover("a", None), at(1)).await;
        assert_eq!(refused, Err(LifecycleError::InvalidName));
        assert_eq!(
            one.heartbeat_sender(bad, Duration::from_secs(5)).err(),
            Some(LifecycleError::InvalidName)
        );
    }
    let text = "x".repeat(limits::LIFECYCLE_TEXT_CHARS + 1);
    let wordy = Author { reason: &text, ..at(1) };
    assert_eq!(one.failure(&entity, wordy).await, Err(LifecycleError::TextTooLong));
    assert_eq!(one.register(&entity, &rover(&text, None), at(1)).await, Err(LifecycleError::TextTooLong));
    for ms in [0, limits::LEASE_MIN_MS - 1, limits::LEASE_MAX_MS + 1] {
        let refused = one.register(&entity, &rover("a", Some(ms)), at(1)).await;
        assert_eq!(refused, Err(LifecycleError::InvalidHeartbeat));
    }
    assert_eq!(one.success(&entity, at(9)).await.unwrap().record.at_ns, 1, "there was nothing to end");
    assert_eq!(one.scan().await.unwrap().revision(), before, "nothing changed");
    one.failure(&entity, at(2)).await.unwrap();
    assert!(matches!(one.failure(&entity, at(3)).await, Err(LifecycleError::InvalidTransition(_))));
}

async fn senders(one: &Lifecycle, other: &Lifecycle) {
    let (entity, second) = (EntityId::robot("alive"), EntityId::robot("alive2"));
    one.register(&entity, &rover("h", Some(2_000)), at(1)).await.unwrap();
    one.register(&second, &rover("h", Some(2_000)), at(1)).await.unwrap();
    let mut first = one.heartbeat_sender("p1", Duration::from_secs(60)).unwrap();
    // Longer than a busy machine pauses.
    let mut brief = other.heartbeat_sender("p2", Duration::from_secs(2)).unwrap();
    first.beat(&BTreeSet::from([entity.clone(), second.clone()])).await.unwrap();
    brief.beat(&BTreeSet::from([entity.clone()])).await.unwrap();
    let senders = |model: &Model, entity: &EntityId| model.get(entity).unwrap().senders;
    let model = other.scan().await.unwrap();
    assert_eq!(
        (senders(&model, &entity), senders(&model, &second)),
        (strings(&["p1", "p2"]), strings(&["p1"]))
    );
    // A repeated heartbeat writes nothing.
    first.beat(&BTreeSet::from([entity.clone(), second.clone()])).await.unwrap();
    assert_eq!(one.scan().await.unwrap().revision(), model.revision());
    first.beat(&BTreeSet::from([second.clone()])).await.unwrap();
    eventually("the lease ends", async || {
        senders(&one.scan().await.unwrap(), &entity).is_empty().then_some(())
    })
    .await;
    assert!(!one.scan().await.unwrap().get(&entity).unwrap().is_alive());
    // A sender whose lease has ended starts over.
    brief.beat(&BTreeSet::from([entity.clone()])).await.unwrap();
    assert_eq!(senders(&one.scan().await.unwrap(), &entity), strings(&["p2"]));
    first.stop().await;
    brief.stop().await;
    assert!(senders(&one.scan().await.unwrap(), &second).is_empty());
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

async fn time_travel(one: &Lifecycle, other: &Lifecycle) {
    let entity = EntityId::robot("travels");
    let base = 1_000_000;
    let mut past = vec![(base, one.register(&entity, &rover("t", None), at(base)).await.unwrap())];
    for (n, to) in
        [State::Provisioning, State::Ready, State::Maintenance, State::Ready].into_iter().enumerate()
    {
        let now = base + 10 * (n as i64 + 1);
        past.push((now, other.transition(&entity, to, at(now)).await.unwrap()));
    }
    for (now, view) in &past {
        let then = one.as_of(view.modified).await.unwrap();
        assert_eq!((then.get(&entity).as_ref(), then.revision()), (Some(view), view.modified));
        for after in [0, 9] {
            assert_eq!(other.as_of_time(now + after).await.unwrap().get(&entity).as_ref(), Some(view));
        }
    }
    let before = other.as_of_time(base - 1).await.unwrap();
    assert!(before.get(&entity).is_none() && before.get(&EntityId::robot("curie")).is_some());
    assert!(one.as_of_time(0).await.unwrap().is_empty());
    let newest = one.scan().await.unwrap().revision();
    let future = one.as_of(Revision(newest.0 + 5)).await.unwrap_err();
    assert_eq!(future, LifecycleError::Store(StoreError::Future(newest)));
    // Compacted history is an error.
    let kept = past[2].1.modified;
    one.store.compact(kept).await.unwrap();
    assert!(matches!(one.as_of(Revision(1)).await, Err(LifecycleError::Store(StoreError::Compacted(_)))));
    assert!(matches!(one.as_of_time(base).await, Err(LifecycleError::Store(StoreError::Compacted(_)))));
    assert_eq!(one.as_of_time(past[2].0).await.unwrap().get(&entity).as_ref(), Some(&past[2].1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_alone_and_shared() {
    let folder = Folder::new();
    suite(&folder.open(), &folder.open()).await;
    let alone = Folder::new();
    let lifecycle = alone.open();
    suite(&lifecycle, &lifecycle).await;
}
