//! Where the clients of this process wait for one lock: together, so that a change is read once and
//! not by each of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::queue::{Contender, holders, prefix_of};
use super::{FencingToken, LeaseId, LockError, LockMode, Locks, Standing, StoreError, not_held};

/// How everybody stood who wanted the lock, not long ago.
type Seen = HashMap<String, Standing>;

/// The rooms that somebody waits in, by resource.
#[derive(Clone, Default)]
pub(super) struct Rooms(Arc<Mutex<HashMap<String, Weak<Room>>>>);

/// Looks at one lock whenever it changes, until nobody is in it any more.
struct Room {
    seen: watch::Receiver<Seen>,
    looking: AbortHandle,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Rooms {
    /// The room of a resource, made if there is none.
    fn enter(&self, locks: &Locks, resource: &str) -> Arc<Room> {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = rooms.get(resource).and_then(Weak::upgrade) {
            return room;
        }
        rooms.retain(|_, room| room.strong_count() > 0);
        let (tell, seen) = watch::channel(Seen::new());
        // It must not keep the rooms alive that keep it.
        let locks = Locks { rooms: Rooms::default(), ..locks.clone() };
        let looking = tokio::spawn(look(locks, resource.to_owned(), tell)).abort_handle();
        let room = Arc::new(Room { seen, looking });
        rooms.insert(resource.to_owned(), Arc::downgrade(&room));
        room
    }
}

impl Locks {
    /// Waits until the lock is held, at most until `deadline`; then it is not asked for any more, and
    /// the answer is the place that it had.
    pub async fn acquire_within(
        &self,
        resource: &str,
        client: &str,
        mode: LockMode,
        ttl: Duration,
        wait: Duration,
    ) -> Result<Standing, LockError> {
        let deadline = Instant::now() + wait;
        let (mut standing, lease) = self.ask(resource, client, mode, ttl).await?;
        if let Standing::Held(_) = standing {
            return Ok(standing);
        }
        let room = self.rooms.enter(self, resource);
        let mut seen = room.seen.clone();
        // Whoever waits lives as long as this call.
        let mut alive = tokio::time::interval(ttl / 3);
        alive.reset();
        loop {
            // What is seen may be old; only who still waits by it goes on without asking the store.
            let waits = matches!(seen.borrow_and_update().get(client), Some(Standing::Waiting(_)));
            if !waits {
                match self.standing(resource, client).await {
                    Ok(held @ Standing::Held(_)) => return Ok(held),
                    Ok(waiting) => standing = waiting,
                    // It is there again later.
                    Err(LockError::Store(StoreError::Busy | StoreError::Unavailable(_))) => {}
                    Err(error) => return Err(error),
                }
            }
            tokio::select! {
                () = sleep_until(deadline) => {
                    self.release(resource, client).await?;
                    return Ok(standing);
                }
                _ = alive.tick() => self.still_waits(resource, client, lease).await?,
                changed = seen.changed() => if changed.is_err() {
                    // Nobody looks any more: the store is being closed.
                    return Err(StoreError::Unavailable("it is closed".to_owned()).into());
                },
            }
        }
    }

    async fn still_waits(&self, resource: &str, client: &str, lease: LeaseId) -> Result<(), LockError> {
        match self.store.keep_alive(lease).await {
            Err(StoreError::LeaseEnded) => Err(not_held(resource, client)),
            // There are more such calls before its lease ends.
            Err(StoreError::Busy) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Reads the lock, and again with every change of it.
async fn look(locks: Locks, resource: String, tell: watch::Sender<Seen>) {
    let (prefix, again) = (prefix_of(&resource), Duration::from_millis(limits::STORE_POLL_MS));
    loop {
        let Ok((here, _, read)) = locks.snapshot(&prefix).await else {
            sleep(again).await;
            continue;
        };
        tell.send_replace(seen(&here));
        let Ok(mut watch) = locks.store.watch(prefix.clone(), read.next()).await else {
            sleep(again).await;
            continue;
        };
        // One that has fallen behind begins anew.
        while let Some(Ok(_)) = watch.next().await {
            match locks.snapshot(&prefix).await {
                Ok((here, ..)) => drop(tell.send_replace(seen(&here))),
                Err(_) => break,
            }
        }
    }
}

/// How each of them stands. They are in the order in which they asked.
fn seen(here: &[Contender]) -> Seen {
    let queue: Vec<&Contender> = here.iter().collect();
    let holding = holders(&queue).len();
    let stands = |(place, one): (usize, &Contender)| {
        let standing = match (place + 1).saturating_sub(holding) {
            0 => Standing::Held(FencingToken(one.created.0)),
            ahead => Standing::Waiting(ahead),
        };
        (one.client.clone(), standing)
    };
    here.iter().enumerate().map(stands).collect()
}
