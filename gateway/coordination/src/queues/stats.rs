//! Caches queue statistics for a moment, since counting reads the whole queue and many clients may
//! poll.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::limits;
use crate::queues::Settings;

/// The statistics of a queue at one revision, or nearly if it changes all the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// The queue's name.
    pub name: String,
    /// Messages that are available now.
    pub ready: usize,
    /// Messages that are delivered and not acknowledged.
    pub in_flight: usize,
    /// Messages that are not available yet.
    pub delayed: usize,
    /// Dead letters.
    pub dead: usize,
    /// All messages ever enqueued.
    pub enqueued: u64,
    /// When the oldest message still in the queue was enqueued, nanoseconds since the Unix epoch.
    pub oldest_ns: Option<u64>,
    /// The queue's settings.
    pub settings: Settings,
}

/// A queue's statistics as last counted.
pub(super) struct CachedStats {
    pub(super) view: QueueView,
    /// When counting began.
    pub(super) started: Instant,
}

/// Locked while counting; concurrent callers reuse the result.
pub(super) type CountGuard = Arc<tokio::sync::Mutex<Option<CachedStats>>>;

/// The cached statistics of one process.
#[derive(Default)]
pub(super) struct StatsCache(Mutex<HashMap<String, CountGuard>>);

impl StatsCache {
    /// The entry of a queue.
    pub(super) fn entry(&self, queue: &str) -> CountGuard {
        let mut entries = self.0.lock();
        if entries.len() >= limits::QUEUE_ENTRIES && !entries.contains_key(queue) {
            entries.clear();
        }
        entries.entry(queue.to_owned()).or_default().clone()
    }

    /// Invalidates a queue's statistics after a large change by this process.
    pub(super) fn forget(&self, queue: &str) {
        self.0.lock().remove(queue);
    }
}

impl CachedStats {
    /// Whether the statistics satisfy a request made at `requested`; `recent_is_enough` accepts
    /// slightly older ones.
    pub(super) fn is_current(&self, requested: Instant, recent_is_enough: bool) -> bool {
        let is_recent = self.started.elapsed() < Duration::from_millis(limits::QUEUE_COUNTED_MS);
        self.started >= requested || (is_recent && (recent_is_enough || is_large(&self.view)))
    }
}

/// Whether counting this queue takes long.
pub(super) fn is_large(view: &QueueView) -> bool {
    view.ready + view.in_flight + view.delayed + view.dead > limits::QUEUE_COUNTED_MESSAGES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::Settings;

    #[test]
    fn small_queues_are_recounted_and_large_ones_now_and_then() {
        let count = |ready, started| {
            let (name, settings) = ("work".to_owned(), Settings::default());
            let (in_flight, delayed, dead, enqueued, oldest_ns) = Default::default();
            let view = QueueView { name, ready, in_flight, delayed, dead, enqueued, oldest_ns, settings };
            CachedStats { view, started }
        };
        let (much, now) = (limits::QUEUE_COUNTED_MESSAGES + 1, Instant::now());
        let later = now + Duration::from_millis(1);
        assert!(count(1, later).is_current(now, false), "counted after the request");
        assert!(!count(1, now).is_current(later, false), "small, and counted before the request");
        assert!(count(1, later).is_current(later + Duration::from_millis(1), true));
        assert!(count(much, later).is_current(later + Duration::from_millis(1), false));
        let before = now.checked_sub(Duration::from_millis(limits::QUEUE_COUNTED_MS)).unwrap();
        assert!(!count(much, before).is_current(now, true), "too long ago");
    }
}
