//! The alarms that this endpoint shows: the shared records, those that are not shared yet, and what it reads itself.
//!
//! Every endpoint evaluates conditions from its own samples. The best living endpoint that can evaluate one writes its
//! transitions to the store; the others follow, with the same record as the memory of their hysteresis. While the store
//! is away, each endpoint goes on by itself, and the records merge when it is back.

pub(crate) mod evaluator;
mod finding;
mod limits;
pub(crate) mod publication;
mod rates;
mod statuses;
mod system;
mod writer;

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use roverline_coordination::alarms::Alarms;
use roverline_protocol::alarms::MAX_ALARMS;
use roverline_protocol::alarms::list::{AlarmFilter, sort, totals};
use roverline_protocol::alarms::record::{AlarmRecord, Reading};
use roverline_protocol::api::alarms::{AlarmDocument, AlarmList, AlarmSeverity};
use tokio::sync::{Notify, watch};

/// The alarms of an endpoint.
pub struct AlarmBoard {
    state: Mutex<BoardState>,
    changes: watch::Sender<u64>,
    unwritten: Notify,
}

#[derive(Default)]
struct BoardState {
    /// Records that the store does not have yet, or not like this.
    local: BTreeMap<String, AlarmRecord>,
    /// What this endpoint reads itself.
    readings: HashMap<String, Reading>,
    /// Alarms that are left out because there are too many.
    dropped: usize,
}

impl Default for AlarmBoard {
    fn default() -> AlarmBoard {
        AlarmBoard { state: Mutex::default(), changes: watch::Sender::new(0), unwritten: Notify::new() }
    }
}

impl AlarmBoard {
    /// Is notified when an alarm changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The alarms that match, with the totals of all. Time is in nanoseconds since the Unix epoch.
    pub fn list(&self, shared: &Alarms, filter: &AlarmFilter, now_ns: i64) -> AlarmList {
        let mut alarms = self.documents(shared, now_ns);
        sort(&mut alarms);
        let totals = totals(&alarms);
        alarms.retain(|alarm| filter.matches(alarm));
        let dropped = self.state.lock().dropped;
        AlarmList { alarms, totals, unshared: shared.unshared(), dropped, at_ns: now_ns }
    }

    /// One alarm; `None` if it was never raised.
    pub fn document(&self, shared: &Alarms, id: &str, now_ns: i64) -> Option<AlarmDocument> {
        let state = self.state.lock();
        shared.with(|records| state.document(records.get(id), id, now_ns))
    }

    /// The record of an alarm as far as it is not shared yet.
    pub fn unshared_record(&self, id: &str) -> Option<AlarmRecord> {
        self.state.lock().local.get(id).cloned()
    }

    fn documents(&self, shared: &Alarms, now_ns: i64) -> Vec<AlarmDocument> {
        let state = self.state.lock();
        shared.with(|records| {
            let unshared = state.local.keys().filter(|id| !records.contains_key(*id));
            let ids = records.keys().chain(unshared);
            ids.filter_map(|id| state.document(records.get(id), id, now_ns)).collect()
        })
    }

    /// The severity of an alarm's condition, by what is shared and what is not yet.
    fn current(&self, shared: &Alarms, id: &str) -> Option<AlarmSeverity> {
        self.record(shared, id).condition.severity
    }

    fn record(&self, shared: &Alarms, id: &str) -> AlarmRecord {
        let state = self.state.lock();
        shared.with(|records| state.record(records.get(id), id)).unwrap_or_default()
    }

    /// Stores a record until it is shared.
    fn propose(&self, shared: &Alarms, id: &str, record: AlarmRecord) {
        let mut state = self.state.lock();
        let is_known = state.local.contains_key(id) || shared.with(|records| records.contains_key(id));
        let count = state.local.len() + shared.with(BTreeMap::len);
        if !is_known && count >= MAX_ALARMS {
            state.dropped += 1;
            return;
        }
        state.local.insert(id.to_owned(), record);
        drop(state);
        self.notify();
        self.unwritten.notify_one();
    }

    fn set_readings(&self, readings: HashMap<String, Reading>) {
        self.state.lock().readings = readings;
    }

    fn notify(&self) {
        self.changes.send_modify(|version| *version += 1);
    }
}

impl BoardState {
    fn record(&self, shared: Option<&AlarmRecord>, id: &str) -> Option<AlarmRecord> {
        match (shared, self.local.get(id)) {
            (Some(shared), Some(local)) => Some(shared.merge(local)),
            (record, None) | (None, record) => record.cloned(),
        }
    }

    fn document(&self, shared: Option<&AlarmRecord>, id: &str, now_ns: i64) -> Option<AlarmDocument> {
        let record = self.record(shared, id).filter(|record| record.occurrence > 0)?;
        let is_shared = shared == Some(&record);
        Some(record.document(id, self.readings.get(id), is_shared, now_ns))
    }
}
