//! Hands a lock over to a waiting client on request: granted, refused, or unanswered in time.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::client::{Client, key_suffix};
use crate::json;
use crate::limits;
use crate::locks::acquire::AcquireRequest;
use crate::locks::queue::{Record, Waiter, holders, moved_key, own_entry, parse_owner};
use crate::locks::{
    FencingToken, HANDOVER_PREFIX, LockError, LockMode, LockStatus, Locks, ORDER_KEY, check_name, check_ttl,
    graph,
};
use crate::store::scan::{get, scan};
use crate::store::{Compare, Entry, LeaseId, Op, Revision, StoreError, Txn};

/// The most waiters that a handover can pass; one transaction reorders all of them.
const MAX_PASSED: usize = (limits::STORE_TXN_ELEMENTS - 8) / 3;

/// The result of a handover request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The requesting client holds the lock.
    Granted(FencingToken),
    /// The holder refused, with this reason; the requesting client keeps its queue position.
    Refused(String),
    /// The holder did not answer in time; the requesting client keeps its queue position.
    Unanswered,
}

/// A pending handover request, as the holder sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoverView {
    /// The requested resource.
    pub resource: String,
    /// The requesting client.
    pub requester: String,
    /// Its identity, if that is known.
    pub identity: Option<String>,
    /// The client's message to the holder.
    pub message: String,
    /// The reason of the holder's refusal, if it refused.
    pub refused: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct HandoverRequest {
    message: String,
    lease: LeaseId,
    #[serde(default)]
    refused: Option<String>,
    /// The span that asks (W3C `traceparent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    /// The identity that refused it, and the unverified name that its client declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused_by: Option<(String, String)>,
}

/// A request in the store.
struct PendingHandover {
    entry: Entry,
    request: HandoverRequest,
}

impl PendingHandover {
    fn requester(&self) -> Option<Client<'_>> {
        requester_of(&self.entry.key)
    }
}

fn key_of(resource: &str, requester: Client<'_>) -> String {
    format!("{HANDOVER_PREFIX}{resource}/{}{}", requester.name, key_suffix(requester.identity))
}

fn requester_of(key: &str) -> Option<Client<'_>> {
    Some(parse_owner(key.strip_prefix(HANDOVER_PREFIX)?)?.1)
}

fn check_reason(reason: &str) -> Result<(), LockError> {
    let fits = reason.chars().count() <= limits::LOCK_REASON_CHARS;
    if fits { Ok(()) } else { Err(LockError::InvalidReason) }
}

