//! Asking whoever holds a lock to hand it over: granted, refused, or not answered in time.

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::locks::acquire::Wish;
use crate::locks::queue::{Contender, Record, holders, moved_key};
use crate::locks::{
    FencingToken, HANDOVER, LockError, LockMode, Locks, ORDER, Standing, check_name, check_ttl, graph,
};
use crate::store::{Compare, Entry, LeaseId, Op, Range, StoreError, Txn};

/// Those who would be passed by a hand-over, at most: they are put in order again by one transaction.
const PASSED: usize = (limits::STORE_TXN_ELEMENTS - 8) / 3;

/// What became of asking for a lock to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handover {
    /// It is held now.
    Granted(FencingToken),
    /// The holder keeps it, for this reason; the asker goes on waiting in its place.
    Refused(String),
    /// The holder did not answer in time; the asker goes on waiting in its place.
    Unanswered,
}

/// A request to hand a lock over, as the holder sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoverView {
    /// What is asked for.
    pub resource: String,
    /// By whom.
    pub asker: String,
    /// What it says.
    pub message: String,
    /// The holder's refusal, if there is one.
    pub refused: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    message: String,
    lease: LeaseId,
    #[serde(default)]
    refused: Option<String>,
}

impl Request {
    fn bytes(&self) -> Bytes {
        // Our own types always serialize.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }
}

fn key_of(resource: &str, asker: &str) -> String {
    format!("{HANDOVER}{resource}/{asker}")
}

fn check_reason(reason: &str) -> Result<(), LockError> {
    let fits = reason.chars().count() <= limits::LOCK_REASON_CHARS;
    if fits { Ok(()) } else { Err(LockError::Reason) }
}

impl Locks {
    /// Asks the holder to hand its lock over to `asker`, before all who wait, and waits for the answer.
    /// The asker waits in the queue as well, and does so still if it is refused; its place or lock lives
    /// `ttl` from then on.
    pub async fn ask_handover(
        &self,
        resource: &str,
        asker: &str,
        message: &str,
        ttl: Duration,
        wait: Duration,
    ) -> Result<Handover, LockError> {
        check_reason(message)?;
        // Before it gets a place.
        check_ttl(wait)?;
        let known = match self
            .ask(Wish { resource, client: asker, mode: LockMode::Exclusive, held: 0 }, ttl)
            .await?
        {
            (Standing::Held(token), _) => return Ok(Handover::Granted(token)),
            waiting => waiting,
        };
        let lease = self.store.grant(wait).await?;
        let request = Request { message: message.to_owned(), lease, refused: None };
        let key = key_of(resource, asker);
        let put = Op::Put { key: key.clone(), value: request.bytes(), lease: Some(lease) };
        let asked = self.store.txn(Txn { success: vec![put], ..Txn::default() }).await?.revision;
        let mut answer = self.store.watch(key.clone(), asked.next()).await?;
        // The request ends with its lease: the store says so, or this does.
        let deadline = Instant::now() + wait + Duration::from_millis(limits::STORE_POLL_MS * 5);
        tokio::select! {
            _ = answer.next() => {}
            // Or its turn comes.
            _ = self.wait(resource, asker, known, ttl, deadline) => {}
        }
        let refused = self.request(resource, asker).await?.and_then(|(_, request)| request.refused);
        // Answered or not, it is no longer asked.
        let _ = self.store.revoke(lease).await;
        Ok(match (self.standing(resource, asker).await?, refused) {
            (Standing::Held(_), _) => match self.acquire(resource, asker, LockMode::Exclusive, ttl).await? {
                Standing::Held(token) => Handover::Granted(token),
                Standing::Waiting(_) => Handover::Unanswered,
            },
            (_, Some(reason)) => Handover::Refused(reason),
            (_, None) => Handover::Unanswered,
        })
    }

