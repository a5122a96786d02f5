//! The recorded operations of a store client, through the store trait and the services built on it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_coordination::Client;
use roverline_coordination::commands::CommandJournal;
use roverline_coordination::events::{Events, NodeIdentity};
use roverline_coordination::kv::{Cache, Kv};
use roverline_coordination::locks::{FencingToken, LockError, LockMode, LockStatus, Locks};
use roverline_coordination::queues::Queues;
use roverline_coordination::store::{self, Compare, Op, Range, Store, StoreError, Txn};

use super::journal::{Operation, Outcome};

/// Opens a store: a directory for SQLite, or the URL of a cluster.
pub(crate) fn open(name: &str) -> Result<Arc<dyn Store>, String> {
    let opened = match name.contains("://") {
        false => store::open(store::SQLITE, Path::new(name)),
        true => store::open(name, Path::new("")),
    };
    opened.map_err(|error| error.to_string())
}

/// The store and its services, as used by one process.
#[derive(Clone)]
pub(crate) struct StoreClients {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) locks: Locks,
    pub(crate) queues: Queues,
    pub(crate) events: Events,
    pub(crate) cache: Arc<Cache>,
    pub(crate) commands: Arc<CommandJournal>,
}

/// A transaction that writes a value unconditionally.
pub(crate) fn put(key: &str, value: &str) -> Txn {
    let op = Op::Put { key: key.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()), lease: None };
    Txn { success: vec![op], ..Txn::default() }
}

/// The range of all keys with a prefix.
pub(crate) fn prefix_range(prefix: &str) -> Range {
    Range { prefix: prefix.to_owned(), limit: usize::MAX, ..Range::default() }
}

/// The key of the guarded resource: the newest writer's token, and a count.
fn guarded_key(resource: &str) -> String {
    format!("guarded/{resource}")
}

impl StoreClients {
    pub(crate) fn on(store: Arc<dyn Store>) -> StoreClients {
        StoreClients {
            locks: Locks::new(store.clone()),
            queues: Queues::new(store.clone()),
            events: Events::new(store.clone(), NodeIdentity::ephemeral("proof")),
            cache: Arc::new(Cache::new(Kv::new(store.clone()))),
            commands: Arc::new(CommandJournal::new(store.clone())),
            store,
        }
    }

    /// Performs one operation for a client. `ttl` is the lease of a lock, `wait` how long to wait for one.
    pub(crate) async fn execute(
        &self,
        client: &str,
        operation: &Operation,
        ttl: Duration,
        wait: Duration,
    ) -> Outcome {
        let result = match operation {
            Operation::Read { key } => self.read(key).await,
            Operation::Write { key, value } => self.write(put(key, &value.to_string())).await,
            Operation::Swap { key, from, to } => self.swap(key, *from, *to).await,
            Operation::Create { key } => {
                let txn = Txn { compares: vec![Compare::Absent(key.clone())], ..put(key, client) };
                self.write(txn).await
            }
            Operation::Lock { resource } => return self.lock(resource, client, ttl, wait).await,
            Operation::Unlock { resource, .. } => {
                match self.locks.release(resource, Client::of(client, client)).await {
                    Ok(_) => Ok(Outcome::Released),
                    Err(LockError::Store(error)) => Err(error),
                    Err(error) => Ok(refused(&error)),
                }
            }
            Operation::Guarded { resource, token } => self.guarded(resource, *token).await,
            Operation::Enqueue { queue, body } => self.enqueue(queue, client, *body).await,
            Operation::Dequeue { queue } => self.dequeue(queue, client).await,
            Operation::Ack { id, delivery } => self.ack(id, *delivery, client).await,
            Operation::Nak { id, delivery } => self.nak(id, *delivery, client).await,
            Operation::Append { stream, id } => self.append(stream, id).await,
            Operation::Share { key, value } => self.share(key, *value, client).await,
            Operation::CachedRead { key } => self.cached_read(key).await,
            Operation::Begin { id, by } => self.begin(id, by).await,
            Operation::Finish { id, by } => self.finish(id, by).await,
        };
        result.unwrap_or_else(failed)
    }

