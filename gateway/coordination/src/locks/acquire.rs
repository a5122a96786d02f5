//! Acquires a lock: joins the queue, waits for the lock, and gives up cleanly.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::Instrument;

use crate::client::{Client, ClientId};
use crate::json;
use crate::limits;
use crate::locks::queue::{Record, Waiter, key, own_entry, status};
use crate::locks::release::forced_key;
use crate::locks::{
    LockError, LockMode, LockStatus, Locks, ORDER_KEY, check_client, check_name, check_ttl, graph,
};
use crate::store::{Compare, LeaseId, Op, Revision, StoreError, Txn};

/// How long a request waits for other requests of its process.
const LOCK_SERIALIZE_MS: u64 = 2_000;

/// Clients that hold or request any lock, in total.
const LOCK_CLIENTS: usize = 4_000;

/// A request for a lock.
#[derive(Clone, Copy)]
pub(super) struct AcquireRequest<'a> {
    pub(super) resource: &'a str,
    pub(super) client: Client<'a>,
    pub(super) mode: LockMode,
    /// The hold count once the lock is held; 0 until the client has been notified.
    pub(super) held: u32,
}

/// The waiter that a request has found or made.
pub(super) struct Requested {
    pub(super) status: LockStatus,
    /// The revision at which the status was read.
    pub(super) at: Revision,
    /// The client as its entry has it: an entry of an earlier version has no identity.
    pub(super) entry: ClientId,
}

