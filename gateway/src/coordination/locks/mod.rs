//! Who may use what: exclusive and shared locks over the store.
//!
//! Who wants a resource has one key under it, made when it asked and gone with its lease. The order
//! in which they asked is the order of their keys' creation, and who holds follows from it alone:
//! the first, or all shared ones before the first exclusive one. So nobody has to hand a lock on, a
//! holder that is gone is succeeded by the store itself, and the creation revision is a fencing
//! token: whoever holds later has a higher one (Kleppmann, "How to do distributed locking", 2016).

mod graph;
mod queue;
mod room;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use serde::{Deserialize, Serialize};

use self::queue::{Contender, contenders, holders, key, position, prefix_of};
use self::room::Rooms;
use super::store::{Compare, LeaseId, Op, Range, Revision, Store, StoreError, Txn};

/// Counts everything that asks for a lock, so that a cycle cannot come about between two that look.
const ORDER: &str = "locks-order";
const PREFIX: &str = "locks/";

/// Whether others may hold it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Nobody else holds it.
    Exclusive,
    /// Others that share hold it too.
    Shared,
}

/// Proof of a lock: whoever holds the resource later has a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(pub u64);

/// What became of asking for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is held.
    Held(FencingToken),
    /// So many are to go first; the next is 1.
    Waiting(usize),
}

/// A lock as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockView {
    /// What is locked.
    pub resource: String,
    /// How it is held.
    pub mode: LockMode,
    /// Who holds it, in the order in which they asked, and by which proof.
    pub holders: Vec<(String, FencingToken)>,
    /// Who waits, first the next.
    pub waiting: Vec<String>,
}