impl Locks {
    /// Requests that the holder hand its lock over to `requester`, ahead of all waiters, and waits for the
    /// answer. The client also joins the queue and stays in it after a refusal; its entry lives `ttl`
    /// from then on.
    pub async fn request_handover<'a>(
        &self,
        resource: &str,
        requester: impl Into<Client<'a>>,
        message: &str,
        ttl: Duration,
        wait: Duration,
    ) -> Result<Handover, LockError> {
        self.request_traced_handover(resource, requester, message, ttl, wait, None).await
    }

    /// The same for a span (W3C `traceparent`), which whoever answers gets.
    pub async fn request_traced_handover<'a>(
        &self,
        resource: &str,
        requester: impl Into<Client<'a>>,
        message: &str,
        ttl: Duration,
        wait: Duration,
        traceparent: Option<String>,
    ) -> Result<Handover, LockError> {
        check_reason(message)?;
        // Checked before the client joins the queue.
        check_ttl(wait)?;
        let requester = requester.into();
        let joining = AcquireRequest { resource, client: requester, mode: LockMode::Exclusive, held: 0 };
        let waiting = self.request(joining, ttl).await?;
        if let LockStatus::Held(token) = waiting.status {
            return Ok(Handover::Granted(token));
        }
        let lease = self.store.grant(wait).await?;
        let message = message.to_owned();
        let request = HandoverRequest { message, lease, refused: None, refused_by: None, traceparent };
        let key = key_of(resource, requester);
        let put = Op::Put { key: key.clone(), value: json::encode(&request), lease: Some(lease) };
        let requested_at = self.store.txn(Txn { success: vec![put], ..Txn::default() }).await?.revision;
        let mut answer = self.store.watch(key.clone(), requested_at.next()).await?;
        // The request ends with its lease; this deadline covers a store that reports it late.
        let deadline = Instant::now() + wait + Duration::from_millis(limits::STORE_POLL_MS * 5);
        tokio::select! {
            _ = answer.next() => {}
            // The lock may also become free.
            _ = self.wait(resource, requester, waiting, ttl, deadline) => {}
        }
        let (found, _) = get(&*self.store, &key, None).await?;
        let refused = found.and_then(|entry| pending(entry)?.request.refused);
        // Answered or not, the request is over.
        let _ = self.store.revoke(lease).await;
        Ok(match (self.status(resource, requester).await?, refused) {
            (LockStatus::Held(_), _) => {
                match self.acquire(resource, requester, LockMode::Exclusive, ttl).await? {
                    LockStatus::Held(token) => Handover::Granted(token),
                    LockStatus::Waiting(_) => Handover::Unanswered,
                }
            }
            (_, Some(reason)) => Handover::Refused(reason),
            (_, None) => Handover::Unanswered,
        })
    }

    /// Hands the holder's lock over to the requesting client. If several identities ask under this name,
    /// `requester` has to say which one is meant. Returns the `traceparent` of the request.
    pub async fn grant_handover<'a>(
        &self,
        resource: &str,
        holder: impl Into<Client<'a>>,
        requester: impl Into<Client<'a>>,
    ) -> Result<Option<String>, LockError> {
        let (holder, requester) = (holder.into(), requester.into());
        loop {
            let (all, order) = self.all_entries().await?;
            let queue: Vec<&Waiter> = all.iter().filter(|waiter| waiter.resource == resource).collect();
            let Some(own) = own_entry(&queue, holder) else {
                let queue: Vec<Waiter> = queue.into_iter().cloned().collect();
                return Err(self.rejection_reason(resource, holder, &queue).await);
            };
            let reject = |why| LockError::NoHandover { resource: resource.to_owned(), why };
            match holders(&queue)[..] {
                [waiter] if waiter.key != own.key => return Err(reject("its holder is another")),
                [waiter] if waiter.record.mode == LockMode::Exclusive => {}
                _ => return Err(reject("it is shared: whoever holds it can release it")),
            }
            let pending = self.pending_request(resource, requester).await?;
            let asking = pending.requester().unwrap_or(requester);
            let Some(next) = own_entry(&queue, asking) else {
                return Err(self.rejection_reason(resource, asking, &[]).await);
            };
            let passed: Vec<&&Waiter> =
                queue.iter().filter(|waiter| waiter.key != own.key && waiter.key != next.key).collect();
            if passed.len() > MAX_PASSED {
                return Err(reject("too many wait for it"));
            }
            if would_deadlock(&all, resource, next, &passed) {
                return Err(reject("those who are passed would wait for each other"));
            }
            let txn = handover_txn(resource, order, own, next, &passed, &pending.entry);
            match self.store.txn(txn).await {
                // The queue or the request changed meanwhile: try again.
                Err(StoreError::LeaseEnded) => {}
                Ok(outcome) if !outcome.succeeded => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    let _ = self.store.revoke(own.record.lease).await;
                    return Ok(pending.request.traceparent);
                }
            }
        }
    }

    /// Refuses a handover request; the holder keeps its lock. Returns the `traceparent` of the request.
    pub async fn refuse_handover<'a>(
        &self,
        resource: &str,
        holder: impl Into<Client<'a>>,
        requester: impl Into<Client<'a>>,
        reason: &str,
    ) -> Result<Option<String>, LockError> {
        check_reason(reason)?;
        let (holder, requester) = (holder.into(), requester.into());
        match self.status(resource, holder).await? {
            LockStatus::Held(_) => {}
            LockStatus::Waiting(_) => {
                let why = "its holder is another";
                return Err(LockError::NoHandover { resource: resource.to_owned(), why });
            }
        }
        let PendingHandover { entry, request } = self.pending_request(resource, requester).await?;
        let (key, lease, traceparent) = (entry.key, request.lease, request.traceparent.clone());
        let refused_by = holder.identity.map(|identity| (identity.to_owned(), holder.name.to_owned()));
        let value =
            json::encode(&HandoverRequest { refused: Some(reason.to_owned()), refused_by, ..request });
        let txn = Txn {
            compares: vec![Compare::Modified(key.clone(), entry.modified)],
            success: vec![Op::Put { key, value, lease: Some(lease) }],
            failure: Vec::new(),
        };
        match self.store.txn(txn).await {
            Ok(outcome) if outcome.succeeded => Ok(traceparent),
            Ok(_) | Err(StoreError::LeaseEnded) => Err(no_pending_request(resource, requester.name)),
            Err(error) => Err(error.into()),
        }
    }

    /// The pending handover requests of one resource, or of all.
    pub async fn handovers(&self, resource: Option<&str>) -> Result<Vec<HandoverView>, LockError> {
        let prefix = match resource {
            Some(resource) => format!("{HANDOVER_PREFIX}{resource}/"),
            None => HANDOVER_PREFIX.to_owned(),
        };
        let snapshot = scan(&*self.store, &prefix, None).await?;
        let view = |entry: &Entry| {
            let (resource, Client { identity, name }) =
                parse_owner(entry.key.strip_prefix(HANDOVER_PREFIX)?)?;
            let HandoverRequest { message, refused, .. } = serde_json::from_slice(&entry.value).ok()?;
            let (resource, requester) = (resource.to_owned(), name.to_owned());
            Some(HandoverView {
                resource,
                requester,
                identity: identity.map(str::to_owned),
                message,
                refused,
            })
        };
        Ok(snapshot.entries.iter().filter_map(view).collect())
    }

    /// The unanswered request of this client; without an identity, the only one under its name.
    async fn pending_request(
        &self,
        resource: &str,
        requester: Client<'_>,
    ) -> Result<PendingHandover, LockError> {
        check_name(resource)?;
        check_name(requester.name)?;
        let prefix = key_of(resource, Client { identity: None, ..requester });
        let found = scan(&*self.store, &prefix, None).await?.entries.into_iter().filter_map(pending);
        let mut found = found.filter(|pending| {
            pending.request.refused.is_none()
                && pending.requester().is_some_and(|asking| {
                    asking.name == requester.name
                        && (requester.identity.is_none() || asking.identity == requester.identity)
                })
        });
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(no_pending_request(resource, requester.name)),
            (Some(_), Some(_)) => {
                let (resource, client) = (resource.to_owned(), requester.name.to_owned());
                Err(LockError::Ambiguous { resource, client })
            }
        }
    }
}

