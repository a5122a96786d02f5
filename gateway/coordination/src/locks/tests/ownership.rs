//! A lock belongs to the identity that requested it, not to a name.

use crate::client::Client;
use crate::limits;
use crate::locks::tests::handover::wait_for_request;
use crate::locks::tests::*;
use crate::store::{Op, Txn};

const ADA: Client<'static> = Client { identity: Some("ada"), name: "console" };
/// Says the same name.
const MALLORY: Client<'static> = Client { identity: Some("mallory"), name: "console" };

fn is_not_owner<T: std::fmt::Debug>(result: Result<T, LockError>, owner: &str) {
    match result {
        Err(LockError::NotOwner { owner: named, .. }) => assert_eq!(named, owner),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn nobody_else_changes_a_lock_under_its_name(team: &Team) {
    let locks = &team.locks;
    let held = token(locks.acquire("arm", ADA, Exclusive, LONG).await.unwrap());
    let waiting = Client::of("bob", "bob");
    assert_eq!(locks.acquire("arm", waiting, Exclusive, LONG).await.unwrap(), LockStatus::Waiting(1));
    for stranger in [MALLORY, "console".into()] {
        is_not_owner(locks.release("arm", stranger).await, "ada");
        is_not_owner(locks.keep_alive("arm", stranger).await, "ada");
        is_not_owner(locks.status("arm", stranger).await, "ada");
        // Not even a place in the queue is given up in another's name.
        is_not_owner(locks.release("arm", Client { name: "bob", ..stranger }).await, "bob");
    }
    // Under the same name she waits like anybody else, and has her own lease.
    let place = locks.acquire("arm", MALLORY, Exclusive, SHORT).await.unwrap();
    assert_eq!(place, LockStatus::Waiting(2));
    let view = locks.get("arm").await.unwrap().unwrap();
    assert_eq!(view.holders, [holder("console", Some("ada"), held)]);
    assert_eq!(view.waiting, [waits("bob", Some("bob")), waits("console", Some("mallory"))]);
    locks.release("arm", MALLORY).await.unwrap();
    locks.check("arm", held).await.unwrap();
    // Another process, after a failover: the identity is the same.
    Locks::new(locks.store.clone()).release("arm", ADA).await.unwrap();
    token(locks.status("arm", waiting).await.unwrap());
    let refused = locks.acquire("arm", Client::of("", "x"), Exclusive, LONG).await;
    assert_eq!(refused, Err(LockError::InvalidIdentity));
}

pub(super) async fn clients_of_one_identity_are_told_apart_by_name(team: &Team) {
    let (one, other) = (Client::of("127.0.0.1", "one"), Client::of("127.0.0.1", "other"));
    let locks = &team.locks;
    let first = token(locks.acquire("arm", one, Exclusive, LONG).await.unwrap());
    assert_eq!(locks.acquire("arm", other, Exclusive, LONG).await.unwrap(), LockStatus::Waiting(1));
    assert_eq!(token(locks.acquire("arm", one, Exclusive, LONG).await.unwrap()), first, "once more");
    let waiting = tokio::spawn({
        let locks = locks.clone();
        async move { locks.acquire_within("arm", Client::of("127.0.0.1", "other"), Exclusive, LONG, LONG).await }
    });
    for _ in 0..2 {
        locks.release("arm", one).await.unwrap();
    }
    assert!(token(waiting.await.unwrap().unwrap()) > first);
    assert!(matches!(locks.release("arm", one).await, Err(LockError::NotHeld { .. })));
}

pub(super) async fn a_stranger_of_the_same_name_causes_no_deadlock(team: &Team) {
    let (locks, bob) = (&team.locks, Client::of("bob", "bob"));
    locks.acquire("bait", MALLORY, Exclusive, LONG).await.unwrap();
    locks.acquire("arm", bob, Exclusive, LONG).await.unwrap();
    locks.acquire("bait", bob, Exclusive, LONG).await.unwrap();
    // By name alone, ada would wait for bob and bob for ada.
    assert_eq!(locks.acquire("arm", ADA, Exclusive, LONG).await, Ok(LockStatus::Waiting(1)));
    let circle = locks.acquire("arm", MALLORY, Exclusive, LONG).await;
    assert!(matches!(circle, Err(LockError::Deadlock(_))), "{circle:?}");
}

pub(super) async fn a_handover_is_asked_and_answered_by_identity(team: &Team) {
    let locks = &team.locks;
    let bob = Client::of("bob", "bob");
    locks.acquire("arm", bob, Exclusive, LONG).await.unwrap();
    let request = |requester: Client<'static>| {
        let locks = locks.clone();
        tokio::spawn(async move { locks.request_handover("arm", requester, "", LONG, LONG).await })
    };
    let asked = request(ADA);
    wait_for_request(team, "arm").await;
    assert_eq!(locks.handovers(None).await.unwrap()[0].identity.as_deref(), Some("ada"));
    let name = Client::from("console");
    for stranger in [Client { name: "bob", ..MALLORY }, Client { name: "bob", ..ADA }] {
        is_not_owner(locks.grant_handover("arm", stranger, name).await, "bob");
        is_not_owner(locks.refuse_handover("arm", stranger, name, "no").await, "bob");
    }
    let asked_by_mallory = request(MALLORY);
    eventually("both ask", async || (locks.handovers(None).await.unwrap().len() == 2).then_some(())).await;
    for ambiguous in
        [locks.grant_handover("arm", bob, name).await, locks.refuse_handover("arm", bob, name, "").await]
    {
        assert!(matches!(ambiguous, Err(LockError::Ambiguous { .. })), "{ambiguous:?}");
    }
    locks.refuse_handover("arm", bob, MALLORY, "not you").await.unwrap();
    assert_eq!(asked_by_mallory.await.unwrap(), Ok(Handover::Refused("not you".to_owned())));
    locks.grant_handover("arm", bob, name).await.unwrap();
    assert!(matches!(asked.await.unwrap(), Ok(Handover::Granted(_))));
    token(locks.status("arm", ADA).await.unwrap());
    // The waiter that was passed keeps its identity.
    is_not_owner(locks.release("arm", Client { identity: Some("eve"), ..MALLORY }).await, "ada");
    locks.release("arm", ADA).await.unwrap();
    token(locks.status("arm", MALLORY).await.unwrap());
}

pub(super) async fn a_forced_release_names_both_identities(team: &Team) {
    let (locks, chief) = (&team.locks, Client::of("chief", "desk"));
    locks.acquire("arm", ADA, Exclusive, LONG).await.unwrap();
    locks.acquire("arm", MALLORY, Exclusive, LONG).await.unwrap();
    // The identity says which of both is meant; without it, the first in the queue is.
    locks.force_release("arm", MALLORY, chief, "no").await.unwrap();
    locks.force_release("arm", "console", chief, "tea").await.unwrap();
    for (client, reason) in [(ADA, "tea"), (MALLORY, "no")] {
        let taken = locks.keep_alive("arm", client).await.unwrap_err();
        assert_eq!(taken.to_string(), format!("chief (desk) took arm from console: {reason}"));
    }
    assert_eq!(locks.get("arm").await.unwrap(), None);
}

/// Writes what an earlier version wrote: keys without an identity.
async fn write_old(team: &Team, key: &str, value: String) {
    let op = Op::Put { key: key.to_owned(), value: value.into(), lease: None };
    team.locks.store.txn(Txn { success: vec![op], ..Txn::default() }).await.unwrap();
}

pub(super) async fn a_lock_of_an_earlier_version_belongs_to_its_name(team: &Team) {
    let locks = &team.locks;
    for (resource, client) in [("arm", "console"), ("arm", "bob"), ("map", "console")] {
        let lease = locks.store.grant(LONG).await.unwrap();
        let value = format!(r#"{{"mode":"exclusive","held":1,"lease":{},"place":0}}"#, lease.0);
        write_old(team, &format!("locks/{resource}/{client}"), value).await;
    }
    let view = locks.get("arm").await.unwrap().unwrap();
    assert_eq!((view.holders[0].identity.clone(), view.waiting), (None, vec![waits("bob", None)]));
    // It is renewed, acquired again, waited for and released as before, by whoever uses the name.
    locks.keep_alive("arm", ADA).await.unwrap();
    let held = token(locks.acquire("arm", ADA, Exclusive, LONG).await.unwrap());
    assert_eq!(held, view.holders[0].token);
    let waiting = tokio::spawn({
        let locks = locks.clone();
        async move { locks.acquire_within("arm", Client::of("bob", "bob"), Exclusive, LONG, LONG).await }
    });
    assert_eq!(locks.release("arm", ADA).await, Ok(1));
    assert_eq!(locks.release("arm", ADA).await, Ok(0));
    assert!(token(waiting.await.unwrap().unwrap()) > held);
    locks.force_release("map", "console", "chief", "tea").await.unwrap();
    assert!(matches!(locks.release("map", ADA).await, Err(LockError::Taken { .. })));
}

pub(super) async fn the_longest_names_fit_into_keys(team: &Team) {
    let locks = &team.locks;
    let (name, identity) = ("x".repeat(limits::LOCK_NAME_BYTES), "y".repeat(limits::IDENTITY_BYTES));
    let longest = Client::of(&identity, &name);
    locks.acquire(&name, Client::of("bob", "bob"), Exclusive, LONG).await.unwrap();
    locks.acquire(&name, longest, Exclusive, LONG).await.unwrap();
    let requester = Client::of("cat", "cat");
    let (asked, ()) = tokio::join!(locks.request_handover(&name, requester, "", LONG, LONG), async {
        wait_for_request(team, &name).await;
        locks.grant_handover(&name, Client::of("bob", "bob"), requester).await.unwrap();
    });
    assert!(matches!(asked, Ok(Handover::Granted(_))), "{asked:?}");
    locks.release(&name, requester).await.unwrap();
    token(locks.status(&name, longest).await.unwrap());
    locks.force_release(&name, longest, longest, "tea").await.unwrap();
    assert!(matches!(locks.release(&name, longest).await, Err(LockError::Taken { .. })));
    let (asked, ()) = tokio::join!(locks.request_handover(&name, longest, "", LONG, LONG), async {});
    assert!(matches!(asked, Ok(Handover::Granted(_))), "{asked:?}");
}