/// Why a lock is not given, kept or given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// A name is empty, too long, or has a slash or a control character.
    #[error("the name of a resource or client has 1 to {max} bytes, no slash and no control character", max = limits::LOCK_NAME_BYTES)]
    Name,
    /// A shared lock cannot become exclusive: two that try would wait for each other.
    #[error("{0} is held or asked for as shared: release it before asking for it as exclusive")]
    Upgrade(String),
    /// Waiting would never end: each of these waits for the next, and the last for the first.
    #[error("that would be a deadlock: {}", .0.join(" waits for "))]
    Deadlock(Vec<String>),
    /// Too many want it.
    #[error("{max} wait for {0} already", max = limits::LOCK_WAITING_CLIENTS)]
    Crowded(String),
    /// The client neither holds it nor waits for it; its lease may have ended.
    #[error("{client} does not hold {resource}, or not any more")]
    NotHeld {
        /// What.
        resource: String,
        /// Who.
        client: String,
    },
    /// The token is not the one of a holder.
    #[error("the token {given} for {resource} is not valid any more")]
    Stale {
        /// What.
        resource: String,
        /// The token that was shown.
        given: u64,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The locks of a team.
#[derive(Clone)]
pub struct Locks {
    store: Arc<dyn Store>,
    /// Who asks for a lock in this process does it alone: two at once would only make each other ask
    /// again.
    asking: Arc<tokio::sync::Mutex<()>>,
    rooms: Rooms,
}

impl Locks {
    /// Over a store that all share.
    pub fn new(store: Arc<dyn Store>) -> Locks {
        Locks { store, asking: Arc::default(), rooms: Rooms::default() }
    }

    /// Asks for a lock, or goes on asking. What is held already is held once more, and has to be
    /// released as often. It ends `ttl` after the last sign of life: an `acquire`, a
    /// [`Locks::keep_alive`].
    pub async fn acquire(
        &self,
        resource: &str,
        client: &str,
        mode: LockMode,
        ttl: Duration,
    ) -> Result<Standing, LockError> {
        Ok(self.ask(resource, client, mode, ttl).await?.0)
    }

    /// How it stands, and by which lease.
    async fn ask(
        &self,
        resource: &str,
        client: &str,
        mode: LockMode,
        ttl: Duration,
    ) -> Result<(Standing, LeaseId), LockError> {
        check_name(resource)?;
        check_name(client)?;
        let _alone = self.asking.lock().await;
        let mut spare = None;
        let asked = self.ask_alone(resource, client, mode, ttl, &mut spare).await;
        if let Some(lease) = spare {
            // It would end by itself, later.
            let _ = self.store.revoke(lease).await;
        }
        asked
    }

    /// `spare` is a lease that nothing came of.
    async fn ask_alone(
        &self,
        resource: &str,
        client: &str,
        mode: LockMode,
        ttl: Duration,
        spare: &mut Option<LeaseId>,
    ) -> Result<(Standing, LeaseId), LockError> {
        loop {
            let (all, order, _) = self.snapshot(PREFIX).await?;
            let here: Vec<&Contender> = all.iter().filter(|one| one.resource == resource).collect();
            if let Some(own) = here.iter().find(|one| one.client == client) {
                if let Some(standing) = self.again(own, &here, mode).await? {
                    return Ok((standing, own.record.lease));
                }
                continue;
            }
            if here.len() > limits::LOCK_WAITING_CLIENTS {
                return Err(LockError::Crowded(resource.to_owned()));
            }
            if let Some(cycle) = graph::cycle_through(&all, resource, client, mode) {
                return Err(LockError::Deadlock(cycle));
            }
            let lease = match *spare {
                Some(lease) => lease,
                None => self.store.grant(ttl).await?,
            };
            *spare = Some(lease);
            match self.enqueue(resource, client, mode, lease, order, &here).await {
                Ok(Some(asked)) => {
                    *spare = None;
                    return Ok(asked);
                }
                // Somebody else asked meanwhile.
                Ok(None) => {}
                Err(LockError::Store(StoreError::LeaseEnded)) => *spare = None,
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts a new contender behind all others, unless somebody else came first.
    async fn enqueue(
        &self,
        resource: &str,
        client: &str,
        mode: LockMode,
        lease: LeaseId,
        order: Revision,
        here: &[&Contender],
    ) -> Result<Option<(Standing, LeaseId)>, LockError> {
        let unchanged = match order.0 {
            0 => Compare::Absent(ORDER.to_owned()),
            _ => Compare::Modified(ORDER.to_owned(), order),
        };
        let record = queue::Record { mode, held: 1, lease };
        let success = vec![
            Op::Put { key: key(resource, client), value: record.bytes(), lease: Some(lease) },
            Op::Put { key: ORDER.to_owned(), value: Bytes::new(), lease: None },
        ];
        let outcome = self.store.txn(Txn { compares: vec![unchanged], success, failure: Vec::new() }).await?;
        let mine = Contender {
            resource: resource.to_owned(),
            client: client.to_owned(),
            record,
            created: outcome.revision,
            modified: outcome.revision,
        };
        let queue: Vec<&Contender> = here.iter().copied().chain([&mine]).collect();
        Ok(outcome.succeeded.then(|| (standing(&queue, &mine), lease)))
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
    async fn replace(&self, own: &Contender, held: u32) -> Result<bool, LockError> {
        let (key, lease) = (key(&own.resource, &own.client), own.record.lease);
        let value = queue::Record { held, ..own.record }.bytes();
        let txn = Txn {
            compares: vec![Compare::Modified(key.clone(), own.modified)],
            success: vec![Op::Put { key, value, lease: Some(lease) }],
            failure: Vec::new(),
        };
        Ok(self.store.txn(txn).await?.succeeded)
    }

    /// Whether the client holds the lock, or its place among those who wait.
    pub async fn standing(&self, resource: &str, client: &str) -> Result<Standing, LockError> {
        let (here, ..) = self.snapshot(&prefix_of(resource)).await?;
        let here: Vec<&Contender> = here.iter().collect();
        let own = here.iter().find(|one| one.client == client);
        own.map(|own| standing(&here, own)).ok_or_else(|| not_held(resource, client))
    }

    /// The client is there: its lock or its place lives for a whole time to live from now on.
    pub async fn keep_alive(&self, resource: &str, client: &str) -> Result<(), LockError> {
        let own = self.own(resource, client).await?;
        match self.store.keep_alive(own.record.lease).await {
            Err(StoreError::LeaseEnded) => Err(not_held(resource, client)),
            other => Ok(other?),
        }
    }

    /// Gives a lock back, once; or gives up waiting.
    pub async fn release(&self, resource: &str, client: &str) -> Result<(), LockError> {
        loop {
            let own = self.own(resource, client).await?;
            if own.record.held > 1 {
                if self.replace(&own, own.record.held - 1).await? {
                    return Ok(());
                }
                continue;
            }
            return match self.store.revoke(own.record.lease).await {
                Err(StoreError::LeaseEnded) => Err(not_held(resource, client)),
                other => Ok(other?),
            };
        }
    }

    /// Takes a lock from whoever has it, however often. Whether one may is for the caller to say.
    pub async fn force_release(&self, resource: &str, client: &str) -> Result<(), LockError> {
        let own = self.own(resource, client).await?;
        match self.store.revoke(own.record.lease).await {
            Err(StoreError::LeaseEnded) => Err(not_held(resource, client)),
            other => Ok(other?),
        }
    }

    /// Whether the token is that of one who holds the resource now: to be asked by whatever the lock
    /// protects, before it acts.
    pub async fn check(&self, resource: &str, token: FencingToken) -> Result<(), LockError> {
        let (here, ..) = self.snapshot(&prefix_of(resource)).await?;
        let here: Vec<&Contender> = here.iter().collect();
        match holders(&here).iter().any(|holder| holder.created.0 == token.0) {
            true => Ok(()),
            false => Err(LockError::Stale { resource: resource.to_owned(), given: token.0 }),
        }
    }

    /// Every lock that is held.
    pub async fn list(&self) -> Result<Vec<LockView>, LockError> {
        let (all, ..) = self.snapshot(PREFIX).await?;
        let mut resources: Vec<&str> = all.iter().map(|one| one.resource.as_str()).collect();
        resources.sort_unstable();
        resources.dedup();
        let view = |resource: &str| queue::view(&all, resource);
        Ok(resources.into_iter().filter_map(view).collect())
    }

    /// Clients that wait for each other in a circle. There is none, unless something else than this
    /// wrote the store: who would close one is refused.
    pub async fn deadlocks(&self) -> Result<Vec<Vec<String>>, LockError> {
        Ok(graph::cycles(&self.snapshot(PREFIX).await?.0))
    }

    async fn own(&self, resource: &str, client: &str) -> Result<Contender, LockError> {
        check_name(resource)?;
        check_name(client)?;
        let (here, ..) = self.snapshot(&prefix_of(resource)).await?;
        here.into_iter().find(|one| one.client == client).ok_or_else(|| not_held(resource, client))
    }

    /// All who want something under a prefix, in the order in which they asked, and when somebody
    /// asked last; as it was at one moment, and when that was.
    async fn snapshot(&self, prefix: &str) -> Result<(Vec<Contender>, Revision, Revision), LockError> {
        let order = Range { prefix: ORDER.to_owned(), limit: 1, ..Range::default() };
        let page = self.store.range(order).await?;
        let order = page.entries.first().map_or(Revision(0), |entry| entry.modified);
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let range = Range {
                prefix: prefix.to_owned(),
                after: after.take(),
                at: Some(page.revision),
                limit: limits::STORE_PAGE_ENTRIES,
                ..Range::default()
            };
            let next = self.store.range(range).await?;
            after = next.entries.last().map(|entry| entry.key.clone());
            entries.extend(next.entries);
            if !next.more {
                return Ok((contenders(&entries), order, page.revision));
            }
        }
    }
}

fn standing(here: &[&Contender], own: &Contender) -> Standing {
    match position(here, own) {
        0 => Standing::Held(FencingToken(own.created.0)),
        place => Standing::Waiting(place),
    }
}

fn not_held(resource: &str, client: &str) -> LockError {
    LockError::NotHeld { resource: resource.to_owned(), client: client.to_owned() }
}

fn check_name(name: &str) -> Result<(), LockError> {
    let bad = name.is_empty()
        || name.len() > limits::LOCK_NAME_BYTES
        || name.contains(|c: char| c == '/' || c.is_control());
    if bad { Err(LockError::Name) } else { Ok(()) }
}
