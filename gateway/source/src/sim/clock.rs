//! The simulation's clock.

use crate::shared_clock::SharedClock;

/// A source of time, replaceable in tests.
pub(super) trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch, monotonic: not affected by changes of the wall clock.
    fn now_unix_ns(&self) -> i64;
}

impl Clock for SharedClock {
    fn now_unix_ns(&self) -> i64 {
        SharedClock::now_unix_ns(self)
    }
}
