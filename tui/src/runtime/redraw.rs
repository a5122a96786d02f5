//! When to draw: only on change, at most thirty times a second, ten for what merely flows.

use std::time::Duration;

use tokio::time::Instant;

/// Between frames the operator waits for.
const QUICK: Duration = Duration::from_millis(33);
/// Between frames that only show newer numbers: no eye reads faster.
const EASY: Duration = Duration::from_millis(100);

/// How soon a change shall be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A key, a failover, a stop.
    Now,
    /// A number.
    Someday,
}

/// When to draw.
#[derive(Debug)]
pub(super) struct Pace {
    last: Instant,
    due: Option<Instant>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        Pace { last: now, due: None }
    }

    /// Something changed.
    pub(super) fn want(&mut self, urgency: Urgency) {
        let at = self.last + if urgency == Urgency::Now { QUICK } else { EASY };
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// A frame was drawn.
    pub(super) fn drawn(&mut self, now: Instant) {
        *self = Pace { last: now, due: None };
    }

    /// Whether there is something to draw.
    pub(super) fn is_due_some(&self) -> bool {
        self.due.is_some()
    }

    /// When; only means something while there is.
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
        let mut pace = Pace::new(start);
        assert!(!pace.is_due_some());
        pace.want(Urgency::Someday);
        assert_eq!(pace.due(), start + EASY);
        pace.want(Urgency::Now);
        pace.want(Urgency::Someday);
        assert_eq!(pace.due(), start + QUICK);
        pace.drawn(start + QUICK);
        assert!(!pace.is_due_some());
    }
}
