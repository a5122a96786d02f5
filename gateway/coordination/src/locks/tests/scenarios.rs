//! Lock scenarios that every store must satisfy.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use crate::limits;
use crate::locks::tests::handover::wait_for_request;
use crate::locks::tests::*;
use crate::store::{Op, StoreError, Txn};

pub(super) async fn waiters_are_served_in_request_order_with_rising_tokens(team: &Team) {
    let clients = ["ann", "zoe", "bob"];
    let mut newest = team.held("arm", clients[0], Exclusive).await;
    assert_eq!(team.waiting("arm", clients[1], Exclusive).await, 1);
    assert_eq!(team.waiting("arm", clients[2], Exclusive).await, 2);
    assert_eq!(team.waiting("arm", clients[1], Exclusive).await, 1, "asking again changes nothing");
    let view = team.locks.list().await.unwrap().0.remove(0);
    assert_eq!(
        (view.holders, view.waiting),
        (vec![holder("ann", None, newest)], vec![waits("zoe", None), waits("bob", None)])
    );
    for pair in clients.windows(2) {
        team.locks.check("arm", newest).await.unwrap();
        team.locks.release("arm", pair[0]).await.unwrap();
        let next = token(team.locks.status("arm", pair[1]).await.unwrap());
        assert!(next > newest);
        let stale = LockError::Stale { resource: "arm".to_owned(), given: newest.0 };
        assert_eq!(team.locks.check("arm", newest).await, Err(stale));
        newest = next;
    }
    team.locks.release("arm", "bob").await.unwrap();
    assert_eq!(team.locks.list().await.unwrap().0, []);
    assert!(matches!(team.locks.release("arm", "bob").await, Err(LockError::NotHeld { .. })));
    assert!(team.held("arm", "ann", Exclusive).await > newest);
}

pub(super) async fn shared_holders_coexist_and_do_not_overtake_a_waiting_writer(team: &Team) {
    team.held("map", "a", Shared).await;
    team.held("map", "b", Shared).await;
    assert_eq!(team.waiting("map", "c", Exclusive).await, 1);
    assert_eq!(team.waiting("map", "d", Shared).await, 2);
    team.locks.release("map", "a").await.unwrap();
    assert_eq!(team.locks.status("map", "c").await.unwrap(), LockStatus::Waiting(1));
    team.locks.release("map", "b").await.unwrap();
    token(team.locks.status("map", "c").await.unwrap());
    // A withdrawn request is skipped.
    assert_eq!(team.waiting("map", "e", Exclusive).await, 2);
    team.locks.release("map", "d").await.unwrap();
    assert_eq!(team.locks.status("map", "e").await.unwrap(), LockStatus::Waiting(1));
    let upgrade = LockError::Upgrade("poi".to_owned());
    team.held("poi", "a", Shared).await;
    assert_eq!(team.request("poi", "a", Exclusive).await, Err(upgrade));
}

pub(super) async fn a_lock_acquired_twice_needs_two_releases(team: &Team) {
    let first = team.held("arm", "ann", Exclusive).await;
    assert_eq!(team.held("arm", "ann", Exclusive).await, first);
    assert_eq!(team.held("arm", "ann", Shared).await, first, "exclusive is shared as well");
    for _ in 0..2 {
        team.locks.release("arm", "ann").await.unwrap();
        assert_eq!(team.waiting("arm", "bob", Exclusive).await, 1);
    }
    team.locks.release("arm", "ann").await.unwrap();
    token(team.locks.status("arm", "bob").await.unwrap());
    // A forced release ignores the hold count.
    team.held("arm", "bob", Exclusive).await;
    team.locks.force_release("arm", "bob", "chief", "tea").await.unwrap();
    let taken = team.locks.keep_alive("arm", "bob").await.unwrap_err();
    assert_eq!(taken.to_string(), "chief took arm from bob: tea");
    assert_eq!(team.locks.list().await.unwrap().0, []);
}

