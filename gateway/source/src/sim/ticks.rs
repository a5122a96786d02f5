//! The rover's own time: ticks of ten milliseconds, counted from the epoch.

/// Nanoseconds in a tick.
pub(super) const TICK_NS: i64 = 10_000_000;
/// Ticks in a second.
pub(super) const TICKS_PER_S: u64 = 100;
/// Seconds in a tick.
pub(super) const TICK_S: f64 = 0.01;
/// Ticks between two decisions of the autonomy.
pub(super) const CONTROL_TICKS: u64 = 10;
/// Seconds between two decisions of the autonomy.
pub(super) const CONTROL_S: f64 = 0.1;
/// A sortie is two hours. At its end the battery is swapped and the rover stands at its start
/// again, so that a late joiner never has more than this to catch up with, however old the epoch.
pub(super) const SORTIE_TICKS: u64 = 2 * 3600 * TICKS_PER_S;
