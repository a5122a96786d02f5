//! Plays a recording into a sink at its recorded pace.

mod control;
mod start;
mod tracks;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::bag::BagOptions;
use crate::bag::clock::Clock;
use crate::bag::compressed_message;
use crate::bag::control_log::ControlLogReader;
use crate::bag::player::control::{CommandEffect, CommandQueue};
use crate::bag::player::tracks::{Declared, Track};
use crate::bag::progress::Progress;
use crate::bag::recording::{CorruptRecording, Event, Message, Recording, Span, keep_last};
use crate::bag::timeline::Timeline;
use crate::{RawSample, Sink, SourceError, SourceState, StopFlag};

/// Longest single wait, so the progress line keeps moving in quiet stretches.
const WAIT_SLICE: Duration = Duration::from_millis(250);

/// Longer waits are logged: they usually mean that the clock was set during recording.
const LONG_GAP: Duration = Duration::from_secs(60);

/// Why playback ended early.
enum StopReason {
    Stopped,
    Corrupt(CorruptRecording),
}

impl From<CorruptRecording> for StopReason {
    fn from(corruption: CorruptRecording) -> StopReason {
        StopReason::Corrupt(corruption)
    }
}

/// The state of one run.
pub(super) struct Player<'a> {
    options: &'a BagOptions,
    recording: Box<dyn Recording>,
    clock: Box<dyn Clock>,
    sink: Arc<dyn Sink>,
    stop: StopFlag,
    tracks: Vec<Track>,
    /// The declaration of each topic.
    declared: HashMap<String, Declared>,
    progress: Progress,
    played: u64,
    passed_over: u64,
    /// Messages that could not be unpacked.
    damaged: u64,
    /// The playback position over time; `None` until the first log time is known.
    timeline: Option<Timeline>,
    /// Whether the start time is final. Until then it is set when the first message is ready, so
    /// playback does not make up for the time it took to find that message.
    anchored: bool,
    commands: Option<CommandQueue>,
    /// Messages per channel in the whole recording, if they had to be counted.
    counts: Option<Vec<u64>>,
}

/// One pass through the recording, from some position on.
struct Pass {
    /// Its number, counted from 0.
    index: u64,
    /// Log time of the first message to play; earlier ones are only counted.
    from: i64,
    /// The newest message of each channel within this time before `from` is played as well.
    backfill: i64,
    /// Whether the channels' ordinals are already those of this pass.
    has_ordinals: bool,
}