pub(super) async fn a_request_that_would_deadlock_is_rejected(team: &Team) {
    for size in [2usize, 3, 10] {
        let client = |n: usize| format!("c{}of{size}", n % size);
        let resource = |n: usize| format!("r{n}of{size}");
        for n in 0..size {
            team.held(&resource(n), &client(n), Exclusive).await;
        }
        for n in 0..size - 1 {
            team.waiting(&resource(n + 1), &client(n), Exclusive).await;
        }
        let error = team.request(&resource(0), &client(size - 1), Exclusive).await.unwrap_err();
        let LockError::Deadlock(path) = &error else { panic!("{error}") };
        assert_eq!(
            (path.len(), &path[0], path.last()),
            (size + 1, &client(size - 1), Some(&client(size - 1)))
        );
        assert!(error.to_string().contains(&format!("c0of{size} waits for c1of{size}")), "{error}");
        assert_eq!(team.locks.deadlocks().await.unwrap(), Vec::<Vec<String>>::new());
        // The refused request was not queued; it succeeds once the others are done.
        team.locks.release(&resource(size - 1), &client(size - 1)).await.unwrap();
        assert_eq!(team.waiting(&resource(0), &client(size - 1), Exclusive).await, 1);
    }
}

pub(super) async fn a_shared_request_behind_a_waiting_writer_can_deadlock(team: &Team) {
    team.held("map", "reader", Shared).await;
    team.held("arm", "late", Exclusive).await;
    team.waiting("map", "writer", Exclusive).await;
    team.waiting("arm", "reader", Exclusive).await;
    // It would wait for the writer, which waits for the reader, which waits for it.
    let error = team.request("map", "late", Shared).await.unwrap_err();
    assert_eq!(error, LockError::Deadlock(["late", "writer", "reader", "late"].map(str::to_owned).to_vec()));
}

pub(super) async fn an_expired_holder_is_succeeded_and_its_token_rejected(team: &Team) {
    let first = token(team.locks.acquire("arm", "sleeper", Exclusive, SHORT).await.unwrap());
    let next = team.locks.acquire_within("arm", "next", Exclusive, SHORT, LONG).await.unwrap();
    assert!(token(next) > first);
    assert!(matches!(team.locks.check("arm", first).await, Err(LockError::Stale { .. })));
    assert!(matches!(team.locks.keep_alive("arm", "sleeper").await, Err(LockError::NotHeld { .. })));
    assert!(matches!(team.locks.release("arm", "sleeper").await, Err(LockError::NotHeld { .. })));
}

pub(super) async fn waiting_ends_at_its_deadline(team: &Team) {
    team.held("arm", "ann", Exclusive).await;
    let gave_up = team.locks.acquire_within("arm", "bob", Exclusive, LONG, Duration::from_millis(100)).await;
    assert_eq!(gave_up, Ok(LockStatus::Waiting(1)));
    assert_eq!(team.locks.list().await.unwrap().0[0].waiting, []);
}

pub(super) async fn waiting_for_a_change_ignores_ticks(team: &Team) {
    team.held("arm", "ann", Exclusive).await;
    let (before, seen) = team.locks.list().await.unwrap();
    let tick = Op::Put { key: TICK_KEY.to_owned(), value: Bytes::new(), lease: None };
    let ticked = team.locks.store.txn(Txn { success: vec![tick], ..Txn::default() }).await.unwrap();
    let listed = tokio::time::timeout(SHORT, team.locks.list_after(seen, LONG)).await;
    assert!(listed.is_err(), "woken by a tick: {listed:?}");
    let (now, at) = team.locks.list_after(seen, Duration::ZERO).await.unwrap();
    // In a cluster all users share the revisions.
    assert!(now == before && at >= ticked.revision, "{now:?} at {at:?}");
    let after = |seen| tokio::time::timeout(LONG, team.locks.list_after(seen, LONG * 2));
    let (listed, requested) = tokio::join!(after(ticked.revision), team.request("arm", "bob", Exclusive));
    assert_eq!((listed.unwrap().unwrap().0[0].waiting.len(), requested), (1, Ok(LockStatus::Waiting(1))));
    let listed = after(seen).await.unwrap().unwrap().0;
    assert_eq!(listed[0].waiting.len(), 1, "an earlier change is reported at once");
}

