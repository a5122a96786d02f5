//! The alarms that this endpoint shows: the shared records, those that are not shared yet, and what it reads itself.
//!
//! Every endpoint evaluates conditions from its own samples. The best living endpoint that can evaluate one writes its
//! transitions to the store; the others follow, with the same record as the memory of their hysteresis. While the store
//! is away, each endpoint goes on by itself, and the records merge when it is back.

pub(crate) mod evaluator;
mod finding;
mod limit_watch;
pub(crate) mod publication;
mod rates;
mod settings;
mod statuses;
mod system;
mod writer;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use roverline_coordination::alarms::Alarms;
use roverline_protocol::alarms::MAX_ALARMS;
use roverline_protocol::alarms::list::{AlarmFilter, sort, totals};
use roverline_protocol::alarms::record::{AlarmRecord, Reading};
use roverline_protocol::api::alarms::{AlarmDocument, AlarmList, AlarmSeverity};
use tokio::sync::{Notify, watch};

use crate::endpoint::alarms::settings::Settings;

const DISABLED: &str = "alarms are off: [alarms] enabled in roverline.toml";
/// Alarms that are left out are counted up to this number.
const DROPPED: usize = 1_024;

/// The alarms of an endpoint.
pub struct AlarmBoard {
    state: Mutex<BoardState>,
    changes: watch::Sender<u64>,
    unwritten: Notify,
    is_disabled: AtomicBool,
    /// The limits and rates that operators have set.
    settings: Mutex<Arc<Settings>>,
}

#[derive(Default)]
struct BoardState {
    /// Records that the store does not have yet, or not like this.
    local: BTreeMap<String, AlarmRecord>,
    /// What this endpoint reads itself.
    readings: HashMap<String, Reading>,
    /// Alarms that are left out because there are too many, as far as they are counted.
    dropped: HashSet<String>,
}

impl Default for AlarmBoard {
    fn default() -> AlarmBoard {
        AlarmBoard {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            unwritten: Notify::new(),
            is_disabled: AtomicBool::new(false),
            settings: Mutex::default(),
        }
    }
}

impl AlarmBoard {
    /// Is notified when an alarm changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// This endpoint evaluates no alarms, and says so.
    pub fn disable(&self) {
        self.is_disabled.store(true, Ordering::Relaxed);
    }

    /// The alarms that match, with the totals of all. Time is in nanoseconds since the Unix epoch.
    pub fn list(&self, shared: &Alarms, filter: &AlarmFilter, now_ns: i64) -> AlarmList {
        let mut alarms = self.documents(shared, now_ns);
        sort(&mut alarms);
        let totals = totals(&alarms);
        alarms.retain(|alarm| filter.matches(alarm));
        let dropped = self.state.lock().dropped.len();
        let unshared = match self.is_disabled.load(Ordering::Relaxed) {
            true => Some(DISABLED.to_owned()),
            false => shared.unshared(),
        };
        AlarmList { alarms, totals, unshared, dropped, at_ns: now_ns }
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
            if state.dropped.len() < DROPPED {
                state.dropped.insert(id.to_owned());
            }
            return;
        }
        state.dropped.remove(id);
        state.local.insert(id.to_owned(), record);
        drop(state);
        self.notify();
        self.unwritten.notify_one();
    }

    /// The expected rate of a topic, samples per second: that of the routing table, unless an operator has set another.
    pub fn expected_rate_hz(&self, topic: &str, configured: Option<f64>) -> Option<f64> {
        self.settings.lock().rate(topic, configured)
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.lock().clone()
    }

    fn set_settings(&self, settings: Settings) {
        *self.settings.lock() = Arc::new(settings);
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

#[cfg(test)]
mod tests {
    use roverline_coordination::Coordination;
    use roverline_coordination::events::NodeIdentity;
    use roverline_coordination::store::SqliteStore;
    use roverline_protocol::alarms::record::Observation;

    use super::*;
    use crate::endpoint::alarms::writer::write_records;

    fn raised(at_ns: i64) -> AlarmRecord {
        let severity = Some(AlarmSeverity::Critical);
        AlarmRecord::default().observe(&Observation { severity, ..Observation::default() }, at_ns).unwrap()
    }

    #[tokio::test]
    async fn an_alarm_is_shown_before_it_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path()));
        let team = Coordination::with_store(store, NodeIdentity::default());
        let board = AlarmBoard::default();
        let mut changes = board.changes();
        board.propose(&team.alarms, "motor", raised(7));
        assert!(changes.has_changed().unwrap());
        let shown = |board: &AlarmBoard| board.document(&team.alarms, "motor", 8).unwrap();
        assert!(!shown(&board).shared && board.unshared_record("motor").is_some());
        changes.mark_unchanged();
        let writing = write_records(&board, &team.alarms);
        let is_shared = async {
            while board.unshared_record("motor").is_some() {
                changes.changed().await.unwrap();
            }
        };
        tokio::select! {
            () = writing => {}
            () = is_shared => {}
        }
        assert!(shown(&board).shared);
        assert_eq!(board.current(&team.alarms, "motor"), Some(AlarmSeverity::Critical));
        // What is known by then is newer than what this endpoint still has.
        board.propose(&team.alarms, "motor", raised(3));
        assert_eq!(shown(&board).raised_ns, 3, "they merge");
    }

    #[test]
    fn there_is_a_bound_and_what_is_left_out_is_counted() {
        let (board, team) = (AlarmBoard::default(), Coordination::disabled("no disk"));
        for _ in 0..3 {
            for n in 0..MAX_ALARMS + 10 {
                board.propose(&team.alarms, &format!("n{n}"), raised(1));
            }
        }
        let list = board.list(&team.alarms, &AlarmFilter::default(), 2);
        assert_eq!((list.alarms.len(), list.dropped, list.totals.open), (MAX_ALARMS, 10, MAX_ALARMS));
        assert_eq!(list.unshared.as_deref(), Some("the store has not been read yet"));
        board.disable();
        let list = board.list(&team.alarms, &AlarmFilter::default(), 2);
        assert!(list.unshared.is_some_and(|why| why.contains("enabled")));
        assert!(board.document(&team.alarms, "nothing", 2).is_none());
    }
}
