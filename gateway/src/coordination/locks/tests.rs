use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::store::SqliteStore;
use super::*;

const LONG: Duration = Duration::from_secs(60);
/// Longer than a busy machine stands still.
const SHORT: Duration = Duration::from_secs(2);
use LockMode::{Exclusive, Shared};

/// Locks over a file of their own, removed at the end.
struct Team {
    locks: Locks,
    folder: PathBuf,
}

impl Team {
    fn new() -> Team {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("roverline-locks-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        Team { locks: Locks::new(Arc::new(SqliteStore::open(&folder))), folder }
    }

    async fn ask(&self, resource: &str, client: &str, mode: LockMode) -> Result<Standing, LockError> {
        self.locks.acquire(resource, client, mode, LONG).await
    }

    async fn held(&self, resource: &str, client: &str, mode: LockMode) -> FencingToken {
        token(self.ask(resource, client, mode).await.unwrap())
    }

    async fn waiting(&self, resource: &str, client: &str, mode: LockMode) -> usize {
        match self.ask(resource, client, mode).await.unwrap() {
            Standing::Waiting(place) => place,
            Standing::Held(_) => panic!("{client} holds {resource}"),
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn token(standing: Standing) -> FencingToken {
    match standing {
        Standing::Held(token) => token,
        Standing::Waiting(place) => panic!("place {place}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_after_another_in_the_order_of_asking_with_rising_tokens() {
    let team = Team::new();
    let clients = ["ann", "zoe", "bob"];
    let mut newest = team.held("arm", clients[0], Exclusive).await;
    assert_eq!(team.waiting("arm", clients[1], Exclusive).await, 1);
    assert_eq!(team.waiting("arm", clients[2], Exclusive).await, 2);
    assert_eq!(team.waiting("arm", clients[1], Exclusive).await, 1, "asking again changes nothing");
    let view = team.locks.list().await.unwrap().remove(0);
    assert_eq!(
        (view.holders, view.waiting),
        (vec![("ann".to_owned(), newest)], vec!["zoe".to_owned(), "bob".to_owned()])
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
    assert_eq!(team.locks.list().await.unwrap(), []);
    assert!(matches!(team.locks.release("arm", "bob").await, Err(LockError::NotHeld { .. })));
    assert!(team.held("arm", "ann", Exclusive).await > newest);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_share_hold_together_and_do_not_pass_one_who_waits() {
    let team = Team::new();
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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_twice_is_released_twice() {
    let team = Team::new();
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
    team.locks.force_release("arm", "bob").await.unwrap();
    assert_eq!(team.locks.list().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_is_refused_to_the_one_who_would_close_it() {
    for size in [2usize, 3, 10] {
        let team = Team::new();
        let client = |n: usize| format!("c{}", n % size);
        for n in 0..size {
            team.held(&format!("r{n}"), &client(n), Exclusive).await;
        }
        for n in 0..size - 1 {
            team.waiting(&format!("r{}", n + 1), &client(n), Exclusive).await;
        }
        let error = team.ask("r0", &client(size - 1), Exclusive).await.unwrap_err();
        let LockError::Deadlock(path) = &error else { panic!("{error}") };
        assert_eq!(
            (path.len(), &path[0], path.last()),
            (size + 1, &client(size - 1), Some(&client(size - 1)))
        );
        assert!(error.to_string().contains("c0 waits for c1"), "{error}");
        assert_eq!(team.locks.deadlocks().await.unwrap(), Vec::<Vec<String>>::new());
        // It was not put into the queue: once the others are through, it may.
        team.locks.release(&format!("r{}", size - 1), &client(size - 1)).await.unwrap();
        assert_eq!(team.waiting("r0", &client(size - 1), Exclusive).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_behind_a_waiting_writer_can_close_a_circle() {
    let team = Team::new();
    team.held("map", "reader", Shared).await;
    team.held("arm", "late", Exclusive).await;
    team.waiting("map", "writer", Exclusive).await;
    team.waiting("arm", "reader", Exclusive).await;
    // It would wait for the writer, who waits for the reader, who waits for it.
    let error = team.ask("map", "late", Shared).await.unwrap_err();
    assert_eq!(error, LockError::Deadlock(["late", "writer", "reader", "late"].map(str::to_owned).to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_gone_is_succeeded_and_its_token_refused() {
    let team = Team::new();
    let first = token(team.locks.acquire("arm", "sleeper", Exclusive, SHORT).await.unwrap());
    let next = team.locks.acquire_within("arm", "next", Exclusive, SHORT, LONG).await.unwrap();
    assert!(token(next) > first);
    assert!(matches!(team.locks.check("arm", first).await, Err(LockError::Stale { .. })));
    assert!(matches!(team.locks.keep_alive("arm", "sleeper").await, Err(LockError::NotHeld { .. })));
    assert!(matches!(team.locks.release("arm", "sleeper").await, Err(LockError::NotHeld { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_it_was_said_to() {
    let team = Team::new();
    team.held("arm", "ann", Exclusive).await;
    let gave_up = team.locks.acquire_within("arm", "bob", Exclusive, LONG, Duration::from_millis(100)).await;
    assert_eq!(gave_up, Ok(Standing::Waiting(1)));
    assert_eq!(team.locks.list().await.unwrap()[0].waiting, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_each_has_it_alone() {
    let team = Team::new();
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

#[tokio::test(flavor = "multi_thread")]
async fn bad_names_and_times_are_refused_and_change_nothing() {
    let team = Team::new();
    let long = "x".repeat(limits::LOCK_NAME_BYTES + 1);
    for name in ["", "a/b", "a\nb", &long] {
        assert_eq!(team.ask(name, "ann", Exclusive).await, Err(LockError::Name));
        assert_eq!(team.ask("arm", name, Exclusive).await, Err(LockError::Name));
    }
    for ttl in [Duration::ZERO, Duration::from_secs(366 * 86_400)] {
        let refused = team.locks.acquire("arm", "ann", Exclusive, ttl).await;
        assert_eq!(refused, Err(LockError::Store(StoreError::Ttl)));
    }
    assert_eq!(team.locks.list().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_served_in_the_order_of_asking() {
    const CROWD: usize = 200;
    let team = Team::new();
    let other = Locks::new(Arc::new(SqliteStore::open(&team.folder)));
    team.held("arm", "first", Exclusive).await;
    let (served, mut all) = (Arc::new(AtomicU32::new(0)), tokio::task::JoinSet::new());
    for n in 0..CROWD {
        let locks = if n % 2 == 0 { team.locks.clone() } else { other.clone() };
        let served = served.clone();
        all.spawn(async move {
            let client = format!("client-{n}");
            let held = locks.acquire_within("arm", &client, Exclusive, LONG, LONG).await.unwrap();
            let place = served.fetch_add(1, Ordering::SeqCst);
            locks.release("arm", &client).await.unwrap();
            (token(held), place)
        });
    }
    let all_wait = async {
        while team.locks.list().await.unwrap()[0].waiting.len() < CROWD {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, all_wait).await.unwrap();
    team.locks.release("arm", "first").await.unwrap();
    let mut order = tokio::time::timeout(LONG, all.join_all()).await.unwrap();
    order.sort_unstable();
    let places: Vec<u32> = order.into_iter().map(|(_, place)| place).collect();
    assert_eq!(places, (0..CROWD as u32).collect::<Vec<_>>());
    assert_eq!(team.locks.list().await.unwrap(), []);
}
