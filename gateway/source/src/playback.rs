//! How a recording that is being played is steered, and where it is.

use std::time::Instant;

/// What somebody wants of a recording: all of it at once, so that requests of two people do not mix.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaybackControl {
    /// Plays, or stands still.
    pub play: bool,
    /// Recorded seconds per second.
    pub speed: f64,
    /// Goes to this time of the recording, nanoseconds since the Unix epoch.
    pub seek_ns: Option<i64>,
    /// Comes back with the state that follows from it; may be empty.
    pub request: String,
}

/// What a recording is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaybackStatus {
    /// It plays.
    Playing,
    /// It stands still.
    Paused,
    /// It does not play yet, and will.
    Buffering,
    /// It stands at its end.
    Ended,
}

/// Where a recording is, and what it does from there.
#[derive(Clone, Debug, PartialEq)]
pub struct Playback {
    /// The first time that can be sought, and the last; nanoseconds since the Unix epoch.
    pub range_ns: (i64, i64),
    /// What it is doing.
    pub status: PlaybackStatus,
    /// Recorded seconds per second, while it plays.
    pub speed: f64,
    /// The time of the recording at `at`.
    pub position_ns: i64,
    /// When that was so.
    pub at: Instant,
    /// Counts jumps: of somebody who sought, and back to the beginning.
    pub pass: u64,
    /// Of the request that this follows from; else empty.
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