impl Locks {
    /// Requests a lock, or renews a request. Locks are re-entrant: each acquire of a held lock needs
    /// its own release; the first notification after waiting counts as the first acquire. The request
    /// or lock ends `ttl` after the last `acquire` or [`Locks::keep_alive`].
    pub async fn acquire<'a>(
        &self,
        resource: &str,
        client: impl Into<Client<'a>>,
        mode: LockMode,
        ttl: Duration,
    ) -> Result<LockStatus, LockError> {
        let request = AcquireRequest { resource, client: client.into(), mode, held: 0 };
        self.request(request, ttl).await.map(|requested| requested.status)
    }

    /// Waits until the lock is held, at most for `wait`. After that the request is withdrawn and the
    /// last queue position is returned.
    pub async fn acquire_within<'a>(
        &self,
        resource: &str,
        client: impl Into<Client<'a>>,
        mode: LockMode,
        ttl: Duration,
        wait: Duration,
    ) -> Result<LockStatus, LockError> {
        let (client, deadline) = (client.into(), Instant::now() + wait);
        let (known, mut guard) = self.request_detached((resource, client), mode, ttl).await?;
        let status = match known.status {
            held @ LockStatus::Held(_) => Ok(held),
            LockStatus::Waiting(_) => self.wait(resource, client, known, ttl, deadline).await,
        };
        match status {
            Ok(LockStatus::Held(_)) => guard.mark_reported(),
            Ok(LockStatus::Waiting(_)) if guard.stop_waiting() => {
                match self.release(resource, client).await {
                    // The request no longer exists.
                    Ok(_) | Err(LockError::NotHeld { .. } | LockError::NotOwner { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            // Another call of the same client is still waiting.
            Ok(LockStatus::Waiting(_)) => {}
            Err(_) => drop(guard.stop_waiting()),
        }
        status
    }

    /// Submits the request in a task of its own, so that it completes and is withdrawn even if the
    /// caller goes away.
    async fn request_detached(
        &self,
        (resource, client): (&str, Client<'_>),
        mode: LockMode,
        ttl: Duration,
    ) -> Result<(Requested, WaitGuard), LockError> {
        let (locks, resource, client) = (self.clone(), resource.to_owned(), ClientId::from(client));
        let requested = async move {
            let mut guard = WaitGuard::new(&locks, &resource, &client);
            let request = AcquireRequest { resource: &resource, client: client.as_client(), mode, held: 1 };
            match locks.request(request, ttl).await {
                Ok(known) => Ok((known, guard)),
                Err(error) => {
                    guard.stop_waiting();
                    Err(error)
                }
            }
        };
        match self.detached.spawn(requested.in_current_span()).await {
            Ok(outcome) => outcome,
            Err(error) => Err(StoreError::Unknown(error.to_string()).into()),
        }
    }

    /// Waits for the lock, at most until the deadline.
    pub(super) async fn wait(
        &self,
        resource: &str,
        client: Client<'_>,
        Requested { mut status, at, entry }: Requested,
        ttl: Duration,
        deadline: Instant,
    ) -> Result<LockStatus, LockError> {
        let mut own = self.table.subscribe(resource, &entry);
        // A waiting client stays alive for the duration of this call.
        let mut alive = tokio::time::interval(ttl / 3);
        alive.reset();
        loop {
            tokio::select! {
                // The known status has priority: a lock that is already held is not given up.
                biased;
                next = own.after(at) => match next {
                    None => return Err(self.rejection_reason(resource, client, &[]).await),
                    Some(held @ LockStatus::Held(_)) => return Ok(held),
                    Some(waiting) => status = waiting,
                },
                _ = alive.tick() => match self.keep_alive(resource, client).await {
                    // A store error may be gone at the next renewal, before the lease ends.
                    Ok(()) | Err(LockError::Store(_)) => {}
                    Err(error) => return Err(error),
                },
                () = tokio::time::sleep_until(deadline) => {
                    return Ok(own.position().map_or(status, LockStatus::Waiting));
                }
            }
        }
    }

    /// Submits a request, one at a time per process.
    pub(super) async fn request(
        &self,
        request: AcquireRequest<'_>,
        ttl: Duration,
    ) -> Result<Requested, LockError> {
        check_name(request.resource)?;
        check_client(request.client)?;
        // A client that already holds the lock grants no new lease, so nothing else would check this.
        check_ttl(ttl)?;
        let timeout = Duration::from_millis(LOCK_SERIALIZE_MS);
        let guard = tokio::time::timeout(timeout, self.request_lock.lock()).await;
        let _guard = guard.map_err(|_| StoreError::Busy)?;
        let mut lease = None;
        let outcome = self.request_serialized(request, ttl, &mut lease).await;
        if let Some(lease) = lease {
            // Unused; it would expire by itself, later.
            let _ = self.store.revoke(lease).await;
        }
        outcome
    }

    /// `lease` holds the lease that is granted and not used yet.
    async fn request_serialized(
        &self,
        request: AcquireRequest<'_>,
        ttl: Duration,
        lease: &mut Option<LeaseId>,
    ) -> Result<Requested, LockError> {
        loop {
            let (all, order) = self.all_entries().await?;
            let queue: Vec<&Waiter> =
                all.iter().filter(|waiter| waiter.resource == request.resource).collect();
            if let Some(own) = own_entry(&queue, request.client) {
                if let Some(status) = self.reacquire(own, &queue, request.mode).await? {
                    return Ok(Requested { status, at: own.modified, entry: own.client.clone() });
                }
                continue;
            }
            if queue.len() > limits::LOCK_WAITING_CLIENTS || all.len() >= LOCK_CLIENTS {
                return Err(LockError::TooManyWaiters(request.resource.to_owned()));
            }
            if let Some(cycle) = graph::cycle_through(&all, request.resource, request.client, request.mode) {
                return Err(LockError::Deadlock(cycle));
            }
            let granted = match *lease {
                Some(lease) => lease,
                None => *lease.insert(self.store.grant(ttl).await?),
            };
            match self.enqueue(request, granted, order, &queue).await {
                // The request took longer than the lock's time to live.
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

    /// Appends a new waiter to the queue; `None` if another request was written first.
    async fn enqueue(
        &self,
        request: AcquireRequest<'_>,
        lease: LeaseId,
        order: Revision,
        queue: &[&Waiter],
    ) -> Result<Option<Requested>, LockError> {
        let unchanged = match order.0 {
            0 => Compare::Absent(ORDER_KEY.to_owned()),
            _ => Compare::Modified(ORDER_KEY.to_owned(), order),
        };
        let held = if queue.is_empty() { 1 } else { request.held };
        let record = Record { mode: request.mode, held, lease, position: 0 };
        let key = key(request.resource, request.client);
        let success = vec![
            Op::Put { key: key.clone(), value: json::encode(&record), lease: Some(lease) },
            Op::Put { key: ORDER_KEY.to_owned(), value: Bytes::new(), lease: None },
            // An earlier forced release does not explain the new request's end.
            Op::Delete(forced_key(request.resource, request.client)),
        ];
        let txn = Txn { compares: vec![unchanged], success, failure: Vec::new() };
        let outcome = self.store.txn(txn).await?;
        let waiter = Waiter {
            key,
            resource: request.resource.to_owned(),
            client: request.client.into(),
            record,
            created: outcome.revision,
            modified: outcome.revision,
        };
        if !outcome.succeeded {
            return Ok(None);
        }
        let queue: Vec<&Waiter> = queue.iter().copied().chain([&waiter]).collect();
        let status = status(&queue, &waiter);
        if let (LockStatus::Held(_), 0) = (status, record.held) {
            // A shared lock, granted beside others.
            self.replace(&waiter, 1).await?;
        }
        Ok(Some(Requested { status, at: outcome.revision, entry: waiter.client }))
    }

    /// Renews an existing entry: acquires a held lock once more, or keeps waiting. `None`: the entry
    /// has ended.
    async fn reacquire(
        &self,
        own: &Waiter,
        queue: &[&Waiter],
        mode: LockMode,
    ) -> Result<Option<LockStatus>, LockError> {
        if (own.record.mode, mode) == (LockMode::Shared, LockMode::Exclusive) {
            return Err(LockError::Upgrade(own.resource.clone()));
        }
        match self.store.keep_alive(own.record.lease).await {
            // The lease has ended: the client requests the lock anew.
            Err(StoreError::LeaseEnded) => return Ok(None),
            other => other?,
        }
        let status = status(queue, own);
        if let LockStatus::Held(_) = status {
            let held = own.record.held.saturating_add(1);
            if !self.replace(own, held).await? {
                return Ok(None);
            }
        }
        Ok(Some(status))
    }

    /// Writes the hold count if the entry is unchanged; returns whether it was.
    pub(super) async fn replace(&self, own: &Waiter, held: u32) -> Result<bool, LockError> {
        let (key, lease) = (own.key.clone(), own.record.lease);
        let value = json::encode(&Record { held, ..own.record });
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

/// Concurrent calls that wait for the same lock for the same client. Only the last one withdraws the
/// request, and not if any call has reported the lock as held.
#[derive(Default)]
pub(super) struct WaiterCount {
    count: usize,
    reported: bool,
}

pub(super) type WaiterCounts = Arc<Mutex<HashMap<(String, ClientId), WaiterCount>>>;

/// A waiting call; withdraws the request when dropped, unless another call needs it.
struct WaitGuard {
    locks: Locks,
    names: Option<(String, ClientId)>,
}

impl WaitGuard {
    fn new(locks: &Locks, resource: &str, client: &ClientId) -> WaitGuard {
        let names = (resource.to_owned(), client.clone());
        locks.waiter_counts.lock().entry(names.clone()).or_default().count += 1;
        WaitGuard { locks: locks.clone(), names: Some(names) }
    }

    /// Marks the lock as reported to the client.
    fn mark_reported(&mut self) {
        if let Some(names) = &self.names
            && let Some(calls) = self.locks.waiter_counts.lock().get_mut(names)
        {
            calls.reported = true;
        }
        self.stop_waiting();
    }

    /// Ends this call's wait; returns whether the request is to be withdrawn.
    fn stop_waiting(&mut self) -> bool {
        let Some(names) = self.names.take() else { return false };
        let mut waiting = self.locks.waiter_counts.lock();
        let Some(calls) = waiting.get_mut(&names) else { return false };
        calls.count = calls.count.saturating_sub(1);
        let (last, reported) = (calls.count == 0, calls.reported);
        if last {
            waiting.remove(&names);
        }
        last && !reported
    }
}

impl Drop for WaitGuard {
    fn drop(&mut self) {
        let Some((resource, client)) = self.names.clone() else { return };
        if !self.stop_waiting() {
            return;
        }
        let locks = self.locks.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let withdraw = async move {
                // Otherwise it ends with its lease, later.
                let _ = locks.release(&resource, client.as_client()).await;
            };
            self.locks.detached.spawn_on(withdraw, &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::tests::Team;

    const LONG: Duration = Duration::from_secs(60);

    /// Whether the lock is still held after all pending withdrawals.
    async fn is_held(team: &Team, client: &str) -> bool {
        team.settle().await;
        team.locks.status("arm", client).await.is_ok()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lock_reported_to_one_call_is_not_withdrawn_by_another() {
        let team = Team::new();
        team.locks.acquire("arm", "ann", LockMode::Exclusive, LONG).await.unwrap();
        let guard = || WaitGuard::new(&team.locks, "arm", &Client::from("ann").into());
        let (mut reported, late) = (guard(), guard());
        reported.mark_reported();
        drop((reported, late));
        assert!(is_held(&team, "ann").await, "the client relies on it");
        assert_eq!(team.locks.waiter_counts.lock().len(), 0);
        // An unreported lock is released with its last waiting call.
        let (first, last) = (guard(), guard());
        drop(first);
        assert!(is_held(&team, "ann").await, "the last call waits for it");
        drop(last);
        assert!(!is_held(&team, "ann").await, "no call relies on it");
    }
}
