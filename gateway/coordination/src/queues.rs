//! Work queues over the store, with at-least-once delivery.
//!
//! A delivered message is hidden by a key with a lease. When the lease ends, the store removes that key
//! and the message is available again: no sweeper is needed, and no wall clock is involved. Every
//! change of a message compares the revision at which the message was read, so exactly one of several
//! consumers gets it.

mod dead_letters;
mod dequeue;
mod enqueue;
mod error;
mod keys;
mod leases;
mod long_poll;
mod read;
mod record;
mod settle;
mod stats;
mod validation;
mod view;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::client::{Client, is_identity};
use crate::json;
use crate::limits;
use crate::name;
pub use crate::queues::error::QueueError;
use crate::queues::leases::LeasePool;
pub use crate::queues::record::Settings;
pub use crate::queues::stats::QueueView;
pub use crate::queues::view::{DeadLetter, MessageSummary};
use crate::quota::{Quota, QuotaLimits, QuotaUsage};
use crate::store::commit::CommitOutcome;
use crate::store::{Compare, Op, Store};

/// Shards of the mutex that serializes this process's changes per queue, so that only processes
/// contend.
const SHARDS: usize = 64;

/// The actor of an operation, recorded for later inspection.
#[derive(Clone, Copy)]
pub struct Actor<'a> {
    /// The client. A message in work belongs to its identity.
    pub client: Client<'a>,
    /// Wall clock, nanoseconds since the Unix epoch; for display only.
    pub now_ns: fn() -> u64,
}

impl Actor<'_> {
    /// The label that records show.
    fn label(&self) -> String {
        truncated(self.client.label())
    }

    /// The unverified name that the client of a known identity declares, if any.
    fn own_name(&self) -> Option<String> {
        let Client { identity, name } = self.client;
        identity.and(Some(name)).filter(|name| !name.is_empty()).map(truncated)
    }

    fn identity(&self) -> Option<String> {
        self.client.identity.map(str::to_owned)
    }

    fn check(&self) -> Result<(), QueueError> {
        match self.client.identity.is_none_or(is_identity) {
            true => Ok(()),
            false => Err(QueueError::InvalidIdentity),
        }
    }
}

/// A message to be enqueued.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The payload.
    pub body: Bytes,
    /// 0 to 9; higher priorities are delivered first.
    pub priority: u8,
    /// The message is not available before.
    pub delay: Option<Duration>,
    /// Deduplication id: a second message of the same identity with this id within five minutes is dropped
    /// as a duplicate.
    pub dedup: Option<String>,
}

/// An enqueued message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The message id.
    pub id: String,
    /// The message was dropped as a duplicate; the id is that of the first one.
    pub duplicate: bool,
}

/// How many messages to dequeue, and for how long they are hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DequeueOptions {
    /// The largest number of messages.
    pub max: usize,
    /// Visibility timeout; the queue's default if absent.
    pub visibility: Option<Duration>,
}

impl Default for DequeueOptions {
    fn default() -> DequeueOptions {
        DequeueOptions { max: 1, visibility: None }
    }
}

/// A delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message id.
    pub id: String,
    /// The payload.
    pub body: Bytes,
    /// The delivery number; the first is 1.
    pub delivery: u32,
    /// The priority.
    pub priority: u8,
    /// The producer's identity.
    pub by: String,
    /// The unverified name that the producer declares.
    pub client: Option<String>,
    /// When it was enqueued, nanoseconds since the Unix epoch.
    pub enqueued_ns: u64,
    /// When it was delivered, nanoseconds since the Unix epoch.
    pub delivered_ns: u64,
    /// The visibility timeout of this delivery.
    pub visibility_ms: u64,
}

/// The queue service: enqueue, dequeue, settle and inspect messages.
#[derive(Clone)]
pub struct Queues {
    store: Arc<dyn Store>,
    quota: Arc<Quota>,
    local: Arc<LocalState>,
}

/// Limits of messages in the store.
const QUOTA: QuotaLimits = QuotaLimits {
    owner_entries: limits::QUEUE_OWNER_MESSAGES,
    owner_bytes: limits::QUEUE_OWNER_BYTES,
    entries: limits::QUEUE_TOTAL_MESSAGES,
    bytes: limits::QUEUE_TOTAL_BYTES,
    owner_bytes_per_minute: limits::QUEUE_OWNER_BYTES_PER_MINUTE,
};

/// State that one process keeps for its own calls.
struct LocalState {
    mutexes: Vec<tokio::sync::Mutex<()>>,
    hasher: RandomState,
    leases: LeasePool,
    sizes: Mutex<HashMap<String, enqueue::SizeBound>>,
    /// How often this process has removed messages from any queue.
    removed: AtomicU64,
    stats: stats::StatsCache,
    wait_queues: long_poll::WaitQueues,
}

impl Queues {
    /// Creates the queue service over a shared store.
    pub fn new(store: Arc<dyn Store>) -> Queues {
        let local = LocalState {
            mutexes: (0..SHARDS).map(|_| tokio::sync::Mutex::default()).collect(),
            hasher: RandomState::new(),
            leases: LeasePool::new(store.clone()),
            sizes: Mutex::default(),
            removed: AtomicU64::new(0),
            stats: stats::StatsCache::default(),
            wait_queues: long_poll::WaitQueues::default(),
        };
        let quota = Quota::new(store.clone(), keys::ALL, record::counted, QUOTA);
        Queues { store, quota: Arc::new(quota), local: Arc::new(local) }
    }

    /// Messages and bytes of all authors, and the number of messages refused by a quota.
    pub fn usage(&self) -> QuotaUsage {
        self.quota.usage()
    }

    /// Locks a queue within this process, in order of arrival.
    async fn lock_queue(&self, queue: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let shard = self.local.hasher.hash_one(queue) % SHARDS as u64;
        self.local.mutexes[shard as usize].lock().await
    }

    /// Notes that messages were removed: a full queue may have room again.
    fn note_removal(&self) {
        self.local.removed.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes the settings of a queue; creates the queue if it does not exist.
    pub async fn configure(
        &self,
        queue: &str,
        settings: Settings,
        actor: &Actor<'_>,
    ) -> Result<(), QueueError> {
        check_name(queue)?;
        validation::check_settings(settings)?;
        let _guard = self.lock_queue(queue).await;
        for _ in 0..limits::QUEUE_TXN_ATTEMPTS {
            let (meta, _) = self.meta(queue, actor).await?;
            let unchanged = enqueue::unchanged(queue, meta.modified);
            let meta = record::Meta { settings, touch: record::unique_id(), ..meta.value };
            let put = Op::Put { key: keys::meta(queue), value: json::encode(&meta), lease: None };
            match self.commit(vec![unchanged], vec![put]).await? {
                CommitOutcome::Applied(_) => {
                    self.local.stats.forget(queue);
                    return Ok(());
                }
                // Writing the same settings twice does no harm.
                CommitOutcome::Conflict | CommitOutcome::Unknown => {}
            }
        }
        Err(QueueError::Contended)
    }
}

/// Compares that a key is unchanged since it was read at this revision.
fn unmodified_since(key: String, modified: crate::store::Revision) -> Compare {
    Compare::Modified(key, modified)
}

fn truncated(name: &str) -> String {
    let end = name.floor_char_boundary(limits::QUEUE_NAME_BYTES);
    name.get(..end).unwrap_or_default().to_owned()
}

fn check_name(name: &str) -> Result<(), QueueError> {
    match name::is_valid(name, limits::QUEUE_NAME_BYTES) {
        true => Ok(()),
        false => Err(QueueError::InvalidName),
    }
}
