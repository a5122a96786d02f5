//! Executes playback commands and publishes the playback status.

use std::time::{Duration, Instant};

use crate::bag::control_log::ControlLogReader;
use crate::bag::player::{Pass, Player, StopReason, WAIT_SLICE, nanoseconds};
use crate::bag::recording::Span;
use crate::{Playback, PlaybackStatus, SourceState};

/// Interval at which a process polls for commands.
const PLAYBACK_POLL_MS: u64 = 20;
/// After a seek, the newest message of each topic within this time before the position is shown.
const PLAYBACK_BACKFILL_MS: u64 = 1_000;

const POLL_NS: i64 = PLAYBACK_POLL_MS as i64 * 1_000_000;

/// After a seek, messages within this time before the target are played as well.
const BACKFILL_NS: i64 = PLAYBACK_BACKFILL_MS as i64 * 1_000_000;

/// Exceeds any recording's messages per channel; used for a recording that cannot be counted to its end.
const UNCOUNTED: u64 = 1 << 32;

/// The commands to a recording, as the player reads them.
pub(super) struct CommandQueue {
    reader: ControlLogReader,
    polled_at: i64,
    /// The pass published last.
    published_pass: Option<u64>,
}

impl CommandQueue {
    pub(super) fn new(reader: ControlLogReader) -> CommandQueue {
        CommandQueue { reader, polled_at: i64::MIN, published_pass: None }
    }
}

impl Player<'_> {
    /// Longest single wait.
    pub(super) fn poll_interval(&self) -> Duration {
        match self.commands {
            Some(_) => Duration::from_millis(PLAYBACK_POLL_MS),
            None => WAIT_SLICE,
        }
    }

    /// Reads new commands, at most once per polling interval.
    pub(super) fn poll(&mut self, now: i64) {
        let (Some(commands), Some(timeline)) = (&mut self.commands, &mut self.timeline) else { return };
        if now.saturating_sub(commands.polled_at) >= POLL_NS {
            commands.polled_at = now;
            commands.reader.read().into_iter().for_each(|command| timeline.add(command));
        }
    }

    /// Applies the commands given before this process started.
    pub(super) fn catch_up(&mut self, now: i64) {
        self.poll(now);
        if let Some(timeline) = &mut self.timeline {
            timeline.catch_up(now);
        }
    }

    /// Applies the commands due at `now`, unless a message due at `due` comes first. Returns the new
    /// position on a seek.
    pub(super) fn apply_due(&mut self, now: i64, due: i64) -> CommandEffect {
        let Some(applied) = self.timeline.as_mut().and_then(|timeline| timeline.apply_due(now, due)) else {
            return CommandEffect::Unchanged;
        };
        self.publish_status(now, applied.request);
        match &self.timeline {
            Some(timeline) if applied.is_seek => {
                let from = timeline.range.base.saturating_add(timeline.segment.offset);
                CommandEffect::Seek(Pass {
                    index: timeline.segment.pass,
                    from,
                    backfill: BACKFILL_NS,
                    has_ordinals: false,
                })
            }
            _ => CommandEffect::Changed,
        }
    }

    /// Where to start if playback is under way already: `offset` after the base, in this pass.
    pub(super) fn resume_at(&self, (pass, offset): (u64, i64)) -> Option<Pass> {
        let timeline = self.timeline.as_ref()?;
        let at_rest = !timeline.segment.playing || timeline.is_end(offset);
        // A paused recording shows the messages at its position; one at its end plays nothing again.
        let beyond = i64::from(timeline.is_end(offset));
        let from = timeline.range.base.saturating_add(offset).saturating_add(beyond);
        let backfill = if self.commands.is_some() && at_rest { BACKFILL_NS } else { 0 };
        Some(Pass { index: pass, from, backfill, has_ordinals: false })
    }

    /// Waits at the end until a seek.
    pub(super) fn wait_at_end(&mut self, pass: u64) -> Result<Pass, StopReason> {
        let end = self.timeline.as_ref().and_then(|t| Some(t.range.base.saturating_add(t.range.length?)));
        let mut ended = false;
        loop {
            let now = self.clock.now();
            self.poll(now);
            let due = match (&self.timeline, end) {
                (Some(timeline), Some(end)) if !ended => timeline.due(pass, end),
                _ => i64::MAX,
            };
            match self.apply_due(now, due) {
                CommandEffect::Seek(pass) => {
                    self.sink.state(SourceState::Running);
                    return Ok(pass);
                }
                CommandEffect::Changed => continue,
                CommandEffect::Unchanged => {}
            }
            if due <= now {
                ended = true;
                self.publish_status(now, String::new());
                self.sink.state(SourceState::Finished);
            }
            let next = self.timeline.as_ref().and_then(|timeline| timeline.next_at()).unwrap_or(i64::MAX);
            let left = next.min(if ended { i64::MAX } else { due }).saturating_sub(now);
            if self.clock.wait(self.poll_interval().min(nanoseconds(left)), &self.stop) {
                return Err(StopReason::Stopped);
            }
        }
    }

    /// Sets the channels' ordinals to the beginning of this pass.
    pub(super) fn set_ordinals(&mut self, pass: u64) -> Result<(), StopReason> {
        let counts = match (&self.counts, pass) {
            (_, 0) => Vec::new(),
            (Some(counts), _) => counts.clone(),
            (None, _) => self.read_stats()?.counts,
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

    /// Publishes the status if its pass differs from the one published last.
    pub(super) fn publish_new_pass(&mut self, now: i64, pass: u64) {
        if self.commands.as_ref().is_some_and(|commands| commands.published_pass != Some(pass)) {
            self.publish_status(now, String::new());
        }
    }

    /// Publishes the playback status at `now`.
    pub(super) fn publish_status(&mut self, now: i64, request: String) {
        let (Some(commands), Some(timeline)) = (&mut self.commands, &self.timeline) else { return };
        let (range, (pass, offset)) = (timeline.range, timeline.position(now));
        let status = match timeline.segment.playing {
            _ if timeline.is_end(offset) => PlaybackStatus::Ended,
            true if self.anchored => PlaybackStatus::Playing,
            true => PlaybackStatus::Buffering,
            false => PlaybackStatus::Paused,
        };
        commands.published_pass = Some(pass);
        let last = range.base.saturating_add(range.length.unwrap_or(0));
        self.sink.playback(Playback {
            range_ns: (range.base, last),
            status,
            speed: timeline.segment.speed,
            position_ns: range.base.saturating_add(offset).min(last),
            at: Instant::now(),
            pass,
            request,
        });
    }

    /// Playback length of a recording with these log times.
    pub(super) fn length(span: Span, base: i64) -> i64 {
        span.last.saturating_sub(base).max(0)
    }
}

/// The effect of applying commands.
pub(super) enum CommandEffect {
    /// No command was due.
    Unchanged,
    /// Pause, resume or speed changed.
    Changed,
    /// Continue at this position.
    Seek(Pass),
}
