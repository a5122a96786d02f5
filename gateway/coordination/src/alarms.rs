//! The shared records of alarms: one key per alarm, a replica of them in each process, and writes that merge.

mod event_source;
mod replica;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use roverline_protocol::alarms::MAX_ALARMS;
use roverline_protocol::alarms::id::is_alarm_id;
use roverline_protocol::alarms::record::{AlarmActionError, AlarmRecord};
use roverline_protocol::api::alarms::AlarmState;
use tokio::sync::watch;

pub(crate) use crate::alarms::event_source::AlarmEventSource;
use crate::alarms::replica::Replica;
use crate::store::commit::{CommitOutcome, commit};
use crate::store::{Compare, Entry, Op, Store, StoreError, scan};

/// The prefix of the records' keys.
pub const PREFIX: &str = "alarm/";
/// Written now and then so that a watch of the alarms advances; no id has such a character.
pub(crate) const TICK_KEY: &str = "alarm/~tick";

/// Optimistic attempts of one write.
const WRITE_ATTEMPTS: usize = 32;

/// Why a record was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlarmError {
    /// There is no such alarm.
    #[error("there is no alarm {0}")]
    Unknown(String),
    /// The alarm does not allow it.
    #[error(transparent)]
    Refused(#[from] AlarmActionError),
    /// There are too many records.
    #[error("there are {MAX_ALARMS} alarms, which is all there may be")]
    TooMany,
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The alarms of a team.
pub struct Alarms {
    store: Arc<dyn Store>,
    replica: Replica,
}

impl Alarms {
    /// The alarms in this store.
    pub(crate) fn new(store: Arc<dyn Store>) -> Alarms {
        Alarms { store, replica: Replica::default() }
    }

    /// Maintains the replica. One task per process; never ends.
    pub async fn run_replica(&self) {
        self.replica.run(&*self.store).await;
    }

    /// Calls `read` with the records that this process knows.
    pub fn with<T>(&self, read: impl FnOnce(&BTreeMap<String, AlarmRecord>) -> T) -> T {
        self.replica.with(read)
    }

    /// Why records are not shared at present; `None` if they are.
    pub fn unshared(&self) -> Option<String> {
        self.replica.unshared()
    }

    /// Is notified of every change of the replica.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.replica.changes()
    }

    /// Merges a record into the stored one; returns the result. Repeating it changes nothing.
    pub async fn merge(&self, id: &str, record: &AlarmRecord) -> Result<AlarmRecord, AlarmError> {
        self.change(id, true, |stored| {
            let merged = stored.merge(record);
            Ok((merged != *stored).then_some(merged))
        })
        .await
    }

    /// Changes the record of an alarm that exists. `change` returns `None` if nothing has to change; it is called again if
    /// another process changes the record at the same time, or if it is not known whether a write happened.
    pub async fn update(
        &self,
        id: &str,
        change: impl Fn(&AlarmRecord) -> Result<Option<AlarmRecord>, AlarmActionError>,
    ) -> Result<AlarmRecord, AlarmError> {
        self.change(id, false, change).await
    }

    /// Deletes the record of a cleared alarm, unless it has been raised meanwhile.
    pub async fn remove_cleared(&self, id: &str) -> Result<(), AlarmError> {
        let key = key(id)?;
        let (Some(entry), _) = scan::get(&*self.store, &key, None).await? else { return Ok(()) };
        if decode(&entry).state() == AlarmState::Cleared {
            let compare = Compare::Modified(key.clone(), entry.modified);
            commit(&*self.store, vec![compare], vec![Op::Delete(key)]).await?;
        }
        Ok(())
    }

    async fn change(
        &self,
        id: &str,
        creates: bool,
        change: impl Fn(&AlarmRecord) -> Result<Option<AlarmRecord>, AlarmActionError>,
    ) -> Result<AlarmRecord, AlarmError> {
        let changed = self.try_change(id, creates, change).await;
        match &changed {
            Ok(record) => self.replica.on_write(id, record),
            Err(AlarmError::Store(error)) => self.replica.on_failure(error),
            Err(_) => {}
        }
        changed
    }

    async fn try_change(
        &self,
        id: &str,
        creates: bool,
        change: impl Fn(&AlarmRecord) -> Result<Option<AlarmRecord>, AlarmActionError>,
    ) -> Result<AlarmRecord, AlarmError> {
        let key = key(id)?;
        for _ in 0..WRITE_ATTEMPTS {
            let (entry, _) = scan::get(&*self.store, &key, None).await?;
            let (compare, stored) = match &entry {
                Some(entry) => (Compare::Modified(key.clone(), entry.modified), decode(entry)),
                None if !creates => return Err(AlarmError::Unknown(id.to_owned())),
                None if self.with(BTreeMap::len) >= MAX_ALARMS => return Err(AlarmError::TooMany),
                None => (Compare::Absent(key.clone()), AlarmRecord::default()),
            };
            let Some(next) = change(&stored)? else { return Ok(stored) };
            // A record serializes: its values are finite.
            let value = serde_json::to_vec(&next).map(Bytes::from).unwrap_or_default();
            let put = Op::Put { key: key.clone(), value, lease: None };
            if let CommitOutcome::Applied(_) = commit(&*self.store, vec![compare], vec![put]).await? {
                return Ok(next);
            }
        }
        Err(StoreError::Busy.into())
    }
}

fn key(id: &str) -> Result<String, AlarmError> {
    match is_alarm_id(id) {
        true => Ok(format!("{PREFIX}{id}")),
        false => Err(AlarmError::Unknown(id.chars().take(80).collect())),
    }
}

/// The record of an entry. One that cannot be read is as good as none: it is raised again if its condition persists.
fn decode(entry: &Entry) -> AlarmRecord {
    serde_json::from_slice(&entry.value).unwrap_or_default()
}
