//! The journal of commands: each id is begun once, by whichever process of the team, and its outcome is kept for those who
//! send it again.
//!
//! An entry lives for [`JOURNAL_TTL`], which is longer than the longest time to live of a command, so that no repeated id can
//! come after its entry is gone and still be valid.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::store::commit::{CommitOutcome, commit};
use crate::store::scan::get;
use crate::store::{Compare, Entry, LeaseId, Op, Range, Store, StoreError};

/// How long an entry is kept at least.
pub const JOURNAL_TTL: Duration = Duration::from_secs(600);
/// Prefix of the keys of entries.
pub const PREFIX: &str = "commands/";
/// Entries share the lease of their minute.
const LEASE_PERIOD: Duration = Duration::from_secs(60);
/// Bytes of an entry.
const ENTRY_BYTES: usize = 64 << 10;
/// Entries that one process may begin within [`LEASE_PERIOD`].
const ENTRIES_PER_PERIOD: usize = 6_000;
/// Entries in a list.
pub const LISTED: usize = 200;

/// Why the journal refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The id belongs to another command.
    #[error("the id {0} was used for another command: use a new one")]
    IdUsed(String),
    /// Too many commands within a minute.
    #[error("more than {ENTRIES_PER_PERIOD} commands within a minute: send fewer")]
    TooMany,
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Identifies the command: another command under the same id differs in it.
    pub fingerprint: String,
    /// Whether its outcome is known.
    pub finished: bool,
    /// The command and its outcome.
    pub document: Value,
}

/// How a command begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// Nobody has begun it: it is to be done.
    New,
    /// Somebody has begun it.
    Known(JournalEntry),
}

#[derive(Debug)]
struct SharedLease {
    id: LeaseId,
    granted: Instant,
    entries: usize,
}

/// The journal, as one process sees it.
pub struct CommandJournal {
    store: Arc<dyn Store>,
    lease: Mutex<Option<SharedLease>>,
}

impl CommandJournal {
    /// The journal over a shared store.
    pub fn new(store: Arc<dyn Store>) -> CommandJournal {
        CommandJournal { store, lease: Mutex::default() }
    }

    /// Begins a command, unless somebody has. It is in the store when this returns.
    pub async fn begin(&self, id: &str, fingerprint: &str, document: Value) -> Result<Begun, JournalError> {
        let lease = self.lease().await?;
        let key = key(id);
        let entry = JournalEntry { fingerprint: fingerprint.to_owned(), finished: false, document };
        let put = Op::Put { key: key.clone(), value: encode(&entry), lease: Some(lease) };
        match commit(&*self.store, vec![Compare::Absent(key)], vec![put]).await? {
            CommitOutcome::Applied(_) => Ok(Begun::New),
            // After an unknown outcome nobody does it, though this call may have begun it: at most once comes first.
            CommitOutcome::Conflict | CommitOutcome::Unknown => match self.known(id, fingerprint).await? {
                Begun::Known(entry) => Ok(Begun::Known(entry)),
                Begun::New => Err(StoreError::Unknown("the journal lost the command".to_owned()).into()),
            },
        }
    }

    async fn known(&self, id: &str, fingerprint: &str) -> Result<Begun, JournalError> {
        match self.get(id).await? {
            Some(entry) if entry.fingerprint == fingerprint => Ok(Begun::Known(entry)),
            Some(_) => Err(JournalError::IdUsed(id.to_owned())),
            None => Ok(Begun::New),
        }
    }

    /// Records the present state of a command that this process has begun.
    pub async fn update(
        &self,
        id: &str,
        fingerprint: &str,
        document: Value,
        finished: bool,
    ) -> Result<(), JournalError> {
        let lease = self.lease().await?;
        let entry = JournalEntry { fingerprint: fingerprint.to_owned(), finished, document };
        let put = Op::Put { key: key(id), value: encode(&entry), lease: Some(lease) };
        match commit(&*self.store, Vec::new(), vec![put]).await? {
            CommitOutcome::Applied(_) | CommitOutcome::Unknown | CommitOutcome::Conflict => Ok(()),
        }
    }

    /// The entry of this id.
    pub async fn get(&self, id: &str) -> Result<Option<JournalEntry>, JournalError> {
        let (entry, _) = get(&*self.store, &key(id), None).await?;
        Ok(entry.as_ref().and_then(decode))
    }

