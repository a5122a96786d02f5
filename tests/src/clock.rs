//! The clock of arrivals: `CLOCK_MONOTONIC`, one for all processes of a computer, as the scripts in `tests/clients` print it.

use rustix::time::{ClockId, clock_gettime};

/// The present time, nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
