//! Those who want one resource, and who of them holds it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::store::Entry;
use super::{FencingToken, LeaseId, LockMode, LockView, PREFIX, Revision};

/// What the store keeps of one who wants a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) mode: LockMode,
    /// How often it has to be released.
    pub(super) held: u32,
    pub(super) lease: LeaseId,
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
    pub(super) resource: String,
    pub(super) client: String,
    pub(super) record: Record,
    /// When it asked.
    pub(super) created: Revision,
    pub(super) modified: Revision,
}

pub(super) fn prefix_of(resource: &str) -> String {
    format!("{PREFIX}{resource}/")
}

pub(super) fn key(resource: &str, client: &str) -> String {
    format!("{}{client}", prefix_of(resource))
}

/// In the order in which they asked. What is not ours is left out.
pub(super) fn contenders(entries: &[Entry]) -> Vec<Contender> {
    let contender = |entry: &Entry| {
        let (resource, client) = entry.key.strip_prefix(PREFIX)?.split_once('/')?;
        let record = serde_json::from_slice(&entry.value).ok()?;
        let (resource, client) = (resource.to_owned(), client.to_owned());
        Some(Contender { resource, client, record, created: entry.created, modified: entry.modified })
    };
    let mut all: Vec<Contender> = entries.iter().filter_map(contender).collect();
    all.sort_by_key(|one| one.created);
    all
}

/// The first of a queue, or all shared ones before the first exclusive one.
pub(super) fn holders<'a>(queue: &[&'a Contender]) -> Vec<&'a Contender> {
    let shared = queue.iter().take_while(|one| one.record.mode == LockMode::Shared).count();
    queue.iter().take(shared.max(1)).copied().collect()
}

/// 0 for one who holds, else its place among those who wait.
pub(super) fn position(queue: &[&Contender], own: &Contender) -> usize {
    let ahead = queue.iter().filter(|one| one.created < own.created).count();
    (ahead + 1).saturating_sub(holders(queue).len())
}

/// The lock of a resource, if anybody has it.
pub(super) fn view(all: &[Contender], resource: &str) -> Option<LockView> {
    let queue: Vec<&Contender> = all.iter().filter(|one| one.resource == resource).collect();
    let holding = holders(&queue);
    let proof = |one: &&Contender| (one.client.clone(), FencingToken(one.created.0));
    Some(LockView {
        resource: resource.to_owned(),
        mode: holding.first()?.record.mode,
        holders: holding.iter().map(proof).collect(),
        waiting: queue[holding.len()..].iter().map(|one| one.client.clone()).collect(),
    })
}
