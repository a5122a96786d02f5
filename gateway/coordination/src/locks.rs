//! Exclusive and shared locks with fencing tokens, derived from keys in the store.
//!
//! Every client that requests a resource creates one leased key under it. The creation order of the
//! keys is the queue, and the holders follow from it alone: the first waiter, or all shared ones ahead
//! of the first exclusive one. No process has to pass a lock on: when a holder's lease ends, the store
//! removes its key and the next waiter holds the lock. The creation revision is the fencing token, so a
//! later holder always has a higher token (Kleppmann, "How to do distributed locking", 2016).
//!
//! An entry belongs to the identity of the client that requested it ([`Client`]): under the same name,
//! another identity has an entry of its own and cannot change this one.

mod acquire;
mod error;
mod event_source;
mod graph;
mod handover;
mod lock_table;
mod queue;
mod release;
#[cfg(test)]
pub(crate) mod tests;
mod view;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::client::{Client, is_identity};
use crate::limits;
pub use crate::locks::error::LockError;
pub(crate) use crate::locks::event_source::LockEventSource;
pub use crate::locks::handover::{Handover, HandoverView};
use crate::locks::lock_table::LockTable;
use crate::locks::queue::{Waiter, own_entry, prefix_of, sorted_waiters};
pub use crate::locks::view::{Holder, LockView, WaitingClient};
use crate::name;
use crate::store::scan::{Snapshot, scan};
use crate::store::{LeaseId, Revision, Store, StoreError};

/// Written by every new request, so that two concurrent requests cannot close a cycle unnoticed. It
/// sorts right before [`PREFIX`], so one range covers both.
const ORDER_KEY: &str = "locks-order";
const QUEUES_PREFIX: &str = "locks";
const PREFIX: &str = "locks/";
/// Prefix of every key that belongs to locks.
const WATCH_PREFIX: &str = "lock";
/// Written now and then so that a watch of the locks advances; it carries no change.
pub(crate) const TICK_KEY: &str = "lock-tick";
/// Handover requests, by resource and requesting client.
const HANDOVER_PREFIX: &str = "locking/handover/";
/// Records of forced releases, by resource and client; kept for a limited time.
const FORCED_PREFIX: &str = "locking/forced/";

/// Whether a lock can be held by several clients at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// One holder at a time.
    Exclusive,
    /// Any number of shared holders.
    Shared,
}

/// Fencing token: a later holder of the same resource has a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(pub u64);

impl FencingToken {
    /// The revision at which its lock was requested: no older state of the store can have it.
    pub const fn revision(self) -> Revision {
        Revision(self.0 / queue::POSITIONS)
    }
}

/// The state of a client's request for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockStatus {
    /// The client holds the lock.
    Held(FencingToken),
    /// Waiting; the position in the queue, 1 is the next to hold the lock.
    Waiting(usize),
}

/// The lock service: acquire, keep alive, release, hand over and list locks.
#[derive(Clone)]
pub struct Locks {
    store: Arc<dyn Store>,
    table: LockTable,
    /// Serializes new requests of this process, which would only invalidate each other's transactions.
    request_lock: Arc<tokio::sync::Mutex<()>>,
    /// Waiting calls of this process, by resource and client.
    waiter_counts: acquire::WaiterCounts,
    /// Requests and withdrawals that outlive their callers.
    detached: TaskTracker,
}

impl Locks {
    /// Creates the lock service over a shared store.
    pub fn new(store: Arc<dyn Store>) -> Locks {
        Locks {
            table: LockTable::new(store.clone()),
            store,
            request_lock: Arc::default(),
            waiter_counts: acquire::WaiterCounts::default(),
            detached: TaskTracker::new(),
        }
    }

    /// Finds the entry of this client in the queue of a resource.
    async fn own_entry(&self, resource: &str, client: Client<'_>) -> Result<Waiter, LockError> {
        check_name(resource)?;
        check_client(client)?;
        let queue = self.entries_for(resource).await?;
        match own_entry(&queue.iter().collect::<Vec<_>>(), client) {
            Some(own) => Ok(own.clone()),
            None => Err(self.rejection_reason(resource, client, &queue).await),
        }
    }

    /// All waiters of a resource, in queue order.
    async fn entries_for(&self, resource: &str) -> Result<Vec<Waiter>, LockError> {
        Ok(self.entries_under(&prefix_of(resource)).await?.0)
    }

    /// All waiters of all resources, in queue order, and the revision of the newest request.
    async fn all_entries(&self) -> Result<(Vec<Waiter>, Revision), LockError> {
        let (all, order, _) = self.entries_under(QUEUES_PREFIX).await?;
        Ok((all, order))
    }

    /// The waiters under a prefix, the revision of the newest request if the prefix covers it, and the
    /// revision of the snapshot.
    async fn entries_under(&self, prefix: &str) -> Result<(Vec<Waiter>, Revision, Revision), LockError> {
        let Snapshot { entries, revision } = scan(&*self.store, prefix, None).await?;
        let order = entries.iter().find(|entry| entry.key == ORDER_KEY);
        let order = order.map_or(Revision(0), |entry| entry.modified);
        Ok((sorted_waiters(&entries), order, revision))
    }
}

fn not_held(resource: &str, client: Client<'_>) -> LockError {
    LockError::NotHeld { resource: resource.to_owned(), client: client.name.to_owned() }
}

/// Rejects a time to live outside the bounds of a lease.
fn check_ttl(ttl: Duration) -> Result<(), LockError> {
    let bounds = Duration::from_millis(limits::LEASE_MIN_MS)..=Duration::from_millis(limits::LEASE_MAX_MS);
    if bounds.contains(&ttl) { Ok(()) } else { Err(StoreError::Ttl.into()) }
}

fn check_client(client: Client<'_>) -> Result<(), LockError> {
    check_name(client.name)?;
    match client.identity.is_none_or(is_identity) {
        true => Ok(()),
        false => Err(LockError::InvalidIdentity),
    }
}

fn check_name(name: &str) -> Result<(), LockError> {
    match name::is_valid(name, limits::LOCK_NAME_BYTES) {
        true => Ok(()),
        false => Err(LockError::InvalidName),
    }
}
