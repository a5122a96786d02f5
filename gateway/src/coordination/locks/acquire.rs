//! Asking for a lock, and waiting for it.

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use tokio::time::Instant;

use super::super::store::{Compare, LeaseId, Op, Revision, StoreError, Txn};
use super::queue::{Contender, Record, key, standing};
use super::release::forced_key;
use super::{LockError, LockMode, Locks, ORDER, Standing, check_name, check_ttl, graph};

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
        let known = self.ask(Wish { resource, client, mode, held: 1 }, ttl).await?;
        if let (Standing::Held(_), _) = known {
            return Ok(known.0);
        }
        // Whoever goes away while it waits does not wait any more.
        let mut place = Place { locks: self, names: Some((resource.to_owned(), client.to_owned())) };
        let standing = self.wait(resource, client, known, ttl, deadline).await;
        place.names = None;
        match standing {
            Ok(Standing::Waiting(place)) => match self.release(resource, client).await {
                // It is not asked for any more, however that came about.
                Ok(()) | Err(LockError::NotHeld { .. }) => Ok(Standing::Waiting(place)),
                Err(error) => Err(error),
            },
            other => other,
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
        let _turn = self.asking.lock().await;
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
            if here.len() > limits::LOCK_WAITING_CLIENTS {
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

/// A place in a queue, given up when this is dropped with its names.
struct Place<'a> {
    locks: &'a Locks,
    names: Option<(String, String)>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some((resource, client)) = self.names.take() else { return };
        let locks = self.locks.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // It would end with its lease, later.
                let _ = locks.release(&resource, &client).await;
            });
        }
    }
}
