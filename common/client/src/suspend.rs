//! Whether this process was stopped, or the computer slept.

use std::time::Duration;

use tokio::time::Instant;

/// Measures the time between two looks. The monotonic clock goes on while a process is stopped, and
/// the boot-time clock while the computer sleeps; neither knows of steps of the wall clock.
#[derive(Debug)]
pub(crate) struct Frozen {
    looked: Instant,
    booted: Duration,
}

impl Frozen {
    pub(crate) fn new() -> Frozen {
        Frozen { looked: Instant::now(), booted: boot_time() }
    }

    /// Now is a time at which we are awake.
    pub(crate) fn awake(&mut self) {
        *self = Frozen::new();
    }

    /// For how long nothing has been looked at.
    pub(crate) fn lasted(&self) -> Duration {
        self.looked.elapsed().max(boot_time().saturating_sub(self.booted))
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
