//! Where the player's time comes from.

use std::time::{Duration, Instant, SystemTime};

use super::super::Stop;

/// Time, replaced in tests.
pub(super) trait Clock: Send {
    /// Monotonic nanoseconds.
    fn now(&self) -> i64;
    /// Nanoseconds since the Unix epoch.
    fn wall(&self) -> i64;
    /// Waits; returns whether to stop.
    fn wait(&self, time: Duration, stop: &Stop) -> bool;
}

/// The real thing.
pub(super) struct SystemClock(pub(super) Instant);

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    fn wall(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    fn wait(&self, time: Duration, stop: &Stop) -> bool {
        stop.wait(time)
    }
}
