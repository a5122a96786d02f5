//! Asking for a lock, and waiting for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use tokio::time::Instant;

use crate::locks::queue::{Contender, Record, key, standing};
use crate::locks::release::forced_key;
use crate::locks::{LockError, LockMode, Locks, ORDER, Standing, check_name, check_ttl, graph};
use crate::store::{Compare, LeaseId, Op, Revision, StoreError, Txn};

/// Who asks for what.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) resource: &'a str,
    pub(super) client: &'a str,
    pub(super) mode: LockMode,
    /// How often it is held when its turn comes; 0: whoever asked has to be told first.
    pub(super) held: u32,
}

/// A standing, and since when it is known.
pub(super) type Known = (Standing, Revision);

impl Locks {
    /// Asks for a lock, or goes on asking. What is held already is held once more, and has to be
    /// released as often; being told so after waiting is the first time. It ends `ttl` after the last
    /// sign of life: an `acquire`, a [`Locks::keep_alive`].
    pub async fn acquire(
        &self,
        resource: &str,
        client: &str,
        mode: LockMode,
        ttl: Duration,
    ) -> Result<Standing, LockError> {
        let wish = Wish { resource, client, mode, held: 0 };
        self.ask(wish, ttl).await.map(|(standing, _)| standing)
    }

    /// Waits until the lock is held, at most for `wait`; then it is not asked for any more, and the
    /// answer is the place that it had.
    pub async fn acquire_within(
        &self,
        resource: &str,
        client: &str,
        mode: LockMode,
        ttl: Duration,
        wait: Duration,
    ) -> Result<Standing, LockError> {
        let deadline = Instant::now() + wait;
        let (known, mut place) = self.ask_surely((resource, client), mode, ttl).await?;
        let standing = match known {
            (held @ Standing::Held(_), _) => Ok(held),
            _ => self.wait(resource, client, known, ttl, deadline).await,
        };
        match standing {
            Ok(Standing::Held(_)) => place.told(),
            Ok(Standing::Waiting(_)) if place.leave() => match self.release(resource, client).await {
                // It is not asked for any more, however that came about.
                Ok(_) | Err(LockError::NotHeld { .. }) => {}
                Err(error) => return Err(error),
            },
            // Another call of the same client waits still.
            Ok(Standing::Waiting(_)) => {}
            Err(_) => drop(place.leave()),
        }
        standing
    }

    /// Asks, and goes on to the end even if nobody waits for the answer any more: it is given up then.
    async fn ask_surely(
        &self,
        (resource, client): (&str, &str),
        mode: LockMode,
        ttl: Duration,
    ) -> Result<(Known, Place), LockError> {
        let (locks, resource, client) = (self.clone(), resource.to_owned(), client.to_owned());
        let asking = tokio::spawn(async move {
            let mut place = Place::new(&locks, &resource, &client);
            let wish = Wish { resource: &resource, client: &client, mode, held: 1 };
            match locks.ask(wish, ttl).await {
                Ok(known) => Ok((known, place)),
                Err(error) => {
                    place.leave();
                    Err(error)
                }
            }
        });
        match asking.await {
            Ok(asked) => asked,
            Err(error) => Err(StoreError::Unknown(error.to_string()).into()),
        }
    }

    /// Waits for a turn, at most until the deadline.
    pub(super) async fn wait(
        &self,
        resource: &str,
        client: &str,
        (mut standing, since): Known,
        ttl: Duration,
        deadline: Instant,
    ) -> Result<Standing, LockError> {
        let mut own = self.board.follow(resource, client);
        // Whoever waits lives as long as this call.
        let mut alive = tokio::time::interval(ttl / 3);
        alive.reset();
        loop {
            tokio::select! {
                // What is known is looked at first: a lock that is there is not given up.
                biased;
                told = own.after(since) => match told {
                    None => return Err(self.why_not(resource, client).await),
                    Some(held @ Standing::Held(_)) => return Ok(held),
                    Some(waiting) => standing = waiting,
                },
                _ = alive.tick() => match self.keep_alive(resource, client).await {
                    // What the store cannot do now it may do next time, before the lease ends.
                    Ok(()) | Err(LockError::Store(_)) => {}
                    Err(error) => return Err(error),
                },
                () = tokio::time::sleep_until(deadline) => {
                    return Ok(own.place().map_or(standing, Standing::Waiting));
                }
            }
        }
    }