pub(super) async fn concurrent_holders_exclude_each_other(team: &Team) {
    let inside = Arc::new(AtomicU32::new(0));
    let workers: Vec<_> = (0..24)
        .map(|n| {
            let (locks, inside, client) = (team.locks.clone(), inside.clone(), format!("c{n}"));
            tokio::spawn(async move {
                let status = locks.acquire_within("arm", &client, Exclusive, LONG, LONG).await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "{client} is not alone");
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                locks.release("arm", &client).await.unwrap();
                token(status)
            })
        })
        .collect();
    let mut tokens = Vec::new();
    for worker in workers {
        tokens.push(worker.await.unwrap());
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 24);
}

pub(super) async fn invalid_names_and_times_are_rejected_without_effect(team: &Team) {
    let long = "x".repeat(limits::LOCK_NAME_BYTES + 1);
    for name in ["", "a/b", "a\nb", &long] {
        assert_eq!(team.request(name, "ann", Exclusive).await, Err(LockError::InvalidName));
        assert_eq!(team.request("arm", name, Exclusive).await, Err(LockError::InvalidName));
    }
    for ttl in [Duration::ZERO, Duration::from_secs(366 * 86_400)] {
        let refused = team.locks.acquire("arm", "ann", Exclusive, ttl).await;
        assert_eq!(refused, Err(LockError::Store(StoreError::Ttl)));
    }
    assert_eq!(team.locks.list().await.unwrap().0, []);
    // Also for a holder, and for a client that would join the queue before the check.
    team.held("arm", "ann", Exclusive).await;
    let before = team.locks.list().await.unwrap().0;
    let refused = Err(LockError::Store(StoreError::Ttl));
    assert_eq!(team.locks.acquire("arm", "ann", Exclusive, Duration::ZERO).await, refused);
    let requested = team.locks.request_handover("arm", "bob", "", LONG, Duration::ZERO).await;
    assert_eq!(requested, Err(LockError::Store(StoreError::Ttl)));
    for reason in [String::new(), "x".repeat(limits::LOCK_REASON_CHARS + 1)] {
        let taken = team.locks.force_release("arm", "ann", "chief", &reason).await;
        assert_eq!(taken, Err(LockError::InvalidReason));
    }
    assert_eq!(team.locks.list().await.unwrap().0, before);
    team.locks.release("arm", "ann").await.unwrap();
    assert_eq!(team.locks.get("arm").await.unwrap(), None, "it was held once");
}

pub(super) async fn the_notification_after_waiting_counts_as_one_acquire(team: &Team) {
    team.held("arm", "ann", Exclusive).await;
    for _ in 0..3 {
        assert_eq!(team.waiting("arm", "bob", Exclusive).await, 1);
    }
    team.locks.release("arm", "ann").await.unwrap();
    team.held("arm", "bob", Exclusive).await;
    team.held("arm", "bob", Exclusive).await;
    team.locks.release("arm", "bob").await.unwrap();
    token(team.locks.status("arm", "bob").await.unwrap());
    team.locks.release("arm", "bob").await.unwrap();
    assert_eq!(team.locks.get("arm").await.unwrap(), None);
    // The same for a shared lock beside others.
    team.held("map", "ann", Shared).await;
    team.held("map", "bob", Shared).await;
    team.locks.release("map", "bob").await.unwrap();
    assert!(matches!(team.locks.status("map", "bob").await, Err(LockError::NotHeld { .. })));
}

pub(super) async fn a_cancelled_waiter_is_skipped(team: &Team) {
    team.held("arm", "ann", Exclusive).await;
    let locks = team.locks.clone();
    let bob = tokio::spawn(async move { locks.acquire_within("arm", "bob", Exclusive, LONG, LONG).await });
    let is_waiting = async || !team.locks.get("arm").await.unwrap().unwrap().waiting.is_empty();
    eventually("bob waits", async || is_waiting().await.then_some(())).await;
    bob.abort();
    assert!(bob.await.unwrap_err().is_cancelled());
    eventually("bob is gone", async || (!is_waiting().await).then_some(())).await;
}