    /// The newest entries by id, which is their time if it is a UUID of version 7; newest first.
    pub async fn list(&self) -> Result<Vec<JournalEntry>, JournalError> {
        let range = Range { prefix: PREFIX.to_owned(), backward: true, limit: LISTED, ..Range::default() };
        Ok(self.store.range(range).await?.entries.iter().filter_map(decode).collect())
    }

    /// The lease of this minute.
    async fn lease(&self) -> Result<LeaseId, JournalError> {
        let mut shared = self.lease.lock().await;
        if let Some(lease) = shared.as_mut().filter(|lease| lease.granted.elapsed() < LEASE_PERIOD) {
            lease.entries += 1;
            return match lease.entries > ENTRIES_PER_PERIOD {
                true => Err(JournalError::TooMany),
                false => Ok(lease.id),
            };
        }
        let id = self.store.grant(JOURNAL_TTL + LEASE_PERIOD).await?;
        *shared = Some(SharedLease { id, granted: Instant::now(), entries: 1 });
        Ok(id)
    }
}

fn key(id: &str) -> String {
    format!("{PREFIX}{id}")
}

/// The stored form. An outcome that is too long is left out: that it was done is what must not be lost.
fn encode(entry: &JournalEntry) -> Bytes {
    // Our own types always serialize.
    let bytes = serde_json::to_vec(entry).unwrap_or_default();
    if bytes.len() <= ENTRY_BYTES {
        return bytes.into();
    }
    let mut shortened = entry.clone();
    if let Value::Object(document) = &mut shortened.document {
        document.remove("result");
    }
    serde_json::to_vec(&shortened).unwrap_or_default().into()
}

fn decode(entry: &Entry) -> Option<JournalEntry> {
    serde_json::from_slice(&entry.value).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::SqliteStore;

    fn sqlite() -> (tempfile::TempDir, Arc<dyn Store>) {
        let scratch = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(scratch.path()));
        (scratch, store)
    }

    #[tokio::test]
    async fn an_id_is_begun_once_and_its_outcome_is_kept() {
        let (_scratch, store) = sqlite();
        let (one, other) = (CommandJournal::new(store.clone()), CommandJournal::new(store));
        assert_eq!(one.begin("a", "f", json!({"n": 1})).await, Ok(Begun::New));
        let known = other.begin("a", "f", json!({"n": 2})).await.unwrap();
        let begun = JournalEntry { fingerprint: "f".into(), finished: false, document: json!({"n": 1}) };
        assert_eq!(known, Begun::Known(begun));
        one.update("a", "f", json!({"n": 3}), true).await.unwrap();
        let known = other.begin("a", "f", json!({"n": 2})).await.unwrap();
        assert!(matches!(known, Begun::Known(entry) if entry.finished && entry.document == json!({"n": 3})));
        assert_eq!(other.begin("a", "g", json!({})).await, Err(JournalError::IdUsed("a".to_owned())));
    }

    #[tokio::test]
    async fn concurrent_attempts_begin_it_once() {
        let (_scratch, store) = sqlite();
        let journals: Vec<_> = (0..8).map(|_| CommandJournal::new(store.clone())).collect();
        let attempts = journals.iter().map(|journal| journal.begin("a", "f", json!({})));
        let all = futures_util::future::join_all(attempts).await;
        assert_eq!(all.iter().filter(|begun| **begun == Ok(Begun::New)).count(), 1, "{all:?}");
    }

    #[tokio::test]
    async fn the_newest_are_listed_first_and_a_long_result_is_left_out() {
        let (_scratch, store) = sqlite();
        let journal = CommandJournal::new(store);
        for n in 0..3 {
            journal.begin(&format!("{n}"), "f", json!({"n": n})).await.unwrap();
        }
        let listed: Vec<_> =
            journal.list().await.unwrap().into_iter().map(|entry| entry.document["n"].clone()).collect();
        assert_eq!(listed, [json!(2), json!(1), json!(0)]);
        let long = json!({"n": 9, "result": "x".repeat(ENTRY_BYTES)});
        journal.update("1", "f", long, true).await.unwrap();
        let entry = journal.get("1").await.unwrap().unwrap();
        assert_eq!((entry.document, entry.finished), (json!({"n": 9}), true));
    }
}