    async fn read(&self, key: &str) -> Result<Outcome, StoreError> {
        let page = self.store.range(Range { prefix: key.to_owned(), limit: 1, ..Range::default() }).await?;
        let value = page.entries.first().and_then(|entry| number(&entry.value));
        Ok(Outcome::Value { value, revision: page.revision.0 })
    }

    async fn write(&self, txn: Txn) -> Result<Outcome, StoreError> {
        let outcome = self.store.txn(txn).await?;
        match outcome.succeeded {
            true => Ok(Outcome::Done { revision: outcome.revision.0 }),
            false => Ok(Outcome::Refused { why: "it was not as compared".to_owned() }),
        }
    }

    async fn swap(&self, key: &str, from: Option<u64>, to: u64) -> Result<Outcome, StoreError> {
        let compare = match from {
            None => Compare::Absent(key.to_owned()),
            Some(value) => Compare::Value(key.to_owned(), Bytes::from(value.to_string())),
        };
        let failure = vec![Op::Get(key.to_owned())];
        let txn = Txn { compares: vec![compare], failure, ..put(key, &to.to_string()) };
        let outcome = self.store.txn(txn).await?;
        let revision = outcome.revision.0;
        Ok(match (outcome.succeeded, outcome.got.first()) {
            (true, _) => Outcome::Done { revision },
            (false, entry) => {
                let value = entry.and_then(Option::as_ref).and_then(|entry| number(&entry.value));
                Outcome::Value { value, revision }
            }
        })
    }

    async fn lock(&self, resource: &str, client: &str, ttl: Duration, wait: Duration) -> Outcome {
        let client = Client::of(client, client);
        match self.locks.acquire_within(resource, client, LockMode::Exclusive, ttl, wait).await {
            Ok(LockStatus::Held(FencingToken(token))) => Outcome::Held { token },
            Ok(LockStatus::Waiting(_)) => Outcome::Refused { why: "somebody else held the lock".to_owned() },
            Err(LockError::Store(error)) => failed(error),
            Err(error) => refused(&error),
        }
    }

    /// Updates the guarded resource: it stores the highest token and rejects lower ones.
    pub(crate) async fn guarded(&self, resource: &str, token: u64) -> Result<Outcome, StoreError> {
        let key = guarded_key(resource);
        loop {
            let range = Range { prefix: key.clone(), limit: 1, ..Range::default() };
            let entry = self.store.range(range).await?.entries.into_iter().next();
            let (seen, count) = entry.as_ref().map_or((0, 0), |entry| {
                let text = String::from_utf8_lossy(&entry.value).into_owned();
                let (seen, count) = text.split_once(' ').unwrap_or_default();
                (seen.parse().unwrap_or(0), count.parse().unwrap_or(0))
            });
            if token < seen {
                return Ok(Outcome::Stale { seen });
            }
            let compare = match entry {
                None => Compare::Absent(key.clone()),
                Some(entry) => Compare::Modified(key.clone(), entry.modified),
            };
            let next = put(&key, &format!("{token} {}", count + 1));
            let outcome = self.store.txn(Txn { compares: vec![compare], ..next }).await?;
            if outcome.succeeded {
                return Ok(Outcome::Counted { count, revision: outcome.revision.0 });
            }
        }
    }
}

pub(crate) fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn refused(error: &LockError) -> Outcome {
    // Without names, so that equal reasons are counted together.
    let why = match error {
        LockError::NotHeld { .. } => "the lock was not held any more".to_owned(),
        other => other.to_string(),
    };
    Outcome::Refused { why }
}

fn failed(error: StoreError) -> Outcome {
    match error {
        StoreError::Unknown(why) => Outcome::Unknown { why },
        error => Outcome::Refused { why: error.to_string() },
    }
}
