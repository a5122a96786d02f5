//! The only clock in this folder: wall time at the start, the monotonic clock from there on, so
//! that an hour's step of the wall clock disturbs nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Tells the time, in nanoseconds since the Unix epoch.
pub(super) trait Clock: Send + Sync {
    fn now_unix_ns(&self) -> i64;
}

/// Unix time and the monotonic clock at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchored {
    unix_ns: i64,
    monotonic_ns: i64,
}

impl Anchored {
    pub(super) fn new(unix_ns: i64, monotonic_ns: i64) -> Self {
        Self { unix_ns, monotonic_ns }
    }

    pub(super) fn now() -> Self {
        Self::new(wall_ns(), monotonic_ns())
    }
}

impl Clock for Anchored {
    fn now_unix_ns(&self) -> i64 {
        self.unix_ns.saturating_add(monotonic_ns().saturating_sub(self.monotonic_ns))
    }
}

/// The wall clock.
pub(super) fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The monotonic clock, which all processes of a computer share.
pub(super) fn monotonic_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}
