//! Handover scenarios.

use crate::limits;
use crate::locks::tests::*;

const WAIT: Duration = Duration::from_secs(30);

pub(super) async fn wait_for_request(team: &Team, resource: &str) {
    eventually("a handover request", async || {
        (!team.locks.handovers(Some(resource)).await.unwrap().is_empty()).then_some(())
    })
    .await;
}

fn request(
    team: &Team,
    requester: &'static str,
    wait: Duration,
) -> tokio::task::JoinHandle<Result<Handover, LockError>> {
    let locks = team.locks.clone();
    tokio::spawn(async move { locks.request_handover("arm", requester, "the poles first", LONG, wait).await })
}

pub(super) async fn a_lock_is_handed_over_ahead_of_all_waiters(team: &Team) {
    let first = team.held("arm", "ann", Exclusive).await;
    for (position, client) in ["bob", "dan"].into_iter().enumerate() {
        assert_eq!(team.waiting("arm", client, Exclusive).await, position + 1);
    }
    let requesting = request(team, "cat", WAIT);
    wait_for_request(team, "arm").await;
    // A later waiter is not placed ahead of the passed ones.
    assert_eq!(team.waiting("arm", "eve", Exclusive).await, 4);
    let request = team.locks.handovers(None).await.unwrap().remove(0);
    assert_eq!((request.resource.as_str(), request.message.as_str()), ("arm", "the poles first"));
    team.locks.grant_handover("arm", "ann", "cat").await.unwrap();
    let Handover::Granted(mut newest) = requesting.await.unwrap().unwrap() else { panic!("not granted") };
    assert!(newest > first);
    assert!(matches!(team.locks.check("arm", first).await, Err(LockError::Stale { .. })));
    assert!(matches!(team.locks.release("arm", "ann").await, Err(LockError::NotHeld { .. })));
    assert_eq!(team.locks.handovers(None).await.unwrap(), []);
    for pair in ["cat", "bob", "dan", "eve"].windows(2) {
        team.locks.release("arm", pair[0]).await.unwrap();
        let next = token(team.locks.status("arm", pair[1]).await.unwrap());
        assert!(next > newest, "{pair:?}");
        newest = next;
    }
}

pub(super) async fn a_holder_may_refuse_or_not_answer(team: &Team) {
    let first = team.held("arm", "ann", Exclusive).await;
    let requesting = request(team, "cat", WAIT);
    wait_for_request(team, "arm").await;
    let foreign = team.locks.refuse_handover("arm", "cat", "cat", "no").await;
    assert!(matches!(foreign, Err(LockError::NoHandover { .. })));
    team.locks.refuse_handover("arm", "ann", "cat", "in the middle of it").await.unwrap();
    assert_eq!(requesting.await.unwrap(), Ok(Handover::Refused("in the middle of it".to_owned())));
    assert_eq!(team.locks.status("arm", "cat").await.unwrap(), LockStatus::Waiting(1));
    let unanswered = request(team, "cat", Duration::from_secs(1)).await.unwrap();
    assert_eq!(unanswered, Ok(Handover::Unanswered));
    let late = team.locks.grant_handover("arm", "ann", "cat").await;
    assert!(matches!(late, Err(LockError::NotRequested { .. })));
    team.locks.check("arm", first).await.unwrap();
}

pub(super) async fn an_impossible_handover_is_rejected(team: &Team) {
    for client in ["ann", "bob"] {
        team.held("arm", client, Shared).await;
    }
    let requesting = request(team, "cat", WAIT);
    wait_for_request(team, "arm").await;
    let refused = team.locks.grant_handover("arm", "ann", "cat").await;
    assert!(matches!(refused, Err(LockError::NoHandover { .. })), "{refused:?}");
    for client in ["ann", "bob"] {
        team.locks.release("arm", client).await.unwrap();
    }
    // The lock is held by now, without any answer.
    let stranger = team.locks.grant_handover("arm", "ann", "cat").await;
    assert!(matches!(stranger, Err(LockError::NotHeld { .. })));
    requesting.abort();
    let long = "x".repeat(limits::LOCK_REASON_CHARS + 1);
    let outcome = team.locks.request_handover("arm", "dan", &long, LONG, WAIT).await;
    assert_eq!(outcome, Err(LockError::InvalidReason));
}
