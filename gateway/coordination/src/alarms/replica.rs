//! The replica of all records in one process: a snapshot, then every change.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use roverline_protocol::alarms::record::AlarmRecord;
use tokio::sync::watch;

use crate::alarms::{PREFIX, TICK_KEY, decode};
use crate::limits;
use crate::store::list_watch::{List, each_change, start};
use crate::store::{Change, Entry, Store, StoreError};

/// The replica's state.
pub(super) struct Replica {
    records: RwLock<BTreeMap<String, AlarmRecord>>,
    /// Why it may be out of date.
    unshared: Mutex<Option<String>>,
    changes: watch::Sender<u64>,
}

impl Default for Replica {
    fn default() -> Replica {
        let unshared = Mutex::new(Some("the store has not been read yet".to_owned()));
        Replica { records: RwLock::default(), unshared, changes: watch::Sender::new(0) }
    }
}

impl Replica {
    /// Follows the store forever. While that is away, the replica stays as it was.
    pub(super) async fn run(&self, store: &dyn Store) {
        loop {
            let ended = match start(store, PREFIX, List::Entries).await {
                Ok((snapshot, mut watch)) => {
                    self.replace(&snapshot.entries);
                    let apply = |changes: Vec<Change>| {
                        self.apply(&changes);
                        ControlFlow::Continue(())
                    };
                    each_change(&mut watch, apply).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                self.on_failure(&error);
            }
            tokio::time::sleep(Duration::from_millis(limits::RECORDER_RETRY_MS)).await;
        }
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&BTreeMap<String, AlarmRecord>) -> T) -> T {
        read(&self.records.read())
    }

    pub(super) fn unshared(&self) -> Option<String> {
        self.unshared.lock().clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A record was written or read: others need not wait for the watch.
    pub(super) fn on_write(&self, id: &str, record: &AlarmRecord) {
        let mut records = self.records.write();
        let known = records.get(id).map(|known| known.merge(record));
        let is_new = records.get(id) != Some(known.as_ref().unwrap_or(record));
        if is_new {
            records.insert(id.to_owned(), known.unwrap_or_else(|| record.clone()));
        }
        drop(records);
        let is_back = self.unshared.lock().take().is_some();
        if is_new || is_back {
            self.notify();
        }
    }

    /// The store did not answer.
    pub(super) fn on_failure(&self, error: &StoreError) {
        let known = self.unshared.lock().replace(error.to_string());
        if known.is_none() {
            tracing::debug!(%error, "alarms are not shared");
            self.notify();
        }
    }

    fn replace(&self, entries: &[Entry]) {
        let records = entries.iter().filter_map(|entry| Some((id(&entry.key)?, decode(entry))));
        *self.records.write() = records.collect();
        *self.unshared.lock() = None;
        self.notify();
    }

    fn apply(&self, changes: &[Change]) {
        let mut records = self.records.write();
        for change in changes {
            let Some(id) = id(change.key()) else { continue };
            match change {
                Change::Put(entry) => drop(records.insert(id, decode(entry))),
                Change::Delete { .. } => drop(records.remove(&id)),
            }
        }
        drop(records);
        self.notify();
    }

    fn notify(&self) {
        self.changes.send_modify(|version| *version += 1);
    }
}

fn id(key: &str) -> Option<String> {
    key.strip_prefix(PREFIX).filter(|_| key != TICK_KEY).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tick_is_no_alarm() {
        assert_eq!(id("alarm/battery/low").as_deref(), Some("battery/low"));
        assert_eq!(id(TICK_KEY), None);
        assert!(!roverline_protocol::alarms::id::is_alarm_id("~tick"));
    }
}
