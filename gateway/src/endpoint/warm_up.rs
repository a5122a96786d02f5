//! The warm-up of an endpoint that has just begun to read the ROS graph: it discovers the writers one by one, while
//! the other endpoints hear them already.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::SourceKind;

/// An endpoint counts as warmed up after this time in any case.
const WARM_UP_MAX_MS: u64 = 5_000;

/// Whether an endpoint still discovers what others hear.
pub(crate) struct WarmUp {
    active: AtomicBool,
    since: Duration,
}

impl WarmUp {
    /// Of an endpoint that starts `now` (monotonic). Other sources than live DDS hear everything
    /// from the start.
    pub(crate) fn new(source: SourceKind, now: Duration) -> WarmUp {
        WarmUp { active: AtomicBool::new(source.discovers_writers()), since: now }
    }

    /// It hears what another endpoint hears.
    pub(crate) fn finish(&self) {
        self.active.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_active(&self, now: Duration) -> bool {
        let over = now.saturating_sub(self.since) >= Duration::from_millis(WARM_UP_MAX_MS);
        self.active.load(Ordering::Relaxed) && !over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warm_up_ends_when_it_hears_the_same_or_at_the_latest_after_its_time() {
        let (start, most) = (Duration::from_secs(9), Duration::from_millis(WARM_UP_MAX_MS));
        let warm_up = WarmUp::new(SourceKind::Dds, start);
        assert!(warm_up.is_active(start) && warm_up.is_active(start + most - Duration::from_millis(1)));
        assert!(!warm_up.is_active(start + most));
        warm_up.finish();
        assert!(!warm_up.is_active(start));
        assert!(!WarmUp::new(SourceKind::Sim, start).is_active(start));
    }
}
