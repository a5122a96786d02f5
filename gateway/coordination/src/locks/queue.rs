//! Queue entries of one resource, and which of them hold the lock.

use serde::{Deserialize, Serialize};

use crate::client::{Client, ClientId, key_suffix};
use crate::locks::{FencingToken, LeaseId, LockMode, LockStatus, PREFIX, Revision};
use crate::store::Entry;

/// Positions among waiters that one transaction reordered; there are always fewer.
pub(super) const POSITIONS: u64 = 1 << 10;

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
    pub(super) client: ClientId,
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
        let (resource, client) = (resource.to_owned(), ClientId::from(client));
        let (created, modified) = (entry.created, entry.modified);
        Some(Waiter { key: entry.key.clone(), resource, client, record, created, modified })
    }

    pub(super) fn client(&self) -> Client<'_> {
        self.client.as_client()
    }

    /// The sort key of the queue, and the fencing token.
    pub(super) fn token(&self) -> FencingToken {
        FencingToken(self.created.0.saturating_mul(POSITIONS) + u64::from(self.record.position))
    }
}

pub(super) fn prefix_of(resource: &str) -> String {
    format!("{PREFIX}{resource}/")
}

pub(super) fn key(resource: &str, client: Client<'_>) -> String {
    format!("{}{}{}", prefix_of(resource), client.name, key_suffix(client.identity))
}

/// The key of a reordered client; `revision` is the one before the reordering transaction.
pub(super) fn moved_key(resource: &str, client: Client<'_>, revision: Revision) -> String {
    let Client { identity, name } = client;
    format!("{}{name}/{}{}", prefix_of(resource), revision.0, key_suffix(identity))
}

/// The resource and the client of a key.
pub(super) fn parse_key(key: &str) -> Option<(&str, Client<'_>)> {
    key.strip_prefix(PREFIX).and_then(parse_owner)
}

/// The resource and the client in a key: `RESOURCE/NAME`, with `/REVISION` if it was reordered, and
/// `/@IDENTITY` unless an earlier version wrote it.
pub(super) fn parse_owner(key: &str) -> Option<(&str, Client<'_>)> {
    let (resource, rest) = key.split_once('/')?;
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let identity = match rest.strip_prefix('@') {
        Some(identity) => Some(identity),
        None => rest.split_once("/@").map(|(_, identity)| identity),
    };
    Some((resource, Client { identity, name }))
}

/// The client's entry in a queue. An entry without an identity belongs to any client that uses its name.
pub(super) fn own_entry<'a>(queue: &[&'a Waiter], client: Client<'_>) -> Option<&'a Waiter> {
    let find = |client: Client<'_>| queue.iter().copied().find(|waiter| waiter.client() == client);
    find(client).or_else(|| find(Client { identity: None, ..client }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_owner() {
        let at = Revision(7);
        for (key, identity) in [
            (key("arm", Client::of("a/@b/9", "ann")), Some("a/@b/9")),
            (moved_key("arm", Client::of("@1", "ann"), at), Some("@1")),
            (key("arm", "ann".into()), None),
            (moved_key("arm", "ann".into(), at), None),
        ] {
            assert_eq!(parse_key(&key), Some(("arm", Client { identity, name: "ann" })), "{key}");
        }
    }
}