    /// Asks, in the turn of this process.
    pub(super) async fn ask(&self, wish: Wish<'_>, ttl: Duration) -> Result<Known, LockError> {
        check_name(wish.resource)?;
        check_name(wish.client)?;
        // Of one who has it already, nothing else would look at it.
        check_ttl(ttl)?;
        let patience = Duration::from_millis(limits::LOCK_TURN_MS);
        let turn = tokio::time::timeout(patience, self.asking.lock()).await;
        let _turn = turn.map_err(|_| StoreError::Busy)?;
        let mut lease = None;
        let asked = self.ask_in_turn(wish, ttl, &mut lease).await;
        if let Some(lease) = lease {
            // Not used; it would end by itself, later.
            let _ = self.store.revoke(lease).await;
        }
        asked
    }

    /// `lease` is the one that is granted and not used yet.
    async fn ask_in_turn(
        &self,
        wish: Wish<'_>,
        ttl: Duration,
        lease: &mut Option<LeaseId>,
    ) -> Result<Known, LockError> {
        loop {
            let (all, order) = self.all().await?;
            let here: Vec<&Contender> = all.iter().filter(|one| one.resource == wish.resource).collect();
            if let Some(own) = here.iter().find(|one| one.client == wish.client) {
                if let Some(standing) = self.again(own, &here, wish.mode).await? {
                    return Ok((standing, own.modified));
                }
                continue;
            }
            if here.len() > limits::LOCK_WAITING_CLIENTS || all.len() >= limits::LOCK_CLIENTS {
                return Err(LockError::Crowded(wish.resource.to_owned()));
            }
            if let Some(cycle) = graph::cycle_through(&all, wish.resource, wish.client, wish.mode) {
                return Err(LockError::Deadlock(cycle));
            }
            let granted = match *lease {
                Some(lease) => lease,
                None => *lease.insert(self.store.grant(ttl).await?),
            };
            match self.enqueue(wish, granted, order, &here).await {
                // It took longer than the lock would have lived.
                Err(LockError::Store(StoreError::LeaseEnded)) => *lease = None,
                Ok(None) => {}
                Ok(Some(known)) => {
                    *lease = None;
                    return Ok(known);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts a new contender behind all others, unless somebody else came first.
    async fn enqueue(
        &self,
        wish: Wish<'_>,
        lease: LeaseId,
        order: Revision,
        here: &[&Contender],
    ) -> Result<Option<Known>, LockError> {
        let unchanged = match order.0 {
            0 => Compare::Absent(ORDER.to_owned()),
            _ => Compare::Modified(ORDER.to_owned(), order),
        };
        let held = if here.is_empty() { 1 } else { wish.held };
        let record = Record { mode: wish.mode, held, lease, place: 0 };
        let key = key(wish.resource, wish.client);
        let success = vec![
            Op::Put { key: key.clone(), value: record.bytes(), lease: Some(lease) },
            Op::Put { key: ORDER.to_owned(), value: Bytes::new(), lease: None },
            // What was before does not explain what will be.
            Op::Delete(forced_key(wish.resource, wish.client)),
        ];
        let txn = Txn { compares: vec![unchanged], success, failure: Vec::new() };
        let outcome = self.store.txn(txn).await?;
        let mine = Contender {
            key,
            resource: wish.resource.to_owned(),
            client: wish.client.to_owned(),
            record,
            created: outcome.revision,
            modified: outcome.revision,
        };
        if !outcome.succeeded {
            return Ok(None);
        }
        let queue: Vec<&Contender> = here.iter().copied().chain([&mine]).collect();
        let standing = standing(&queue, &mine);
        if let (Standing::Held(_), 0) = (standing, record.held) {
            // Shared, beside others.
            self.replace(&mine, 1).await?;
        }
        Ok(Some((standing, outcome.revision)))
    }

    /// It holds or waits already: once more, or still.
    async fn again(
        &self,
        own: &Contender,
        here: &[&Contender],
        mode: LockMode,
    ) -> Result<Option<Standing>, LockError> {
        if (own.record.mode, mode) == (LockMode::Shared, LockMode::Exclusive) {
            return Err(LockError::Upgrade(own.resource.clone()));
        }
        match self.store.keep_alive(own.record.lease).await {
            // It ended meanwhile: it asks anew.
            Err(StoreError::LeaseEnded) => return Ok(None),
            other => other?,
        }
        let standing = standing(here, own);
        if let Standing::Held(_) = standing {
            let held = own.record.held.saturating_add(1);
            if !self.replace(own, held).await? {
                return Ok(None);
            }
        }
        Ok(Some(standing))
    }

    /// Writes how often it is held, if it still is as it was.
    pub(super) async fn replace(&self, own: &Contender, held: u32) -> Result<bool, LockError> {
        let (key, lease) = (own.key.clone(), own.record.lease);
        let value = Record { held, ..own.record }.bytes();
        let txn = Txn {
            compares: vec![Compare::Modified(key.clone(), own.modified)],
            success: vec![Op::Put { key, value, lease: Some(lease) }],
            failure: Vec::new(),
        };
        match self.store.txn(txn).await {
            Err(StoreError::LeaseEnded) => Ok(false),
            other => Ok(other?.succeeded),
        }
    }
}

/// Calls that wait for the same lock for the same client, and whether one of them was told that it is
/// held: only the last one gives the place up, and none gives up what another was told.
#[derive(Default)]
pub(super) struct Calls {
    count: usize,
    told: bool,
}

pub(super) type Waiting = Arc<Mutex<HashMap<(String, String), Calls>>>;

/// A place in a queue, given up when this is dropped.
struct Place {
    locks: Locks,
    names: Option<(String, String)>,
}

impl Place {
    fn new(locks: &Locks, resource: &str, client: &str) -> Place {
        let names = (resource.to_owned(), client.to_owned());
        locks.waiting().entry(names.clone()).or_default().count += 1;
        Place { locks: locks.clone(), names: Some(names) }
    }

    /// The client knows that it is held.
    fn told(&mut self) {
        if let Some(names) = &self.names
            && let Some(calls) = self.locks.waiting().get_mut(names)
        {
            calls.told = true;
        }
        self.leave();
    }

    /// This call waits no more. Whether the place is to be given up.
    fn leave(&mut self) -> bool {
        let Some(names) = self.names.take() else { return false };
        let mut waiting = self.locks.waiting();
        let Some(calls) = waiting.get_mut(&names) else { return false };
        calls.count = calls.count.saturating_sub(1);
        let (last, told) = (calls.count == 0, calls.told);
        if last {
            waiting.remove(&names);
        }
        last && !told
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((resource, client)) = self.names.clone() else { return };
        if !self.leave() {
            return;
        }
        let locks = self.locks.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // It would end with its lease, later.
                let _ = locks.release(&resource, &client).await;
            });
        }
    }
}

impl Locks {
    fn waiting(&self) -> MutexGuard<'_, HashMap<(String, String), Calls>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::tests::Team;

    const LONG: Duration = Duration::from_secs(60);

    /// Whether it is held still when all that was begun is done.
    async fn is_kept(team: &Team, client: &str) -> bool {
        // What a place gives up, a task does; the store does one after another.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if team.locks.standing("arm", client).await.is_err() {
                return false;
            }
        }
        true
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_one_call_was_told_another_does_not_give_up() {
        let team = Team::new();
        team.locks.acquire("arm", "ann", LockMode::Exclusive, LONG).await.unwrap();
        let place = || Place::new(&team.locks, "arm", "ann");
        let (mut told, late) = (place(), place());
        told.told();
        drop((told, late));
        assert!(is_kept(&team, "ann").await, "it was told to a client that counts on it");
        assert_eq!(team.locks.waiting().len(), 0);
        // What nobody was told is nobody's, as soon as the last one has gone.
        let (first, last) = (place(), place());
        drop(first);
        assert!(is_kept(&team, "ann").await, "the last one waits for it");
        drop(last);
        assert!(!is_kept(&team, "ann").await, "nobody knows of it");
    }
}
