//! The player's clock.

use std::time::Duration;

use crate::StopFlag;
use crate::shared_clock::SharedClock;

/// A source of time, replaceable in tests.
pub(super) trait Clock: Send {
    /// Nanoseconds since the Unix epoch, monotonic: not affected by changes of the wall clock.
    fn now(&self) -> i64;
    /// Waits for `time`; returns whether the stop flag was set.
    fn wait(&self, time: Duration, stop: &StopFlag) -> bool;
}

impl Clock for SharedClock {
    fn now(&self) -> i64 {
        self.now_unix_ns()
    }

    fn wait(&self, time: Duration, stop: &StopFlag) -> bool {
        stop.wait(time)
    }
}
