//! Clock readings: monotonic time for timeouts and ages, wall-clock time for timestamps and display.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time in nanoseconds since the Unix epoch. For timestamps and display, never for timeouts.
pub fn unix_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Offset of [`monotonic`]'s origin, so that times before the process started are representable.
const EPOCH_OFFSET: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Monotonic time of this process; it starts at 30 days.
pub fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    EPOCH_OFFSET + START.get_or_init(Instant::now).elapsed()
}