pub(super) async fn many_waiters_are_served_in_order(team: &Team) {
    // Few enough for a slow store; a benchmark measures the full number.
    const CLIENTS: u32 = 100;
    team.held("arm", "first", Exclusive).await;
    let served = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for n in 0..CLIENTS {
        let (locks, served, client) = (team.locks.clone(), served.clone(), format!("c{n}"));
        let position = team.waiting("arm", &client, Exclusive).await;
        assert_eq!(position, n as usize + 1);
        waiting.push(tokio::spawn(async move {
            token(locks.acquire_within("arm", &client, Exclusive, LONG, LONG).await.unwrap());
            served.lock().unwrap().push(n);
            locks.release("arm", &client).await.unwrap();
        }));
    }
    team.locks.release("arm", "first").await.unwrap();
    for one in waiting {
        one.await.unwrap();
    }
    assert_eq!(*served.lock().unwrap(), (0..CLIENTS).collect::<Vec<_>>());
}

pub(super) async fn concurrent_requests_of_two_processes_do_not_deadlock(team: &Team) {
    let other = Locks::new(team.locks.store.clone());
    for round in 0..20 {
        let (left, right) = (format!("left{round}"), format!("right{round}"));
        team.held(&left, "ann", Exclusive).await;
        team.held(&right, "bob", Exclusive).await;
        let (ann, bob) = tokio::join!(
            team.locks.acquire(&right, "ann", Exclusive, LONG),
            other.acquire(&left, "bob", Exclusive, LONG),
        );
        let refused = [&ann, &bob].into_iter().filter(|r| matches!(r, Err(LockError::Deadlock(_)))).count();
        assert_eq!(refused, 1, "{ann:?} {bob:?}");
        assert_eq!(team.locks.deadlocks().await.unwrap(), Vec::<Vec<String>>::new());
        for (resource, client) in [(&right, "ann"), (&left, "bob"), (&left, "ann"), (&right, "bob")] {
            let _ = team.locks.release(resource, client).await;
        }
    }
}

pub(super) async fn of_two_calls_for_one_client_the_last_withdraws(team: &Team) {
    team.held("arm", "ann", Exclusive).await;
    let wait = |wait: Duration| {
        let locks = team.locks.clone();
        tokio::spawn(async move { locks.acquire_within("arm", "bob", Exclusive, LONG, wait).await })
    };
    let (short, long) = (wait(Duration::from_millis(300)), wait(LONG));
    assert_eq!(short.await.unwrap(), Ok(LockStatus::Waiting(1)));
    // The other call is still waiting, and gets the lock.
    assert_eq!(team.locks.status("arm", "bob").await.unwrap(), LockStatus::Waiting(1));
    let gone = wait(LONG);
    team.locks.release("arm", "ann").await.unwrap();
    token(long.await.unwrap().unwrap());
    gone.abort();
    let _ = gone.await;
    team.settle().await;
    token(team.locks.status("arm", "bob").await.unwrap());
}

pub(super) async fn a_handover_that_would_deadlock_is_rejected(team: &Team) {
    team.held("arm", "holder", Exclusive).await;
    team.held("drill", "passed", Exclusive).await;
    team.waiting("arm", "passed", Exclusive).await;
    let locks = team.locks.clone();
    let requesting = tokio::spawn(async move { locks.request_handover("arm", "next", "", LONG, LONG).await });
    wait_for_request(team, "arm").await;
    team.waiting("drill", "next", Exclusive).await;
    let refused = team.locks.grant_handover("arm", "holder", "next").await;
    assert!(matches!(refused, Err(LockError::NoHandover { .. })), "{refused:?}");
    team.locks.release("drill", "next").await.unwrap();
    team.locks.grant_handover("arm", "holder", "next").await.unwrap();
    assert!(matches!(requesting.await.unwrap(), Ok(Handover::Granted(_))));
}
