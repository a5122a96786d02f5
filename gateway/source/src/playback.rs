//! Playback state of a recording, and the commands that control it.

use std::time::Instant;

/// The complete desired playback state. One command carries all of it, so commands of two operators do
/// not mix.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaybackControl {
    /// Plays if true, pauses if false.
    pub play: bool,
    /// Playback rate: recorded seconds per second.
    pub speed: f64,
    /// Seeks to this time of the recording, nanoseconds since the Unix epoch.
    pub seek_ns: Option<i64>,
    /// Correlation id, returned in the resulting [`Playback`]; may be empty.
    pub request: String,
}

/// The state of the playback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaybackStatus {
    /// Playing.
    Playing,
    /// Paused.
    Paused,
    /// Not playing yet, about to start.
    Buffering,
    /// Stopped at the end.
    Ended,
}

/// A playback position and how it advances.
#[derive(Clone, Debug, PartialEq)]
pub struct Playback {
    /// The first and the last time that can be sought, nanoseconds since the Unix epoch.
    pub range_ns: (i64, i64),
    /// The status of the playback.
    pub status: PlaybackStatus,
    /// Playback rate while playing: recorded seconds per second.
    pub speed: f64,
    /// The time of the recording at `at`, nanoseconds since the Unix epoch.
    pub position_ns: i64,
    /// When `position_ns` was measured.
    pub at: Instant,
    /// Counts discontinuities: seeks and restarts from the beginning.
    pub pass: u64,
    /// Correlation id of the command that caused this state; otherwise empty.
    pub request: String,
}

impl Playback {
    /// The time of the recording at `now`.
    pub fn position_at(&self, now: Instant) -> i64 {
        if self.status != PlaybackStatus::Playing {
            return self.position_ns;
        }
        let played = now.saturating_duration_since(self.at).as_nanos() as f64 * self.speed;
        self.position_ns.saturating_add(played as i64).min(self.range_ns.1)
    }
}
