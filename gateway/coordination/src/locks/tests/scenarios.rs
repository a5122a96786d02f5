//! What locks do, over whichever store.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use crate::locks::tests::*;
use crate::store::{Op, StoreError, Txn};

pub(super) async fn one_after_another_in_the_order_of_asking_with_rising_tokens(team: &Team) {
    let clients = ["ann", "zoe", "bob"];
    let mut newest = team.held("arm", clients[0], Exclusive).await;
    assert_eq!(team.waiting("arm", clients[1], Exclusive).await, 1);
    assert_eq!(team.waiting("arm", clients[2], Exclusive).await, 2);
    assert_eq!(team.waiting("arm", clients[1], Exclusive).await, 1, "asking again changes nothing");
    let view = team.locks.list().await.unwrap().0.remove(0);
    assert_eq!(
        (view.holders, view.waiting),
        (
            vec![("ann".to_owned(), newest)],
            vec![("zoe".to_owned(), Exclusive), ("bob".to_owned(), Exclusive)]
        )
    );
    for pair in clients.windows(2) {
        team.locks.check("arm", newest).await.unwrap();
        team.locks.release("arm", pair[0]).await.unwrap();
        let next = token(team.locks.standing("arm", pair[1]).await.unwrap());
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

pub(super) async fn those_who_share_hold_together_and_do_not_pass_one_who_waits(team: &Team) {
    team.held("map", "a", Shared).await;
    team.held("map", "b", Shared).await;
    assert_eq!(team.waiting("map", "c", Exclusive).await, 1);
    assert_eq!(team.waiting("map", "d", Shared).await, 2);
    team.locks.release("map", "a").await.unwrap();
    assert_eq!(team.locks.standing("map", "c").await.unwrap(), Standing::Waiting(1));
    team.locks.release("map", "b").await.unwrap();
    token(team.locks.standing("map", "c").await.unwrap());
    // Whoever gives up waiting is passed.
    assert_eq!(team.waiting("map", "e", Exclusive).await, 2);
    team.locks.release("map", "d").await.unwrap();
    assert_eq!(team.locks.standing("map", "e").await.unwrap(), Standing::Waiting(1));
    let upgrade = LockError::Upgrade("poi".to_owned());
    team.held("poi", "a", Shared).await;
    assert_eq!(team.ask("poi", "a", Exclusive).await, Err(upgrade));
}

pub(super) async fn what_is_held_twice_is_released_twice(team: &Team) {
    let first = team.held("arm", "ann", Exclusive).await;
    assert_eq!(team.held("arm", "ann", Exclusive).await, first);
    assert_eq!(team.held("arm", "ann", Shared).await, first, "exclusive is shared as well");
    for _ in 0..2 {
        team.locks.release("arm", "ann").await.unwrap();
        assert_eq!(team.waiting("arm", "bob", Exclusive).await, 1);
    }
    team.locks.release("arm", "ann").await.unwrap();
    token(team.locks.standing("arm", "bob").await.unwrap());
    // Force takes it however often it is held.
    team.held("arm", "bob", Exclusive).await;
    team.locks.force_release("arm", "bob", "chief", "tea").await.unwrap();
    let taken = team.locks.keep_alive("arm", "bob").await.unwrap_err();
    assert_eq!(taken.to_string(), "chief took arm from bob: tea");
    assert_eq!(team.locks.list().await.unwrap().0, []);
}

pub(super) async fn a_circle_is_refused_to_the_one_who_would_close_it(team: &Team) {
    for size in [2usize, 3, 10] {
        let client = |n: usize| format!("c{}of{size}", n % size);
        let resource = |n: usize| format!("r{n}of{size}");
        for n in 0..size {
            team.held(&resource(n), &client(n), Exclusive).await;
        }
        for n in 0..size - 1 {
            team.waiting(&resource(n + 1), &client(n), Exclusive).await;
        }
        let error = team.ask(&resource(0), &client(size - 1), Exclusive).await.unwrap_err();
        let LockError::Deadlock(path) = &error else { panic!("{error}") };
        assert_eq!(
            (path.len(), &path[0], path.last()),
            (size + 1, &client(size - 1), Some(&client(size - 1)))
        );
        assert!(error.to_string().contains(&format!("c0of{size} waits for c1of{size}")), "{error}");
        assert_eq!(team.locks.deadlocks().await.unwrap(), Vec::<Vec<String>>::new());
        // It was not put into the queue: once the others are through, it may.
        team.locks.release(&resource(size - 1), &client(size - 1)).await.unwrap();
        assert_eq!(team.waiting(&resource(0), &client(size - 1), Exclusive).await, 1);
    }
}

pub(super) async fn who_shares_behind_a_waiting_writer_can_close_a_circle(team: &Team) {
    team.held("map", "reader", Shared).await;
    team.held("arm", "late", Exclusive).await;
    team.waiting("map", "writer", Exclusive).await;
    team.waiting("arm", "reader", Exclusive).await;
    // It would wait for the writer, who waits for the reader, who waits for it.
    let error = team.ask("map", "late", Shared).await.unwrap_err();
    assert_eq!(error, LockError::Deadlock(["late", "writer", "reader", "late"].map(str::to_owned).to_vec()));
}

pub(super) async fn a_holder_that_is_gone_is_succeeded_and_its_token_refused(team: &Team) {
    let first = token(team.locks.acquire("arm", "sleeper", Exclusive, SHORT).await.unwrap());
    let next = team.locks.acquire_within("arm", "next", Exclusive, SHORT, LONG).await.unwrap();
    assert!(token(next) > first);
    assert!(matches!(team.locks.check("arm", first).await, Err(LockError::Stale { .. })));
    assert!(matches!(team.locks.keep_alive("arm", "sleeper").await, Err(LockError::NotHeld { .. })));
    assert!(matches!(team.locks.release("arm", "sleeper").await, Err(LockError::NotHeld { .. })));
}

pub(super) async fn waiting_ends_when_it_was_said_to(team: &Team) {
    team.held("arm", "ann", Exclusive).await;
    let gave_up = team.locks.acquire_within("arm", "bob", Exclusive, LONG, Duration::from_millis(100)).await;
    assert_eq!(gave_up, Ok(Standing::Waiting(1)));
    assert_eq!(team.locks.list().await.unwrap().0[0].waiting, []);
}

pub(super) async fn who_waits_for_a_change_is_not_woken_without_one(team: &Team) {
    team.held("arm", "ann", Exclusive).await;
    let (before, seen) = team.locks.list().await.unwrap();
    let tick = Op::Put { key: TICK.to_owned(), value: Bytes::new(), lease: None };
    let ticked = team.locks.store.txn(Txn { success: vec![tick], ..Txn::default() }).await.unwrap();
    let told = tokio::time::timeout(SHORT, team.locks.list_after(seen, LONG)).await;
    assert!(told.is_err(), "woken by a tick: {told:?}");
    let (now, at) = team.locks.list_after(seen, Duration::ZERO).await.unwrap();
    // A cluster's revisions are those of all who use it.
    assert!(now == before && at >= ticked.revision, "{now:?} at {at:?}");
    let after = |seen| tokio::time::timeout(LONG, team.locks.list_after(seen, LONG * 2));
    let (told, asked) = tokio::join!(after(ticked.revision), team.ask("arm", "bob", Exclusive));
    assert_eq!((told.unwrap().unwrap().0[0].waiting.len(), asked), (1, Ok(Standing::Waiting(1))));
    let told = after(seen).await.unwrap().unwrap().0;
    assert_eq!(told[0].waiting.len(), 1, "what changed before is told at once");
}

pub(super) async fn of_many_at_once_each_has_it_alone(team: &Team) {
    let inside = Arc::new(AtomicU32::new(0));
    let workers: Vec<_> = (0..24)
        .map(|n| {
            let (locks, inside, client) = (team.locks.clone(), inside.clone(), format!("c{n}"));
            tokio::spawn(async move {
                let standing = locks.acquire_within("arm", &client, Exclusive, LONG, LONG).await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "{client} is not alone");
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                locks.release("arm", &client).await.unwrap();
                token(standing)
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

pub(super) async fn bad_names_and_times_are_refused_and_change_nothing(team: &Team) {
    let long = "x".repeat(limits::LOCK_NAME_BYTES + 1);
    for name in ["", "a/b", "a\nb", &long] {
        assert_eq!(team.ask(name, "ann", Exclusive).await, Err(LockError::Name));
        assert_eq!(team.ask("arm", name, Exclusive).await, Err(LockError::Name));
    }
    for ttl in [Duration::ZERO, Duration::from_secs(366 * 86_400)] {
        let refused = team.locks.acquire("arm", "ann", Exclusive, ttl).await;
        assert_eq!(refused, Err(LockError::Store(StoreError::Ttl)));
    }
    assert_eq!(team.locks.list().await.unwrap().0, []);
    // Also of one who has it, and of one who would be given a place before it is looked at.
    team.held("arm", "ann", Exclusive).await;
    let before = team.locks.list().await.unwrap().0;
    let refused = Err(LockError::Store(StoreError::Ttl));
    assert_eq!(team.locks.acquire("arm", "ann", Exclusive, Duration::ZERO).await, refused);
    let asked = team.locks.ask_handover("arm", "bob", "", LONG, Duration::ZERO).await;
    assert_eq!(asked, Err(LockError::Store(StoreError::Ttl)));
    for reason in [String::new(), "x".repeat(limits::LOCK_REASON_CHARS + 1)] {
        let taken = team.locks.force_release("arm", "ann", "chief", &reason).await;
        assert_eq!(taken, Err(LockError::Reason));
    }
    assert_eq!(team.locks.list().await.unwrap().0, before);
    team.locks.release("arm", "ann").await.unwrap();
    assert_eq!(team.locks.one("arm").await.unwrap(), None, "it was held once");
}

pub(super) async fn being_told_after_waiting_counts_once(team: &Team) {
    team.held("arm", "ann", Exclusive).await;
    for _ in 0..3 {
        assert_eq!(team.waiting("arm", "bob", Exclusive).await, 1);
    }
    team.locks.release("arm", "ann").await.unwrap();
    team.held("arm", "bob", Exclusive).await;
    team.held("arm", "bob", Exclusive).await;
    team.locks.release("arm", "bob").await.unwrap();
    token(team.locks.standing("arm", "bob").await.unwrap());
    team.locks.release("arm", "bob").await.unwrap();
    assert_eq!(team.locks.one("arm").await.unwrap(), None);
    // Shared, beside others: the same.
    team.held("map", "ann", Shared).await;
    team.held("map", "bob", Shared).await;
    team.locks.release("map", "bob").await.unwrap();
    assert!(matches!(team.locks.standing("map", "bob").await, Err(LockError::NotHeld { .. })));
}

pub(super) async fn who_goes_away_while_waiting_is_passed(team: &Team) {
    team.held("arm", "ann", Exclusive).await;
    let locks = team.locks.clone();
    let bob = tokio::spawn(async move { locks.acquire_within("arm", "bob", Exclusive, LONG, LONG).await });
    while team.locks.one("arm").await.unwrap().unwrap().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    bob.abort();
    assert!(bob.await.unwrap_err().is_cancelled());
    while !team.locks.one("arm").await.unwrap().unwrap().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
}

pub(super) async fn many_waiters_are_served_in_order(team: &Team) {
    // Few enough for a slow store; the whole number is measured by its own program.
    const CLIENTS: u32 = 100;
    team.held("arm", "first", Exclusive).await;
    let served = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for n in 0..CLIENTS {
        let (locks, served, client) = (team.locks.clone(), served.clone(), format!("c{n}"));
        let place = team.waiting("arm", &client, Exclusive).await;
        assert_eq!(place, n as usize + 1);
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

pub(super) async fn two_that_ask_at_once_in_two_processes_do_not_close_a_circle(team: &Team) {
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

pub(super) async fn of_two_calls_for_one_client_the_last_gives_up(team: &Team) {
    team.held("arm", "ann", Exclusive).await;
    let wait = |wait: Duration| {
        let locks = team.locks.clone();
        tokio::spawn(async move { locks.acquire_within("arm", "bob", Exclusive, LONG, wait).await })
    };
    let (short, long) = (wait(Duration::from_millis(300)), wait(LONG));
    assert_eq!(short.await.unwrap(), Ok(Standing::Waiting(1)));
    // The other one waits still, and is served.
    assert_eq!(team.locks.standing("arm", "bob").await.unwrap(), Standing::Waiting(1));
    let gone = wait(LONG);
    team.locks.release("arm", "ann").await.unwrap();
    token(long.await.unwrap().unwrap());
    gone.abort();
    let _ = gone.await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    token(team.locks.standing("arm", "bob").await.unwrap());
}

pub(super) async fn a_handover_that_would_close_a_circle_is_refused(team: &Team) {
    team.held("arm", "holder", Exclusive).await;
    team.held("drill", "passed", Exclusive).await;
    team.waiting("arm", "passed", Exclusive).await;
    let locks = team.locks.clone();
    let asking = tokio::spawn(async move { locks.ask_handover("arm", "next", "", LONG, LONG).await });
    while team.locks.handovers(None).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    team.waiting("drill", "next", Exclusive).await;
    let refused = team.locks.grant_handover("arm", "holder", "next").await;
    assert!(matches!(refused, Err(LockError::NoHandover { .. })), "{refused:?}");
    team.locks.release("drill", "next").await.unwrap();
    team.locks.grant_handover("arm", "holder", "next").await.unwrap();
    assert!(matches!(asking.await.unwrap(), Ok(Handover::Granted(_))));
}
