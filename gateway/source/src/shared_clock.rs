//! Wall-clock time that all processes of a run agree on: the wall clock's time at the epoch, advanced by
//! the monotonic clock, so setting the wall clock has no effect.

use rustix::time::{ClockId, clock_gettime};

use crate::clock::unix_ns;

/// The current time on the wall clock and on the monotonic clock (which all processes of a computer
/// share), both in nanoseconds.
pub fn wall_and_monotonic_ns() -> (i64, i64) {
    (unix_ns(), monotonic_ns())
}

fn monotonic_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// The monotonic clock, shifted to wall-clock time at the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedClock {
    unix_ns: i64,
    monotonic_ns: i64,
}

impl SharedClock {
    /// `epoch` is one moment on both clocks and the same for all processes of a run; it defaults to now.
    pub(crate) fn new(epoch: Option<(i64, i64)>) -> SharedClock {
        let (unix_ns, monotonic_ns) = epoch.unwrap_or_else(wall_and_monotonic_ns);
        SharedClock { unix_ns, monotonic_ns }
    }

    /// Nanoseconds since the Unix epoch.
    pub(crate) fn now_unix_ns(&self) -> i64 {
        self.unix_ns.saturating_add(monotonic_ns().saturating_sub(self.monotonic_ns))
    }
}
