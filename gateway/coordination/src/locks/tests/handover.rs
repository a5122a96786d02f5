//! Handing a lock over.

use crate::locks::tests::*;

const WAIT: Duration = Duration::from_secs(30);

async fn asked(team: &Team, resource: &str) {
    while team.locks.handovers(Some(resource)).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn ask(
    team: &Team,
    asker: &'static str,
    wait: Duration,
) -> tokio::task::JoinHandle<Result<Handover, LockError>> {
    let locks = team.locks.clone();
    tokio::spawn(async move { locks.ask_handover("arm", asker, "the poles first", LONG, wait).await })
}

pub(super) async fn a_lock_is_handed_over_before_all_who_wait(team: &Team) {
    let first = team.held("arm", "ann", Exclusive).await;
    for (place, client) in ["bob", "dan"].into_iter().enumerate() {
        assert_eq!(team.waiting("arm", client, Exclusive).await, place + 1);
    }
    let asking = ask(team, "cat", WAIT);
    asked(team, "arm").await;
    // Whoever comes later is not put before those who are passed.
    assert_eq!(team.waiting("arm", "eve", Exclusive).await, 4);
    let request = team.locks.handovers(None).await.unwrap().remove(0);
    assert_eq!((request.resource.as_str(), request.message.as_str()), ("arm", "the poles first"));
    team.locks.grant_handover("arm", "ann", "cat").await.unwrap();
    let Handover::Granted(mut newest) = asking.await.unwrap().unwrap() else { panic!("not granted") };
    assert!(newest > first);
    assert!(matches!(team.locks.check("arm", first).await, Err(LockError::Stale { .. })));
    assert!(matches!(team.locks.release("arm", "ann").await, Err(LockError::NotHeld { .. })));
    assert_eq!(team.locks.handovers(None).await.unwrap(), []);
    for pair in ["cat", "bob", "dan", "eve"].windows(2) {
        team.locks.release("arm", pair[0]).await.unwrap();
        let next = token(team.locks.standing("arm", pair[1]).await.unwrap());
        assert!(next > newest, "{pair:?}");
        newest = next;
    }
}

pub(super) async fn a_holder_may_refuse_or_not_answer(team: &Team) {
    let first = team.held("arm", "ann", Exclusive).await;
    let asking = ask(team, "cat", WAIT);
    asked(team, "arm").await;
    let foreign = team.locks.refuse_handover("arm", "cat", "cat", "no").await;
    assert!(matches!(foreign, Err(LockError::NoHandover { .. })));
    team.locks.refuse_handover("arm", "ann", "cat", "in the middle of it").await.unwrap();
    assert_eq!(asking.await.unwrap(), Ok(Handover::Refused("in the middle of it".to_owned())));
    assert_eq!(team.locks.standing("arm", "cat").await.unwrap(), Standing::Waiting(1));
    let unanswered = ask(team, "cat", Duration::from_secs(1)).await.unwrap();
    assert_eq!(unanswered, Ok(Handover::Unanswered));
    let late = team.locks.grant_handover("arm", "ann", "cat").await;
    assert!(matches!(late, Err(LockError::NotAsked { .. })));
    team.locks.check("arm", first).await.unwrap();
}

pub(super) async fn what_cannot_be_handed_over_is_refused(team: &Team) {
    for client in ["ann", "bob"] {
        team.held("arm", client, Shared).await;
    }
    let asking = ask(team, "cat", WAIT);
    asked(team, "arm").await;
    let refused = team.locks.grant_handover("arm", "ann", "cat").await;
    assert!(matches!(refused, Err(LockError::NoHandover { .. })), "{refused:?}");
    for client in ["ann", "bob"] {
        team.locks.release("arm", client).await.unwrap();
    }
    // It is held by now, without anybody's answer.
    let stranger = team.locks.grant_handover("arm", "ann", "cat").await;
    assert!(matches!(stranger, Err(LockError::NotHeld { .. })));
    asking.abort();
    let long = "x".repeat(limits::LOCK_REASON_CHARS + 1);
    let asked = team.locks.ask_handover("arm", "dan", &long, LONG, WAIT).await;
    assert_eq!(asked, Err(LockError::Reason));
}
