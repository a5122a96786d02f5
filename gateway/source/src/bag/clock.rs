//! Where the player's time comes from.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::Stop;

/// Time, replaced in tests.
pub(super) trait Clock: Send {
    /// Nanoseconds since the Unix epoch, but steady: nobody sets it.
    fn now(&self) -> i64;
    /// Waits; returns whether to stop.
    fn wait(&self, time: Duration, stop: &Stop) -> bool;
}

/// The wall clock and the monotonic one, which all processes of a computer share, at this moment.
pub fn moment() -> (i64, i64) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_nanos()).unwrap_or(i64::MAX), monotonic())
}

fn monotonic() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// The real thing: the monotonic clock, shown as wall time.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemClock {
    unix_ns: i64,
    monotonic_ns: i64,
}

impl SystemClock {
    /// `epoch` is one moment on both clocks, the same for all processes of a run; without it, now is.
    pub(super) fn new(epoch: Option<(i64, i64)>) -> SystemClock {
        let (unix_ns, monotonic_ns) = epoch.unwrap_or_else(moment);
        SystemClock { unix_ns, monotonic_ns }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        self.unix_ns.saturating_add(monotonic().saturating_sub(self.monotonic_ns))
    }

    fn wait(&self, time: Duration, stop: &Stop) -> bool {
        stop.wait(time)
    }
}
