//! The playback position over time: a pure function of start time, commands and current time. Processes
//! with the same commands therefore play the same message with the same number at the same time, without
//! communicating.
//!
//! A pass is one way through the recording. Every jump starts a new pass: a seek, and the return to the
//! beginning at the end. A sample's sequence number is its ordinal in the file plus the recording's
//! message count for every earlier pass, so numbers increase whatever the direction of a jump.
//!
//! Times are wall-clock nanoseconds; positions are recorded nanoseconds after the recording's base.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Recorded time between the last message of a pass and the first of the next. A constant, so every
/// process that plays the file computes the same length of a pass.
pub(super) const LOOP_GAP_NS: i64 = 100_000_000;

/// A player that is later than this seeks at once; otherwise it first plays what is due before the seek.
const MAX_CATCH_UP_NS: i64 = 1_000_000_000;

/// The range that is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PlaybackRange {
    /// The log time at which a pass starts.
    pub(super) base: i64,
    /// Length of a pass without the gap; `None` while it is unknown.
    pub(super) length: Option<i64>,
    /// Starts again at the end.
    pub(super) looped: bool,
}

impl PlaybackRange {
    fn cycle(&self) -> i64 {
        self.length.unwrap_or(0).max(0).saturating_add(LOOP_GAP_NS)
    }
}

/// A change of playback that all processes make at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PlaybackCommand {
    /// When it takes effect.
    pub(super) at: i64,
    /// Play (true) or pause (false).
    pub(super) play: bool,
    /// Recorded seconds per second.
    pub(super) speed: f64,
    /// The log time to seek to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seek: Option<i64>,
    /// The id of the client's request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) request: String,
}

/// A segment of constant speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Segment {
    /// When it starts.
    pub(super) at: i64,
    /// The pass at its start.
    pub(super) pass: u64,
    /// The offset within the pass at its start.
    pub(super) offset: i64,
    /// Recorded seconds per second.
    pub(super) speed: f64,
    /// Whether it is not paused.
    pub(super) playing: bool,
}

impl Segment {
    /// The first segment of a playback.
    pub(super) fn first(at: i64, speed: f64) -> Segment {
        Segment { at, pass: 0, offset: 0, speed, playing: true }
    }

    /// The pass and the offset within it at `now`: not past the end, unless the gap to another pass
    /// follows.
    pub(super) fn position(&self, range: &PlaybackRange, now: i64) -> (u64, i64) {
        if !self.playing || now <= self.at {
            return (self.pass, self.offset);
        }
        // Float-to-integer casts saturate.
        let moved = (now.saturating_sub(self.at) as f64 * self.speed) as i64;
        let offset = self.offset.saturating_add(moved);
        match range.length {
            Some(length) if !range.looped => (self.pass, offset.min(length.max(self.offset))),
            Some(_) => {
                let passes = offset / range.cycle();
                (self.pass.saturating_add(passes.unsigned_abs()), offset - passes * range.cycle())
            }
            None => (self.pass, offset),
        }
    }

    /// When a position is due; `i64::MAX` for one that lies ahead of a pause.
    pub(super) fn due(&self, range: &PlaybackRange, pass: u64, offset: i64) -> i64 {
        let passes = i128::from(pass) - i128::from(self.pass);
        let ahead = passes * i128::from(range.cycle()) + i128::from(offset) - i128::from(self.offset);
        match ahead {
            ahead if ahead < 0 => self.at,
            _ if !self.playing => i64::MAX,
            ahead => self.at.saturating_add((ahead as f64 / self.speed) as i64),
        }
    }

    /// The segment that results from a command.
    fn after(&self, range: &PlaybackRange, command: &PlaybackCommand) -> Segment {
        let at = command.at.max(self.at);
        let (pass, offset) = self.position(range, at);
        let segment = Segment { at, pass, offset, speed: command.speed, playing: command.play };
        match command.seek {
            Some(time) => {
                let last = range.length.unwrap_or(i64::MAX).max(0);
                Segment {
                    pass: pass.saturating_add(1),
                    offset: time.saturating_sub(range.base).clamp(0, last),
                    ..segment
                }
            }
            None => segment,
        }
    }
}

/// A command that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AppliedCommand {
    /// Whether it was a seek.
    pub(super) is_seek: bool,
    /// The id of the client's request.
    pub(super) request: String,
}

/// The current segment and the pending commands.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    pub(super) range: PlaybackRange,
    pub(super) segment: Segment,
    pending: VecDeque<PlaybackCommand>,
}

impl Timeline {
    pub(super) fn new(range: PlaybackRange, segment: Segment) -> Timeline {
        Timeline { range, segment, pending: VecDeque::new() }
    }

    /// Adds a command. Commands apply in the order they are added, which is the same in all processes.
    pub(super) fn add(&mut self, command: PlaybackCommand) {
        self.pending.push_back(command);
    }

    /// When the next command takes effect.
    pub(super) fn next_at(&self) -> Option<i64> {
        self.pending.front().map(|command| command.at.max(self.segment.at))
    }

    /// Applies the next command if its time is reached at `now` and no message due at `due` comes before
    /// it. If several seeks lie in the past, only the last is made.
    pub(super) fn apply_due(&mut self, now: i64, due: i64) -> Option<AppliedCommand> {
        let next = self.next_at().filter(|at| *at <= now)?;
        let late = now.saturating_sub(next) > MAX_CATCH_UP_NS && self.pending.front()?.seek.is_some();
        if due < next && !late {
            return None;
        }
        let mut applied = self.apply_next()?;
        while applied.is_seek && self.later_seek_is_due(now) {
            applied.is_seek = false;
            while !applied.is_seek {
                applied = self.apply_next()?;
            }
        }
        Some(applied)
    }

    /// Applies all commands up to `now`.
    pub(super) fn catch_up(&mut self, now: i64) {
        while self.next_at().is_some_and(|at| at <= now) && self.apply_next().is_some() {}
    }

    fn later_seek_is_due(&self, now: i64) -> bool {
        let mut past = self.pending.iter().take_while(|command| command.at <= now);
        past.any(|command| command.seek.is_some())
    }

    fn apply_next(&mut self) -> Option<AppliedCommand> {
        let command = self.pending.pop_front()?;
        self.segment = self.segment.after(&self.range, &command);
        Some(AppliedCommand { is_seek: command.seek.is_some(), request: command.request })
    }

    /// The pass and the offset within it at `now`.
    pub(super) fn position(&self, now: i64) -> (u64, i64) {
        self.segment.position(&self.range, now)
    }

    /// When a message of this pass is due.
    pub(super) fn due(&self, pass: u64, log_time: i64) -> i64 {
        self.segment.due(&self.range, pass, log_time.saturating_sub(self.range.base))
    }

    /// Whether this offset is the end of playback.
    pub(super) fn is_end(&self, offset: i64) -> bool {
        !self.range.looped && self.range.length.is_some_and(|length| offset >= length)
    }
}
