//! The rover's time: ticks of 10 ms, counted from the epoch.

/// Nanoseconds per tick.
pub(super) const TICK_NS: i64 = 10_000_000;
/// Ticks per second.
pub(super) const TICKS_PER_S: u64 = 100;
/// Seconds per tick.
pub(super) const TICK_S: f64 = 0.01;
/// Ticks between two decisions of the autonomy.
pub(super) const CONTROL_TICKS: u64 = 10;
/// Seconds between two decisions of the autonomy.
pub(super) const CONTROL_S: f64 = 0.1;
/// A sortie lasts two hours. At its end the battery is swapped and the rover is at its start again, so a
/// late joiner never has to catch up with more than this, however old the epoch is.
pub(super) const SORTIE_TICKS: u64 = 2 * 3600 * TICKS_PER_S;
