//! Writes the records of this endpoint to the shared store.

use std::time::Duration;

use roverline_coordination::alarms::{AlarmError, Alarms};
use roverline_protocol::api::alarms::AlarmState;

use crate::endpoint::alarms::AlarmBoard;
use crate::limits;

/// Cleared records that are kept for the list, if there is room.
const CLEARED_KEPT: usize = 128;
/// A cleared record is removed after this time, nanoseconds.
const CLEARED_KEPT_NS: i64 = 24 * 3_600 * 1_000_000_000;

/// Merges unwritten records into the store, forever. What the store does not take now is tried again.
pub(super) async fn write_records(board: &AlarmBoard, shared: &Alarms) {
    let retry = Duration::from_millis(limits::RECORDER_RETRY_MS);
    loop {
        let unwritten: Vec<_> = {
            let state = board.state.lock();
            state.local.iter().map(|(id, record)| (id.clone(), record.clone())).collect()
        };
        let mut is_away = false;
        for (id, record) in unwritten {
            let merged = shared.merge(&id, &record).await;
            match merged {
                Err(AlarmError::Store(error)) => {
                    tracing::debug!(%error, id, "an alarm is not shared");
                    is_away = true;
                    break;
                }
                Err(error) => tracing::debug!(%error, id, "an alarm is not shared"),
                Ok(_) => {}
            }
            let mut state = board.state.lock();
            // Another transition may have come meanwhile.
            if state.local.get(&id) == Some(&record) {
                state.local.remove(&id);
            }
            drop(state);
            board.notify();
        }
        if is_away {
            tokio::time::sleep(retry).await;
        } else if board.state.lock().local.is_empty() {
            board.unwritten.notified().await;
        }
    }
}

/// Removes cleared records that are old, or too many.
pub(super) async fn remove_old(shared: &Alarms, now_ns: i64) {
    let mut cleared: Vec<(i64, String)> = shared.with(|records| {
        let cleared = records.iter().filter(|(_, record)| record.state() == AlarmState::Cleared);
        let unshelved = cleared.filter(|(_, record)| !record.is_shelved(now_ns));
        unshelved.map(|(id, record)| (record.condition.at_ns, id.clone())).collect()
    });
    cleared.sort_by_key(|(at_ns, _)| std::cmp::Reverse(*at_ns));
    for (at, (at_ns, id)) in cleared.into_iter().enumerate() {
        if at >= CLEARED_KEPT || now_ns.saturating_sub(at_ns) > CLEARED_KEPT_NS {
            // It is tried again.
            let _ = shared.remove_cleared(&id).await;
        }
    }
}
