//! Decides when to draw: only after a change, at most 30 frames per second, 10 for streaming
//! values.

use std::time::Duration;

use tokio::time::Instant;

/// Interval of frames that the operator waits for.
const QUICK: Duration = Duration::from_millis(33);
/// Interval of frames that only update numbers: people cannot read faster.
const EASY: Duration = Duration::from_millis(100);

/// Urgency of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A key, a failover, a stop.
    Now,
    /// A number.
    Someday,
}

/// The redraw schedule.
#[derive(Debug)]
pub(super) struct RedrawScheduler {
    last: Instant,
    due: Option<Instant>,
}

impl RedrawScheduler {
    pub(super) fn new(now: Instant) -> RedrawScheduler {
        RedrawScheduler { last: now, due: None }
    }

    /// Something changed.
    pub(super) fn request(&mut self, urgency: Urgency) {
        let at = self.last + if urgency == Urgency::Now { QUICK } else { EASY };
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// A frame was drawn.
    pub(super) fn drawn(&mut self, now: Instant) {
        *self = RedrawScheduler { last: now, due: None };
    }

    /// Whether a frame is due.
    pub(super) fn is_due_some(&self) -> bool {
        self.due.is_some()
    }

    /// When the next frame is due; meaningful only while one is pending.
    pub(super) fn due(&self) -> Instant {
        self.due.unwrap_or(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changed_nothing_drawn_and_a_key_goes_before_a_number() {
        let start = Instant::now();
        let mut pace = RedrawScheduler::new(start);
        assert!(!pace.is_due_some());
        pace.request(Urgency::Someday);
        assert_eq!(pace.due(), start + EASY);
        pace.request(Urgency::Now);
        pace.request(Urgency::Someday);
        assert_eq!(pace.due(), start + QUICK);
        pace.drawn(start + QUICK);
        assert!(!pace.is_due_some());
    }
}
