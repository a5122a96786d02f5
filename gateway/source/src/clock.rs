//! The two clocks: monotonic for waiting and ages, wall for display and stamps.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall clock, nanoseconds since the Unix epoch. For stamps and display, never for waiting.
pub fn unix_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Where [`monotonic`] begins: moments that long before the process began can be told.
const BEFORE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Monotonic time of this process; it begins at 30 days.
pub fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    BEFORE + START.get_or_init(Instant::now).elapsed()
}
