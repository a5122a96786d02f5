//! Work that waits to be done: named queues over the store, at least once each message.
//!
//! A message that was taken is hidden by a key with a lease. When the lease ends the store itself
//! removes that key, and the message can be taken again: nobody has to sweep, and no clock of ours is
//! asked. Whoever changes a message compares the revision at which it was read, so that of several who
//! take it one gets it.

mod commit;
mod dead_letters;
mod dequeue;
mod enqueue;
mod error;
mod keys;
mod leases;
mod long_poll;
mod record;
mod settle;
mod stats;
mod view;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;

pub use crate::queues::error::QueueError;
use crate::queues::leases::Leases;
pub use crate::queues::record::Settings;
pub use crate::queues::view::{DeadLetter, Listed, QueueView};
use crate::store::{Compare, Op, Store};

/// Calls of this process that change the same queue take turns, so that only processes contend.
const TURNS: usize = 64;

/// Who does something, for those who look at it later.
#[derive(Clone, Copy)]
pub struct By<'a> {
    /// What they are called; cut after [`limits::QUEUE_NAME_BYTES`].
    pub who: &'a str,
    /// The time of day, Unix nanoseconds: only ever shown.
    pub now_ns: fn() -> u64,
}

impl By<'_> {
    fn name(&self) -> String {
        let end = self.who.floor_char_boundary(limits::QUEUE_NAME_BYTES);
        self.who.get(..end).unwrap_or_default().to_owned()
    }
}

/// A message to be put into a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What it says.
    pub body: Bytes,
    /// The higher, the sooner: 0 to 9.
    pub priority: u8,
    /// It cannot be taken before.
    pub delay: Option<Duration>,
    /// A second one of this id, within five minutes, is the first one.
    pub dedup: Option<String>,
}

/// A message that is in its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its name from now on.
    pub id: String,
    /// It was there already, by its dedup id.
    pub duplicate: bool,
}

/// How many messages are taken, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// At most so many.
    pub most: usize,
    /// For how long nobody else gets them; without it, as the queue has it.
    pub visibility: Option<Duration>,
}

impl Default for Take {
    fn default() -> Take {
        Take { most: 1, visibility: None }
    }
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its name.
    pub id: String,
    /// What it says.
    pub body: Bytes,
    /// Which delivery of it this is; the first is 1.
    pub delivery: u32,
    /// Its priority.
    pub priority: u8,
    /// Who put it into the queue.
    pub by: String,
    /// When, Unix nanoseconds.
    pub enqueued_ns: u64,
    /// When it was taken.
    pub delivered_ns: u64,
    /// For how long nobody else gets it.
    pub visibility_ms: u64,
}

/// The queues of a team.
#[derive(Clone)]
pub struct Queues {
    store: Arc<dyn Store>,
    here: Arc<Here>,
}

/// What one process keeps for its own calls.
struct Here {
    turns: Vec<tokio::sync::Mutex<()>>,
    hasher: RandomState,
    leases: Leases,
    sizes: Mutex<HashMap<String, enqueue::Counted>>,
    /// How often this process made room in any queue.
    removed: AtomicU64,
    counts: stats::Counts,
    lines: long_poll::Lines,
}

impl Queues {
    /// Over a store that all share.
    pub fn new(store: Arc<dyn Store>) -> Queues {
        let here = Here {
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect(),
            hasher: RandomState::new(),
            leases: Leases::new(store.clone()),
            sizes: Mutex::default(),
            removed: AtomicU64::new(0),
            counts: stats::Counts::default(),
            lines: long_poll::Lines::default(),
        };
        Queues { store, here: Arc::new(here) }
    }

    /// Waits for this process's turn at a queue; in the order of asking.
    async fn turn(&self, queue: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let place = self.here.hasher.hash_one(queue) % TURNS as u64;
        self.here.turns[place as usize].lock().await
    }

    fn sizes(&self) -> std::sync::MutexGuard<'_, HashMap<String, enqueue::Counted>> {
        self.here.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is gone from a queue: one that was full may have room.
    fn made_room(&self) {
        self.here.removed.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes how a queue deals with its messages; makes it, if there is none.
    pub async fn configure(&self, queue: &str, settings: Settings, by: &By<'_>) -> Result<(), QueueError> {
        check_name(queue)?;
        error::check_settings(settings)?;
        let _turn = self.turn(queue).await;
        for _ in 0..limits::QUEUE_TRIES_ATTEMPTS {
            let (meta, _) = self.meta(queue, by).await?;
            let unchanged = enqueue::unchanged(queue, meta.modified);
            let meta = record::Meta { settings, touch: record::fresh(), ..meta.value };
            let put = Op::Put { key: keys::meta(queue), value: record::bytes(&meta), lease: None };
            match self.commit(vec![unchanged], vec![put]).await? {
                commit::Done::Yes(_) => {
                    self.here.counts.forget(queue);
                    return Ok(());
                }
                // To be the same once more harms nobody.
                commit::Done::No | commit::Done::Perhaps => {}
            }
        }
        Err(QueueError::Contended)
    }
}

/// What holds as long as nobody changes a key that was read at this revision.
fn same(key: String, modified: crate::store::Revision) -> Compare {
    Compare::Modified(key, modified)
}

fn check_name(name: &str) -> Result<(), QueueError> {
    let bad = name.is_empty()
        || name.len() > limits::QUEUE_NAME_BYTES
        || name.contains(|c: char| c == '/' || c.is_control());
    if bad { Err(QueueError::Name) } else { Ok(()) }
}
