//! Those who want one resource, and who of them holds it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::locks::{FencingToken, LeaseId, LockMode, PREFIX, Revision, Standing};
use crate::store::Entry;

/// Places among those who were put in order by one transaction; there are never as many.
const PLACES: u64 = 1 << 10;

/// What the store keeps of one who wants a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) mode: LockMode,
    /// How often it has to be released; 0 while the client has not been told that it holds it.
    pub(super) held: u32,
    pub(super) lease: LeaseId,
    /// Its place among those who were put in order by the same transaction.
    #[serde(default)]
    pub(super) place: u32,
}

impl Record {
    pub(super) fn bytes(&self) -> Bytes {
        // Our own types always serialize.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// One who wants a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contender {
    pub(super) key: String,
    pub(super) resource: String,
    pub(super) client: String,
    pub(super) record: Record,
    /// When it asked, or was put in order again.
    pub(super) created: Revision,
    pub(super) modified: Revision,
}

impl Contender {
    /// What is not ours is none.
    pub(super) fn of(entry: &Entry) -> Option<Contender> {
        let (resource, client) = names(&entry.key)?;
        let record = serde_json::from_slice(&entry.value).ok()?;
        let (resource, client) = (resource.to_owned(), client.to_owned());
        let (created, modified) = (entry.created, entry.modified);
        Some(Contender { key: entry.key.clone(), resource, client, record, created, modified })
    }

    /// By which the queue is sorted, and what proves the lock.
    pub(super) fn token(&self) -> FencingToken {
        FencingToken(self.created.0.saturating_mul(PLACES) + u64::from(self.record.place))
    }
}

pub(super) fn prefix_of(resource: &str) -> String {
    format!("{PREFIX}{resource}/")
}

pub(super) fn key(resource: &str, client: &str) -> String {
    format!("{}{client}", prefix_of(resource))
}

/// The key of a client that was put in order again, by the transaction after `revision`.
pub(super) fn moved_key(resource: &str, client: &str, revision: Revision) -> String {
    format!("{}{client}/{}", prefix_of(resource), revision.0)
}

/// The resource and the client of a key.
pub(super) fn names(key: &str) -> Option<(&str, &str)> {
    let (resource, rest) = key.strip_prefix(PREFIX)?.split_once('/')?;
    Some((resource, rest.split_once('/').map_or(rest, |(client, _)| client)))
}

/// In the order in which they asked.
pub(super) fn contenders(entries: &[Entry]) -> Vec<Contender> {
    let mut all: Vec<Contender> = entries.iter().filter_map(Contender::of).collect();
    all.sort_by_key(Contender::token);
    all
}

/// The first of a queue, or all shared ones before the first exclusive one.
pub(super) fn holders<'a>(queue: &[&'a Contender]) -> Vec<&'a Contender> {
    let shared = queue.iter().take_while(|one| one.record.mode == LockMode::Shared).count();
    queue.iter().take(shared.max(1)).copied().collect()
}

/// Whether one of a queue holds it, else its place.
pub(super) fn standing(queue: &[&Contender], own: &Contender) -> Standing {
    let ahead = queue.iter().filter(|one| one.token() < own.token()).count();
    match (ahead + 1).saturating_sub(holders(queue).len()) {
        0 => Standing::Held(own.token()),
        place => Standing::Waiting(place),
    }
}