impl<'a> Player<'a> {
    pub(super) fn new(
        options: &'a BagOptions,
        recording: Box<dyn Recording>,
        clock: Box<dyn Clock>,
        sink: Arc<dyn Sink>,
        stop: StopFlag,
    ) -> Player<'a> {
        Player {
            progress: Progress::new(options.progress),
            options,
            recording,
            clock,
            sink,
            stop,
            tracks: Vec::new(),
            declared: HashMap::new(),
            played: 0,
            passed_over: 0,
            damaged: 0,
            timeline: None,
            anchored: false,
            commands: None,
            counts: None,
        }
    }

    /// Follows the commands of this control log.
    pub(super) fn with_control_log(mut self, control_log: Option<ControlLogReader>) -> Player<'a> {
        self.commands = control_log.map(CommandQueue::new);
        self
    }

    /// Plays to the end, until stopped, or to where the recording is corrupt.
    pub(super) fn run(mut self) -> Result<(), SourceError> {
        self.sink.state(SourceState::Starting);
        match self.play() {
            Ok(()) => {
                tracing::info!(
                    played = self.played,
                    passed_over = self.passed_over,
                    damaged = self.damaged,
                    "the recording was played to its end"
                );
                self.sink.state(SourceState::Finished);
                Ok(())
            }
            Err(StopReason::Stopped) => Ok(()),
            Err(StopReason::Corrupt(corruption)) => {
                let text = format!("{corruption}; {} messages before it were played", self.played);
                self.sink.state(SourceState::Failed(text.clone()));
                Err(SourceError(text))
            }
        }
    }

    fn play(&mut self) -> Result<(), StopReason> {
        self.declare();
        if let Some(span) = self.recording.span().filter(|_| self.options.epoch_unix_ns.is_none()) {
            // Clients that want to control playback see the range before anything is played.
            self.start_timeline(span.first);
            self.publish_status(self.clock.now(), String::new());
        }
        self.wait_for_listener()?;
        let mut pass = self.plan_start()?;
        self.sink.state(SourceState::Running);
        loop {
            let span = match self.play_pass(&mut pass)? {
                PassEnd::Seek(next) => {
                    pass = Some(next);
                    continue;
                }
                PassEnd::Finished(span) => span,
            };
            let (Some(span), Some(last), Some(timeline)) = (span, &pass, &mut self.timeline) else {
                return Ok(());
            };
            let (base, index) = (timeline.range.base, last.index);
            timeline.range.length.get_or_insert(Self::length(span, base));
            pass = match (timeline.range.looped, &self.commands) {
                (true, _) => {
                    Some(Pass { index: index.saturating_add(1), from: base, backfill: 0, has_ordinals: true })
                }
                (false, Some(_)) => Some(self.wait_at_end(index)?),
                (false, None) => return Ok(()),
            };
        }
    }

    /// Plays one pass, to its end or to the next seek.
    fn play_pass(&mut self, pass: &mut Option<Pass>) -> Result<PassEnd, StopReason> {
        if let Some(pass) = pass.as_ref().filter(|pass| !pass.has_ordinals) {
            self.set_ordinals(pass.index)?;
        }
        self.recording.rewind()?;
        let (mut held, mut reached) = (HeldMessages::new(), false);
        let mut span = match pass {
            Some(pass) => self.skip(pass.from.saturating_sub(pass.backfill), &mut held)?,
            None => None,
        };
        let end = loop {
            if self.stop.is_set() {
                return Err(StopReason::Stopped);
            }
            let message = match self.recording.next() {
                Ok(Some(Event::Message(message))) => message,
                Ok(Some(Event::Channels)) => {
                    self.declare();
                    continue;
                }
                Ok(None) => break Ok(()),
                Err(corruption) => break Err(corruption),
            };
            span = Some(Span::with(span.or(self.recording.span()), message.log_time));
            let pass = pass.get_or_insert_with(|| self.first_pass(message.log_time));
            reached |= message.log_time >= pass.from;
            let track = &mut self.tracks[message.channel];
            track.ordinal += 1;
            let ordinal = track.ordinal;
            let near = message.log_time >= pass.from.saturating_sub(pass.backfill);
            if reached {
                self.before_delivery(&mut held);
                if let Some(seek) = self.wait_until_due(pass, message.log_time, span)? {
                    return Ok(PassEnd::Seek(seek));
                }
                self.deliver(message, ordinal);
            } else if track.latched || (pass.backfill > 0 && near) {
                let most = track.kept;
                keep_last(&mut held, message.channel, (ordinal, message), most);
            }
        };
        self.deliver_held(&mut held);
        self.finish_progress(span);
        end?;
        Ok(PassEnd::Finished(span))
    }

    /// Called before a message is played: fixes the start time and plays the held messages.
    fn before_delivery(&mut self, held: &mut HeldMessages) {
        let now = self.clock.now();
        if let Some(timeline) = self.timeline.as_mut().filter(|_| !self.anchored) {
            timeline.segment.at = now;
            self.anchored = true;
            self.publish_status(now, String::new());
        }
        self.deliver_held(held);
    }

    /// Lets the recording skip messages that need not be read. `None` if it skipped nothing.
    fn skip(&mut self, from: i64, held: &mut HeldMessages) -> Result<Option<Span>, StopReason> {
        let skipped = self.recording.skip_to(from, &self.stop)?;
        if self.stop.is_set() {
            return Err(StopReason::Stopped);
        }
        for (among, message) in skipped.latched {
            let track = &self.tracks[message.channel];
            keep_last(held, message.channel, (track.ordinal + among, message), track.kept);
        }
        for (track, count) in self.tracks.iter_mut().zip(&skipped.counts) {
            track.ordinal += count;
        }
        Ok(self.recording.span().filter(|_| skipped.counts.iter().any(|count| *count > 0)))
    }

    /// Delivers the messages that a late subscriber would have received from the time before.
    fn deliver_held(&mut self, held: &mut HeldMessages) {
        held.sort_by_key(|(_, (_, message))| message.log_time);
        for (_, (ordinal, message)) in held.drain(..) {
            self.deliver(message, ordinal);
        }
    }

    /// Waits until the message is due. Late messages are played at once and never dropped. Returns the
    /// new position on a seek.
    fn wait_until_due(
        &mut self,
        pass: &Pass,
        log_time: i64,
        span: Option<Span>,
    ) -> Result<Option<Pass>, StopReason> {
        let mut announced = None;
        loop {
            let now = self.clock.now();
            self.poll(now);
            let Some(timeline) = &self.timeline else { return Ok(None) };
            let (due, segment) = (timeline.due(pass.index, log_time), timeline.segment);
            let next = timeline.next_at().unwrap_or(i64::MAX);
            match self.apply_due(now, due) {
                CommandEffect::Seek(seek) => return Ok(Some(seek)),
                CommandEffect::Changed => continue,
                CommandEffect::Unchanged => {}
            }
            let left = nanoseconds(due.saturating_sub(now));
            if segment.playing && announced.replace(segment) != Some(segment) && left > LONG_GAP {
                tracing::warn!(
                    seconds = left.as_secs(),
                    "the recording has a gap: its next message is far off"
                );
            }
            if segment.playing {
                let first = span.map_or(log_time, |span| span.first);
                let recorded = (left.as_nanos() as f64 * segment.speed) as i64;
                let position = log_time.saturating_sub(recorded).saturating_sub(first).max(0);
                self.progress.update(now, position, self.total(), self.played);
            }
            if left.is_zero() {
                self.publish_new_pass(now, pass.index);
                return Ok(None);
            }
            let left = left.min(self.poll_interval()).min(nanoseconds(next.saturating_sub(now)));
            if self.clock.wait(left, &self.stop) {
                return Err(StopReason::Stopped);
            }
        }
    }

    fn deliver(&mut self, message: Message, ordinal: u64) {
        let track = &mut self.tracks[message.channel];
        let Some(key) = track.key else {
            self.passed_over += 1;
            return;
        };
        let payload = match compressed_message::unpacked(message.data) {
            Ok(payload) => payload,
            Err(why) => {
                if self.damaged == 0 {
                    tracing::warn!("messages that cannot be unpacked are left out, the first because {why}");
                }
                self.damaged += 1;
                return;
            }
        };
        // A wrong index must not make sequence numbers decrease.
        if ordinal <= track.delivered {
            return;
        }
        track.delivered = ordinal;
        let id = track.identity(ordinal);
        self.sink.sample(
            key,
            RawSample {
                id,
                source_time_ns: message.publish_time,
                receive_time_ns: message.log_time,
                payload,
            },
        );
        self.played += 1;
    }

    fn total(&self) -> Option<i64> {
        self.recording.span().map(|span| span.last.saturating_sub(span.first))
    }

    fn finish_progress(&mut self, span: Option<Span>) {
        let Some(span) = span.filter(|_| !self.options.looped) else { return };
        self.progress.finish(span.last.saturating_sub(span.first), self.total(), self.played);
    }
}

/// How a pass ends.
enum PassEnd {
    /// At the end of the recording; its time span, `None` if it had no message.
    Finished(Option<Span>),
    /// By a seek.
    Seek(Pass),
}

fn nanoseconds(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

/// By channel index, the messages that a late subscriber would have received, with their ordinals.
type HeldMessages = Vec<(usize, (u64, Message))>;
