//! The pace at which one author may append, because all authors share the log and its queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::events::EventError;
use crate::limits;
use crate::quota::pace::Pace;

/// The events and bytes that each author has appended through this process in the current minute.
#[derive(Default)]
pub(super) struct AppendPace {
    events: Mutex<Pace>,
    bytes: Mutex<Pace>,
    refused: AtomicU64,
}

impl AppendPace {
    /// Counts an event of so many bytes at `now`, unless its author has appended too much.
    pub(super) fn take(&self, author: &str, bytes: u64, now: Duration) -> Result<(), EventError> {
        let author: Arc<str> = Arc::from(author);
        let limited = |pace: &Mutex<Pace>, amount, most, what| {
            let taken = pace.lock().take(&author, amount, most, now);
            taken.map_err(|wait| {
                self.refused.fetch_add(1, Ordering::Relaxed);
                EventError::Pace { most, what, wait }
            })
        };
        limited(&self.events, 1, limits::EVENT_OWNER_ENTRIES_PER_MINUTE, "events")?;
        limited(&self.bytes, bytes, limits::EVENT_OWNER_BYTES_PER_MINUTE, "bytes of events")
    }

    /// The number of refused events.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_has_a_pace_and_others_have_theirs() {
        let pace = AppendPace::default();
        let take = |author, bytes, s| pace.take(author, bytes, Duration::from_secs(s));
        for _ in 0..limits::EVENT_OWNER_ENTRIES_PER_MINUTE {
            take("eve", 100, 1).unwrap();
        }
        let refused = take("eve", 100, 21).unwrap_err().to_string();
        assert!(refused.contains("3000 events in a minute") && refused.contains("in 41 s"), "{refused}");
        take("ada", 100, 21).unwrap();
        take("eve", 100, 61).unwrap();
        take("bob", limits::EVENT_OWNER_BYTES_PER_MINUTE, 61).unwrap();
        assert!(take("bob", 1, 62).unwrap_err().to_string().contains("bytes of events"));
        assert_eq!(pace.refused(), 2);
    }
}
