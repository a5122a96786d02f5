//! Doing what was ordered, and telling where the recording is.

use std::time::{Duration, Instant};

use roverline_protocol::limits;

use crate::bag::control_log::OrderReader;
use crate::bag::player::{Halt, Player, Round, WAIT_SLICE, nanoseconds};
use crate::bag::recording::Span;
use crate::{Playback, PlaybackStatus, SourceState};

const LOOK_NS: i64 = limits::PLAYBACK_LOOK_MS as i64 * 1_000_000;

/// How far before a place that is jumped to messages are shown.
const BACKFILL_NS: i64 = limits::PLAYBACK_BACKFILL_MS as i64 * 1_000_000;

/// More than any recording has of one channel: for one that cannot be counted to its end.
const UNCOUNTED: u64 = 1 << 32;

/// The orders to a recording, as the player follows them.
pub(super) struct Steer {
    reader: OrderReader,
    looked_at: i64,
    /// The pass that was told last.
    told: Option<u64>,
}

impl Steer {
    pub(super) fn new(reader: OrderReader) -> Steer {
        Steer { reader, looked_at: i64::MIN, told: None }
    }
}

impl Player<'_> {
    /// Longest single wait.
    pub(super) fn slice(&self) -> Duration {
        match self.steer {
            Some(_) => Duration::from_millis(limits::PLAYBACK_LOOK_MS),
            None => WAIT_SLICE,
        }
    }

    /// Looks for orders, unless that was done just now.
    pub(super) fn look(&mut self, now: i64) {
        let (Some(steer), Some(timeline)) = (&mut self.steer, &mut self.timeline) else { return };
        if now.saturating_sub(steer.looked_at) >= LOOK_NS {
            steer.looked_at = now;
            steer.reader.read().into_iter().for_each(|order| timeline.add(order));
        }
    }

    /// Takes in what was ordered before this process began.
    pub(super) fn catch_up(&mut self, now: i64) {
        self.look(now);
        if let Some(timeline) = &mut self.timeline {
            timeline.catch_up(now);
        }
    }

    /// Carries out what is ordered for `now`, unless something is due before. Returns where to go on
    /// when that was a jump.
    pub(super) fn obey(&mut self, now: i64, due: i64) -> Obeyed {
        let Some(done) = self.timeline.as_mut().and_then(|timeline| timeline.obey(now, due)) else {
            return Obeyed::Nothing;
        };
        self.tell(now, done.request);
        match &self.timeline {
            Some(timeline) if done.jumped => {
                let from = timeline.course.base.saturating_add(timeline.leg.offset);
                Obeyed::Jump(Round { pass: timeline.leg.pass, from, backfill: BACKFILL_NS, numbered: false })
            }
            _ => Obeyed::Pace,
        }
    }

    /// Where to begin when playing has begun already: `offset` after the base, in this pass.
    pub(super) fn resumed(&self, (pass, offset): (u64, i64)) -> Option<Round> {
        let timeline = self.timeline.as_ref()?;
        let stands = !timeline.leg.playing || timeline.is_end(offset);
        // What stands still shows where it stands; what stands at its end plays nothing again.
        let beyond = i64::from(timeline.is_end(offset));
        let from = timeline.course.base.saturating_add(offset).saturating_add(beyond);
        let backfill = if self.steer.is_some() && stands { BACKFILL_NS } else { 0 };
        Some(Round { pass, from, backfill, numbered: false })
    }

    /// Stands at the end until somebody orders a jump.
    pub(super) fn wait_at_end(&mut self, pass: u64) -> Result<Round, Halt> {
        let end = self.timeline.as_ref().and_then(|t| Some(t.course.base.saturating_add(t.course.length?)));
        let mut ended = false;
        loop {
            let now = self.clock.now();
            self.look(now);
            let due = match (&self.timeline, end) {
                (Some(timeline), Some(end)) if !ended => timeline.due(pass, end),
                _ => i64::MAX,
            };
            match self.obey(now, due) {
                Obeyed::Jump(round) => {
                    self.sink.state(SourceState::Running);
                    return Ok(round);
                }
                Obeyed::Pace => continue,
                Obeyed::Nothing => {}
            }
            if due <= now {
                ended = true;
                self.tell(now, String::new());
                self.sink.state(SourceState::Finished);
            }
            let next = self.timeline.as_ref().and_then(|timeline| timeline.next_at()).unwrap_or(i64::MAX);
            let left = next.min(if ended { i64::MAX } else { due }).saturating_sub(now);
            if self.clock.wait(self.slice().min(nanoseconds(left)), &self.stop) {
                return Err(Halt::Stopped);
            }
        }
    }

    /// Makes the channels' numbers those of the beginning of this pass.
    pub(super) fn number(&mut self, pass: u64) -> Result<(), Halt> {
        let counts = match (&self.counts, pass) {
            (_, 0) => Vec::new(),
            (Some(counts), _) => counts.clone(),
            (None, _) => self.survey()?.counts,
        };
        let whole = |index: usize| match counts.get(index) {
            Some(count) => *count,
            None if counts.is_empty() => UNCOUNTED,
            None => 0,
        };
        for (index, track) in self.tracks.iter_mut().enumerate() {
            track.ordinal = whole(index).saturating_mul(pass);
        }
        if pass > 0 {
            self.counts = Some(counts);
        }
        Ok(())
    }

    /// Tells where the recording is when that is another pass than was told.
    pub(super) fn tell_pass(&mut self, now: i64, pass: u64) {
        if self.steer.as_ref().is_some_and(|steer| steer.told != Some(pass)) {
            self.tell(now, String::new());
        }
    }

    /// Tells where the recording is at `now`.
    pub(super) fn tell(&mut self, now: i64, request: String) {
        let (Some(steer), Some(timeline)) = (&mut self.steer, &self.timeline) else { return };
        let (course, (pass, offset)) = (timeline.course, timeline.place(now));
        let status = match timeline.leg.playing {
            _ if timeline.is_end(offset) => PlaybackStatus::Ended,
            true if self.anchored => PlaybackStatus::Playing,
            true => PlaybackStatus::Buffering,
            false => PlaybackStatus::Paused,
        };
        steer.told = Some(pass);
        let last = course.base.saturating_add(course.length.unwrap_or(0));
        self.sink.playback(Playback {
            range_ns: (course.base, last),
            status,
            speed: timeline.leg.speed,
            position_ns: course.base.saturating_add(offset).min(last),
            at: Instant::now(),
            pass,
            request,
        });
    }

    /// The recorded time that a recording with these log times is played over.
    pub(super) fn length(span: Span, base: i64) -> i64 {
        span.last.saturating_sub(base).max(0)
    }
}

/// What came of a look at the orders.
pub(super) enum Obeyed {
    /// There was none for now.
    Nothing,
    /// It stands still now, or plays, at this speed.
    Pace,
    /// Go on there.
    Jump(Round),
}
