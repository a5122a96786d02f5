//! What a client of the store can do, on the record. Everything goes over the store's trait and the
//! parts that are written over it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_coordination::events::{Events, Identity};
use roverline_coordination::kv::{Cache, Kv};
use roverline_coordination::locks::{FencingToken, LockError, LockMode, Locks, Standing};
use roverline_coordination::queues::Queues;
use roverline_coordination::store::{self, Compare, Op, Range, Store, StoreError, Txn};

use super::journal::{Act, Got};

/// The store of this name: a directory, for the one of this computer, or where a cluster is.
pub(crate) fn open(name: &str) -> Result<Arc<dyn Store>, String> {
    match name.contains("://") {
        false => store::open(store::SQLITE, Path::new(name)),
        true => store::open(name, Path::new("")),
    }
}

/// What a process does its acts with.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) locks: Locks,
    pub(crate) queues: Queues,
    pub(crate) events: Events,
    pub(crate) cache: Arc<Cache>,
}

/// Puts a value, whatever was there.
pub(crate) fn put(key: &str, value: &str) -> Txn {
    let op = Op::Put { key: key.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()), lease: None };
    Txn { success: vec![op], ..Txn::default() }
}

/// The keys of a page under a prefix.
pub(crate) fn under(prefix: &str) -> Range {
    Range { prefix: prefix.to_owned(), limit: usize::MAX, ..Range::default() }
}

/// What protects the resource from whoever lost its lock: the token of the newest writer and a count.
fn guard(resource: &str) -> String {
    format!("guarded/{resource}")
}

impl Hands {
    pub(crate) fn on(store: Arc<dyn Store>) -> Hands {
        Hands {
            locks: Locks::new(store.clone()),
            queues: Queues::new(store.clone()),
            events: Events::new(store.clone(), Identity::passing("proof")),
            cache: Arc::new(Cache::new(Kv::new(store.clone()))),
            store,
        }
    }

    /// Does it, for a client that holds a lock for `ttl` without a sign of life, and waits for one
    /// for `wait`.
    pub(crate) async fn act(&self, client: &str, act: &Act, ttl: Duration, wait: Duration) -> Got {
        let done = match act {
            Act::Read { key } => self.read(key).await,
            Act::Write { key, value } => self.write(put(key, &value.to_string())).await,
            Act::Swap { key, from, to } => self.swap(key, *from, *to).await,
            Act::Create { key } => {
                let txn = Txn { compares: vec![Compare::Absent(key.clone())], ..put(key, client) };
                self.write(txn).await
            }
            Act::Lock { resource } => return self.lock(resource, client, ttl, wait).await,
            Act::Unlock { resource, .. } => match self.locks.release(resource, client).await {
                Ok(_) => Ok(Got::Released),
                Err(LockError::Store(error)) => Err(error),
                Err(error) => Ok(refused(&error)),
            },
            Act::Guarded { resource, token } => self.guarded(resource, *token).await,
            Act::Enqueue { queue, body } => self.enqueue(queue, client, *body).await,
            Act::Dequeue { queue } => self.dequeue(queue, client).await,
            Act::Ack { id, delivery } => self.ack(id, *delivery).await,
            Act::Nak { id, delivery } => self.nak(id, *delivery, client).await,
            Act::Append { stream, id } => self.append(stream, id).await,
            Act::Share { key, value } => self.share(key, *value, client).await,
            Act::Look { key } => self.look(key).await,
        };
        done.unwrap_or_else(told)
    }

    async fn read(&self, key: &str) -> Result<Got, StoreError> {
        let page = self.store.range(Range { prefix: key.to_owned(), limit: 1, ..Range::default() }).await?;
        let value = page.entries.first().and_then(|entry| number(&entry.value));
        Ok(Got::Value { value, revision: page.revision.0 })
    }

    async fn write(&self, txn: Txn) -> Result<Got, StoreError> {
        let outcome = self.store.txn(txn).await?;
        match outcome.succeeded {
            true => Ok(Got::Done { revision: outcome.revision.0 }),
            false => Ok(Got::Refused { why: "it was not as compared".to_owned() }),
        }
    }

    async fn swap(&self, key: &str, from: Option<u64>, to: u64) -> Result<Got, StoreError> {
        let is = match from {
            None => Compare::Absent(key.to_owned()),
            Some(value) => Compare::Value(key.to_owned(), Bytes::from(value.to_string())),
        };
        let failure = vec![Op::Get(key.to_owned())];
        let txn = Txn { compares: vec![is], failure, ..put(key, &to.to_string()) };
        let outcome = self.store.txn(txn).await?;
        let revision = outcome.revision.0;
        Ok(match (outcome.succeeded, outcome.got.first()) {
            (true, _) => Got::Done { revision },
            (false, entry) => {
                let value = entry.and_then(Option::as_ref).and_then(|entry| number(&entry.value));
                Got::Value { value, revision }
            }
        })
    }

    async fn lock(&self, resource: &str, client: &str, ttl: Duration, wait: Duration) -> Got {
        match self.locks.acquire_within(resource, client, LockMode::Exclusive, ttl, wait).await {
            Ok(Standing::Held(FencingToken(token))) => Got::Held { token },
            Ok(Standing::Waiting(_)) => Got::Refused { why: "somebody else held the lock".to_owned() },
            Err(LockError::Store(error)) => told(error),
            Err(error) => refused(&error),
        }
    }

    /// Changes what the lock protects: it remembers the highest token and takes no lower one.
    pub(crate) async fn guarded(&self, resource: &str, token: u64) -> Result<Got, StoreError> {
        let key = guard(resource);
        loop {
            let range = Range { prefix: key.clone(), limit: 1, ..Range::default() };
            let entry = self.store.range(range).await?.entries.into_iter().next();
            let (seen, count) = entry.as_ref().map_or((0, 0), |entry| {
                let text = String::from_utf8_lossy(&entry.value).into_owned();
                let (seen, count) = text.split_once(' ').unwrap_or_default();
                (seen.parse().unwrap_or(0), count.parse().unwrap_or(0))
            });
            if token < seen {
                return Ok(Got::Stale { seen });
            }
            let is = match entry {
                None => Compare::Absent(key.clone()),
                Some(entry) => Compare::Modified(key.clone(), entry.modified),
            };
            let next = put(&key, &format!("{token} {}", count + 1));
            let outcome = self.store.txn(Txn { compares: vec![is], ..next }).await?;
            if outcome.succeeded {
                return Ok(Got::Counted { count, revision: outcome.revision.0 });
            }
        }
    }
}

pub(crate) fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn refused(error: &LockError) -> Got {
    // Without names, so that they can be counted.
    let why = match error {
        LockError::NotHeld { .. } => "the lock was not held any more".to_owned(),
        other => other.to_string(),
    };
    Got::Refused { why }
}

fn told(error: StoreError) -> Got {
    match error {
        StoreError::Unknown(why) => Got::Unknown { why },
        error => Got::Refused { why: error.to_string() },
    }
}
