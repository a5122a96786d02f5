//! Read-only views of locks: holders, waiters and deadlocks.

use std::time::Duration;

use crate::client::ClientId;
use crate::locks::queue::{Waiter, holders};
use crate::locks::{FencingToken, LockError, LockMode, Locks, graph};
use crate::store::Revision;

/// One lock with its holders and waiters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockView {
    /// The name of the resource.
    pub resource: String,
    /// The mode in which it is held.
    pub mode: LockMode,
    /// The holders in queue order.
    pub holders: Vec<Holder>,
    /// The waiters in queue order.
    pub waiting: Vec<WaitingClient>,
}

/// A client that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The unverified name that the client declares.
    pub client: String,
    /// Its identity, if that is known.
    pub identity: Option<String>,
    /// Its fencing token.
    pub token: FencingToken,
}

/// A client that waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingClient {
    /// The unverified name that the client declares.
    pub client: String,
    /// Its identity, if that is known.
    pub identity: Option<String>,
    /// The requested mode.
    pub mode: LockMode,
}

impl LockView {
    /// Builds the view of one resource; `None` if it is not held.
    fn of(all: &[Waiter], resource: &str) -> Option<LockView> {
        let queue: Vec<&Waiter> = all.iter().filter(|waiter| waiter.resource == resource).collect();
        let holding = holders(&queue);
        let waiting = queue[holding.len()..].iter().map(|waiter| {
            let ClientId { identity, name } = waiter.client.clone();
            WaitingClient { client: name, identity, mode: waiter.record.mode }
        });
        let holder = |waiter: &&Waiter| {
            let ClientId { identity, name } = waiter.client.clone();
            Holder { client: name, identity, token: waiter.token() }
        };
        Some(LockView {
            resource: resource.to_owned(),
            mode: holding.first()?.record.mode,
            holders: holding.iter().map(holder).collect(),
            waiting: waiting.collect(),
        })
    }
}

impl Locks {
    /// Every held lock, sorted by resource, and the revision of the snapshot.
    pub async fn list(&self) -> Result<(Vec<LockView>, Revision), LockError> {
        let (all, _, at) = self.entries_under(crate::locks::QUEUES_PREFIX).await?;
        let mut resources: Vec<&str> = all.iter().map(|waiter| waiter.resource.as_str()).collect();
        resources.sort_unstable();
        resources.dedup();
        let view = |resource: &str| LockView::of(&all, resource);
        Ok((resources.into_iter().filter_map(view).collect(), at))
    }

    /// One lock; `None` if it is not held.
    pub async fn get(&self, resource: &str) -> Result<Option<LockView>, LockError> {
        crate::locks::check_name(resource)?;
        Ok(LockView::of(&self.entries_for(resource).await?, resource))
    }

    /// Waits, at most for `wait`, until locks or handover requests have changed since `seen`; then
    /// lists all locks.
    pub async fn list_after(
        &self,
        seen: Revision,
        wait: Duration,
    ) -> Result<(Vec<LockView>, Revision), LockError> {
        let mut watch = self.store.watch(crate::locks::WATCH_PREFIX.to_owned(), seen.next()).await?;
        let changed = async {
            // A watch that has fallen behind counts as a change.
            while let Some(Ok(changes)) = watch.next().await
                && changes.iter().all(|change| change.key() == crate::locks::TICK_KEY)
            {}
        };
        // The list is read in any case.
        let _ = tokio::time::timeout(wait, changed).await;
        self.list().await
    }

    /// Clients that wait for each other in a cycle. Requests that would close one are refused, so there
    /// is none unless another program wrote the store.
    pub async fn deadlocks(&self) -> Result<Vec<Vec<String>>, LockError> {
        Ok(graph::cycles(&self.all_entries().await?.0))
    }
}
