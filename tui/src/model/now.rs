//! Time as the model sees it; the model never reads a clock.

use std::time::Duration;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time. Starts at [`Now::ORIGIN`], so that times before the program's start can be
    /// represented.
    pub mono: Duration,
    /// Wall clock, nanoseconds since the Unix epoch; for display and for the age of stored values.
    pub wall_ns: i64,
}

impl Now {
    /// Origin of the monotonic clock; anything older counts as this old.
    pub const ORIGIN: Duration = Duration::from_secs(30 * 86_400);

    /// Time since `then`.
    pub fn since(self, then: Duration) -> Duration {
        self.mono.saturating_sub(then)
    }

    /// The wall clock at a moment of the monotonic one, nanoseconds since the Unix epoch.
    pub fn wall_at(self, then: Duration) -> i64 {
        let ago = i64::try_from(self.since(then).as_nanos()).unwrap_or(i64::MAX);
        self.wall_ns.saturating_sub(ago)
    }

    /// Time since a moment of the wall clock.
    pub fn since_wall(self, then_ns: i64) -> Duration {
        Duration::from_nanos(self.wall_ns.saturating_sub(then_ns).max(0).unsigned_abs())
    }
}

impl Default for Now {
    fn default() -> Self {
        Now { mono: Now::ORIGIN, wall_ns: 0 }
    }
}