    /// The holder hands its lock over to who asked for it.
    pub async fn grant_handover(&self, resource: &str, holder: &str, asker: &str) -> Result<(), LockError> {
        loop {
            let (all, order) = self.all().await?;
            let here: Vec<&Contender> = all.iter().filter(|one| one.resource == resource).collect();
            let Some(own) = here.iter().find(|one| one.client == holder) else {
                return Err(self.why_not(resource, holder).await);
            };
            let no = |why| LockError::NoHandover { resource: resource.to_owned(), why };
            match holders(&here)[..] {
                [one] if one.client != holder => return Err(no("its holder is another")),
                [one] if one.record.mode == LockMode::Exclusive => {}
                _ => return Err(no("it is shared: whoever holds it can release it")),
            }
            let (entry, _) = self.asked(resource, asker).await?;
            let Some(next) = here.iter().find(|one| one.client == asker) else {
                return Err(self.why_not(resource, asker).await);
            };
            let passed: Vec<&&Contender> =
                here.iter().filter(|one| one.client != holder && one.client != asker).collect();
            if passed.len() > PASSED {
                return Err(no("too many wait for it"));
            }
            if closes_a_circle(&all, resource, next, &passed) {
                return Err(no("those who are passed would wait for each other"));
            }
            let mut txn = Txn {
                compares: vec![
                    Compare::Modified(ORDER.to_owned(), order),
                    Compare::Modified(entry.key.clone(), entry.modified),
                    Compare::Created(own.key.clone(), own.created),
                    Compare::Created(next.key.clone(), next.created),
                ],
                success: vec![
                    Op::Put { key: ORDER.to_owned(), value: Bytes::new(), lease: None },
                    Op::Delete(own.key.clone()),
                    Op::Delete(entry.key.clone()),
                ],
                failure: Vec::new(),
            };
            // Those who are passed come behind the next one again, in their order: so the tokens of all
            // who hold it later are higher.
            for (place, one) in passed.iter().enumerate() {
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                let value = Record { place, ..one.record }.bytes();
                let key = moved_key(resource, &one.client, order);
                txn.compares.push(Compare::Created(one.key.clone(), one.created));
                txn.success.push(Op::Delete(one.key.clone()));
                txn.success.push(Op::Put { key, value, lease: Some(one.record.lease) });
            }
            match self.store.txn(txn).await {
                // Somebody came, went or was too late meanwhile.
                Err(StoreError::LeaseEnded) => {}
                Ok(outcome) if !outcome.succeeded => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    let _ = self.store.revoke(own.record.lease).await;
                    return Ok(());
                }
            }
        }
    }

    /// The holder keeps its lock.
    pub async fn refuse_handover(
        &self,
        resource: &str,
        holder: &str,
        asker: &str,
        reason: &str,
    ) -> Result<(), LockError> {
        check_reason(reason)?;
        match self.standing(resource, holder).await? {
            Standing::Held(_) => {}
            Standing::Waiting(_) => {
                let why = "its holder is another";
                return Err(LockError::NoHandover { resource: resource.to_owned(), why });
            }
        }
        let (entry, request) = self.asked(resource, asker).await?;
        let (key, lease) = (entry.key, request.lease);
        let value = Request { refused: Some(reason.to_owned()), ..request }.bytes();
        let txn = Txn {
            compares: vec![Compare::Modified(key.clone(), entry.modified)],
            success: vec![Op::Put { key, value, lease: Some(lease) }],
            failure: Vec::new(),
        };
        match self.store.txn(txn).await {
            Ok(outcome) if outcome.succeeded => Ok(()),
            Ok(_) | Err(StoreError::LeaseEnded) => Err(not_asked(resource, asker)),
            Err(error) => Err(error.into()),
        }
    }

    /// Who asks for locks to be handed over: those of one resource, or of all.
    pub async fn handovers(&self, resource: Option<&str>) -> Result<Vec<HandoverView>, LockError> {
        let prefix = match resource {
            Some(resource) => format!("{HANDOVER}{resource}/"),
            None => HANDOVER.to_owned(),
        };
        let limit = limits::STORE_PAGE_ENTRIES;
        let page = self.store.range(Range { prefix, limit, ..Range::default() }).await?;
        let view = |entry: &Entry| {
            let (resource, asker) = entry.key.strip_prefix(HANDOVER)?.split_once('/')?;
            let Request { message, refused, .. } = serde_json::from_slice(&entry.value).ok()?;
            let (resource, asker) = (resource.to_owned(), asker.to_owned());
            Some(HandoverView { resource, asker, message, refused })
        };
        Ok(page.entries.iter().filter_map(view).collect())
    }

    async fn asked(&self, resource: &str, asker: &str) -> Result<(Entry, Request), LockError> {
        check_name(resource)?;
        check_name(asker)?;
        let request = self.request(resource, asker).await?;
        request.filter(|(_, request)| request.refused.is_none()).ok_or_else(|| not_asked(resource, asker))
    }

    async fn request(&self, resource: &str, asker: &str) -> Result<Option<(Entry, Request)>, LockError> {
        let prefix = key_of(resource, asker);
        let page = self.store.range(Range { prefix: prefix.clone(), limit: 1, ..Range::default() }).await?;
        let entry = page.entries.into_iter().next().filter(|entry| entry.key == prefix);
        Ok(entry
            .and_then(|entry| Some((serde_json::from_slice(&entry.value).ok()?, entry)))
            .map(|(r, e)| (e, r)))
    }
}

/// Whether clients would wait for each other in a circle if this one were next, before these.
fn closes_a_circle(all: &[Contender], resource: &str, next: &Contender, passed: &[&&Contender]) -> bool {
    let others = all.iter().filter(|one| one.resource != resource);
    let after = others.chain([next]).chain(passed.iter().map(|one| **one));
    !graph::cycles(&after.cloned().collect::<Vec<_>>()).is_empty()
}

fn not_asked(resource: &str, asker: &str) -> LockError {
    LockError::NotAsked { resource: resource.to_owned(), client: asker.to_owned() }
}
