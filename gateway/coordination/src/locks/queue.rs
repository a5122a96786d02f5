//! Queue entries of one resource, and which of them hold the lock.

use serde::{Deserialize, Serialize};

use crate::locks::{FencingToken, LeaseId, LockMode, LockStatus, PREFIX, Revision};
use crate::store::Entry;

/// Positions among waiters that one transaction reordered; there are always fewer.
const POSITIONS: u64 = 1 << 10;

/// The stored value of a queue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) mode: LockMode,
    /// The number of releases still needed; 0 until the client has been notified that it holds the
    /// lock.
    pub(super) held: u32,
    pub(super) lease: LeaseId,
    /// Position among the waiters that the same transaction reordered.
    #[serde(default, rename = "place")]
    pub(super) position: u32,
}

/// A client's entry in the queue of a resource; the first ones hold the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) key: String,
    pub(super) resource: String,
    pub(super) client: String,
    pub(super) record: Record,
    /// When the client joined the queue, or was reordered.
    pub(super) created: Revision,
    pub(super) modified: Revision,
}

impl Waiter {
    /// Parses an entry; `None` for a foreign key or value.
    pub(super) fn parse(entry: &Entry) -> Option<Waiter> {
        let (resource, client) = parse_key(&entry.key)?;
        let record = serde_json::from_slice(&entry.value).ok()?;
        let (resource, client) = (resource.to_owned(), client.to_owned());
        let (created, modified) = (entry.created, entry.modified);
        Some(Waiter { key: entry.key.clone(), resource, client, record, created, modified })
    }

    /// The sort key of the queue, and the fencing token.
    pub(super) fn token(&self) -> FencingToken {
        FencingToken(self.created.0.saturating_mul(POSITIONS) + u64::from(self.record.position))
    }
}

pub(super) fn prefix_of(resource: &str) -> String {
    format!("{PREFIX}{resource}/")
}

pub(super) fn key(resource: &str, client: &str) -> String {
    format!("{}{client}", prefix_of(resource))
}

/// The key of a reordered client; `revision` is the one before the reordering transaction.
pub(super) fn moved_key(resource: &str, client: &str, revision: Revision) -> String {
    format!("{}{client}/{}", prefix_of(resource), revision.0)
}

/// The resource and the client of a key.
pub(super) fn parse_key(key: &str) -> Option<(&str, &str)> {
    let (resource, rest) = key.strip_prefix(PREFIX)?.split_once('/')?;
    Some((resource, rest.split_once('/').map_or(rest, |(client, _)| client)))
}

/// Parses entries and sorts them in queue order.
pub(super) fn sorted_waiters(entries: &[Entry]) -> Vec<Waiter> {
    let mut all: Vec<Waiter> = entries.iter().filter_map(Waiter::parse).collect();
    all.sort_by_key(Waiter::token);
    all
}

/// The first waiter of a queue, or all shared ones ahead of the first exclusive one.
pub(super) fn holders<'a>(queue: &[&'a Waiter]) -> Vec<&'a Waiter> {
    let shared = queue.iter().take_while(|waiter| waiter.record.mode == LockMode::Shared).count();
    queue.iter().take(shared.max(1)).copied().collect()
}

/// Whether a waiter of this queue holds the lock, else its position.
pub(super) fn status(queue: &[&Waiter], own: &Waiter) -> LockStatus {
    let ahead = queue.iter().filter(|waiter| waiter.token() < own.token()).count();
    match (ahead + 1).saturating_sub(holders(queue).len()) {
        0 => LockStatus::Held(own.token()),
        position => LockStatus::Waiting(position),
    }
}