fn pending(entry: Entry) -> Option<PendingHandover> {
    let request = serde_json::from_slice(&entry.value).ok()?;
    Some(PendingHandover { entry, request })
}

/// The transaction that hands a lock from its holder to the next one. The passed waiters are re-created behind
/// the next holder, in their order, so all later tokens are higher.
fn handover_txn(
    resource: &str,
    order: Revision,
    own: &Waiter,
    next: &Waiter,
    passed: &[&&Waiter],
    request: &Entry,
) -> Txn {
    let mut txn = Txn {
        compares: vec![
            Compare::Modified(ORDER_KEY.to_owned(), order),
            Compare::Modified(request.key.clone(), request.modified),
            Compare::Created(own.key.clone(), own.created),
            Compare::Created(next.key.clone(), next.created),
        ],
        success: vec![
            Op::Put { key: ORDER_KEY.to_owned(), value: Bytes::new(), lease: None },
            Op::Delete(own.key.clone()),
            Op::Delete(request.key.clone()),
        ],
        failure: Vec::new(),
    };
    for (position, waiter) in passed.iter().enumerate() {
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        let value = json::encode(&Record { position, ..waiter.record });
        let key = moved_key(resource, waiter.client(), order);
        txn.compares.push(Compare::Created(waiter.key.clone(), waiter.created));
        txn.success.push(Op::Delete(waiter.key.clone()));
        txn.success.push(Op::Put { key, value, lease: Some(waiter.record.lease) });
    }
    txn
}

/// Whether the waits would form a cycle if `next` held the lock, ahead of the passed waiters.
fn would_deadlock(all: &[Waiter], resource: &str, next: &Waiter, passed: &[&&Waiter]) -> bool {
    let others = all.iter().filter(|waiter| waiter.resource != resource);
    let after = others.chain([next]).chain(passed.iter().map(|waiter| **waiter));
    !graph::cycles(&after.cloned().collect::<Vec<_>>()).is_empty()
}

fn no_pending_request(resource: &str, requester: &str) -> LockError {
    LockError::NotRequested { resource: resource.to_owned(), client: requester.to_owned() }
}
