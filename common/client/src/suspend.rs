//! Suspend detector: whether this process was stopped, or the computer slept.

use std::time::Duration;

use tokio::time::Instant;

/// Measures the time since the last check. The monotonic clock runs on while a process is stopped,
/// and the boot-time clock while the computer sleeps; steps of the wall clock affect neither.
#[derive(Debug)]
pub(crate) struct SuspendDetector {
    checked_at: Instant,
    boot_time: Duration,
}

impl SuspendDetector {
    pub(crate) fn new() -> SuspendDetector {
        SuspendDetector { checked_at: Instant::now(), boot_time: boot_time() }
    }

    /// Records that the process is running now.
    pub(crate) fn reset(&mut self) {
        *self = SuspendDetector::new();
    }

    /// Time since the last [`SuspendDetector::reset`].
    pub(crate) fn elapsed(&self) -> Duration {
        self.checked_at.elapsed().max(boot_time().saturating_sub(self.boot_time))
    }
}

#[cfg(target_os = "linux")]
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn boot_time() -> Duration {
    Duration::ZERO
}
