//! What was counted is kept for a moment: many may look at a queue, and to count it reads all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roverline_protocol::limits;

use crate::queues::QueueView;

/// A queue as it was counted last.
pub(super) struct Count {
    pub(super) view: QueueView,
    /// Since when it was counted.
    pub(super) begun: Instant,
}

/// Held by whoever counts: who comes meanwhile takes what is found.
pub(super) type Turn = Arc<tokio::sync::Mutex<Option<Count>>>;

/// The last counts of a process.
#[derive(Default)]
pub(super) struct Counts(Mutex<HashMap<String, Turn>>);

impl Counts {
    /// That of a queue.
    pub(super) fn turn(&self, queue: &str) -> Turn {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= limits::QUEUE_ENTRIES && !turns.contains_key(queue) {
            turns.clear();
        }
        turns.entry(queue.to_owned()).or_default().clone()
    }

    /// It is to be counted anew, since this process changed much of it.
    pub(super) fn forget(&self, queue: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(queue);
    }
}

impl Count {
    /// Whether it answers who asked then.
    pub(super) fn stands(&self, asked: Instant, lately: bool) -> bool {
        let of_late = self.begun.elapsed() < Duration::from_millis(limits::QUEUE_COUNTED_MS);
        self.begun >= asked || (of_late && (lately || is_much(&self.view)))
    }
}

/// Whether it takes long to count.
pub(super) fn is_much(view: &QueueView) -> bool {
    view.ready + view.in_flight + view.delayed + view.dead > limits::QUEUE_COUNTED_MESSAGES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::Settings;

    #[test]
    fn little_is_counted_anew_and_much_now_and_then() {
        let count = |ready, begun| {
            let (name, settings) = ("work".to_owned(), Settings::default());
            let (in_flight, delayed, dead, enqueued, oldest_ns) = Default::default();
            let view = QueueView { name, ready, in_flight, delayed, dead, enqueued, oldest_ns, settings };
            Count { view, begun }
        };
        let (much, now) = (limits::QUEUE_COUNTED_MESSAGES + 1, Instant::now());
        let later = now + Duration::from_millis(1);
        assert!(count(1, later).stands(now, false), "counted since it was asked");
        assert!(!count(1, now).stands(later, false), "little, and counted before");
        assert!(count(1, later).stands(later + Duration::from_millis(1), true));
        assert!(count(much, later).stands(later + Duration::from_millis(1), false));
        let before = now.checked_sub(Duration::from_millis(limits::QUEUE_COUNTED_MS)).unwrap();
        assert!(!count(much, before).stands(now, true), "too long ago");
    }
}
