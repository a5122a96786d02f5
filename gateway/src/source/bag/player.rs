//! Plays a recording into a sink at its recorded pace.

mod join;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::{Guid, SampleId};

use self::join::cycle;
use super::super::{Qos, RawSample, Sink, SourceError, SourceState, Stop, TopicDecl, TopicKey};
use super::BagOptions;
use super::clock::Clock;
use super::pace::Pace;
use super::progress::Progress;
use super::recording::{Damage, Event, Message, Recording, Span};

/// Longest single wait, so that the progress line moves through quiet stretches.
const WAIT_SLICE: Duration = Duration::from_millis(250);

/// A wait that deserves a line in the log: a clock that was set while recording looks like it.
const LONG_GAP: Duration = Duration::from_secs(60);

/// Why playing ended early.
enum Halt {
    Stopped,
    Damaged(Damage),
}

impl From<Damage> for Halt {
    fn from(damage: Damage) -> Halt {
        Halt::Damaged(damage)
    }
}

/// A channel as the player sees it.
struct Track {
    source: Guid,
    /// Where its samples go; `None` when nobody wants them or we cannot pass them on.
    key: Option<TopicKey>,
    latched: bool,
    /// Messages so far, over all rounds: the sequence number of the last one.
    ordinal: u64,
}

/// The state of one run.
pub(super) struct Player<'a> {
    options: &'a BagOptions,
    recording: Box<dyn Recording>,
    clock: Box<dyn Clock>,
    sink: Arc<dyn Sink>,
    stop: Stop,
    tracks: Vec<Track>,
    offers: HashMap<(String, String), Qos>,
    progress: Progress,
    played: u64,
    passed_over: u64,
}

/// One round over the recording.
struct Round {
    pace: Pace,
    /// Log time of the first message to be played; those before it are only counted.
    from: i64,
    /// Whether the origin stands. Until then it is set when the first message is ready to go, so
    /// that the time it took to find it is not made up for.
    anchored: bool,
}

impl<'a> Player<'a> {
    pub(super) fn new(
        options: &'a BagOptions,
        recording: Box<dyn Recording>,
        clock: Box<dyn Clock>,
        sink: Arc<dyn Sink>,
        stop: Stop,
    ) -> Player<'a> {
        Player {
            progress: Progress::new(options.progress),
            options,
            recording,
            clock,
            sink,
            stop,
            tracks: Vec::new(),
            offers: HashMap::new(),
            played: 0,
            passed_over: 0,
        }
    }

    /// Plays to the end, until stopped, or to where the recording is damaged.
    pub(super) fn run(mut self) -> Result<(), SourceError> {
        self.sink.state(SourceState::Starting);
        match self.play() {
            Ok(()) => {
                tracing::info!(
                    played = self.played,
                    passed_over = self.passed_over,
                    "the recording was played to its end"
                );
                self.sink.state(SourceState::Finished);
                Ok(())
            }
            Err(Halt::Stopped) => Ok(()),
            Err(Halt::Damaged(damage)) => {
                let text = format!("{damage}; {} messages before it were played", self.played);
                self.sink.state(SourceState::Failed(text.clone()));
                Err(SourceError(text))
            }
        }
    }

    fn play(&mut self) -> Result<(), Halt> {
        self.declare();
        self.wait_for_listener()?;
        let mut round = self.join()?;
        self.sink.state(SourceState::Running);
        loop {
            let span = self.round(&mut round)?;
            let (true, Some(span)) = (self.options.looped, span) else { return Ok(()) };
            let pace = round.get_or_insert_with(|| self.first_round(span.first)).pace;
            let pace = pace.next_round(cycle(span.last, pace.base));
            round = Some(Round { pace, from: pace.base, anchored: true });
        }
    }

    /// Tells the sink of channels that it has not heard of.
    fn declare(&mut self) {
        for index in self.tracks.len()..self.recording.channels().len() {
            let channel = self.recording.channels()[index].clone();
            let wanted = channel.unusable.is_none() && self.sink.wants(&channel.topic, &channel.type_name);
            if let Some(why) = &channel.unusable {
                tracing::warn!("{} is not played: {why}", channel.topic);
            }
            // Several publishers of a topic are one topic: what any of them offers is offered.
            let offer = self.offers.entry((channel.topic.clone(), channel.type_name.clone())).or_default();
            offer.reliable |= channel.qos.reliable;
            offer.transient_local |= channel.qos.transient_local;
            let source =
                Guid::from_name(&format!("bag:{} {} {}", channel.topic, channel.type_name, channel.id));
            let latched = channel.qos.transient_local;
            let decl = TopicDecl {
                name: channel.topic,
                type_name: channel.type_name,
                qos: *offer,
                schema: channel.schema,
                route: None,
            };
            let key = if wanted { self.sink.topic_up(decl) } else { None };
            if key.is_none() {
                self.recording.ignore(index);
            }
            self.tracks.push(Track { source, key, latched, ordinal: 0 });
        }
    }

    /// Plays the recording once. Returns the log times it covered, `None` if it had no message.
    fn round(&mut self, round: &mut Option<Round>) -> Result<Option<Span>, Halt> {
        self.recording.rewind()?;
        let (mut held, mut reached) = (Vec::new(), false);
        let mut span = match round {
            Some(round) => self.skip(round.from, &mut held)?,
            None => None,
        };
        let end = loop {
            if self.stop.is_set() {
                return Err(Halt::Stopped);
            }
            let message = match self.recording.next() {
                Ok(Some(Event::Message(message))) => message,
                Ok(Some(Event::Channels)) => {
                    self.declare();
                    continue;
                }
                Ok(None) => break Ok(()),
                Err(damage) => break Err(damage),
            };
            span = Some(Span::with(span.or(self.recording.span()), message.log_time));
            let round = round.get_or_insert_with(|| self.first_round(message.log_time));
            reached |= message.log_time >= round.from;
            let track = &mut self.tracks[message.channel];
            track.ordinal += 1;
            let ordinal = track.ordinal;
            if reached {
                self.reach(round, &mut held);
                self.pause(round, message.log_time, span)?;
                self.deliver(message, ordinal);
            } else if track.latched {
                hold(&mut held, message, ordinal);
            }
        };
        self.release(&mut held);
        self.show_end(span);
        end?;
        Ok(span)
    }

    /// Before a message is played: settles when the round began, and plays what is held.
    fn reach(&mut self, round: &mut Round, held: &mut Vec<(usize, u64, Message)>) {
        if !round.anchored {
            round.anchored = true;
            round.pace.origin = self.clock.now();
        }
        self.release(held);
    }

    /// Lets the recording pass over what it need not read. `None` when that was nothing.
    fn skip(&mut self, from: i64, held: &mut Vec<(usize, u64, Message)>) -> Result<Option<Span>, Halt> {
        let skipped = self.recording.skip_to(from, &self.stop)?;
        if self.stop.is_set() {
            return Err(Halt::Stopped);
        }
        for (among, message) in skipped.latched {
            let ordinal = self.tracks[message.channel].ordinal + among;
            hold(held, message, ordinal);
        }
        for (track, count) in self.tracks.iter_mut().zip(&skipped.counts) {
            track.ordinal += count;
        }
        Ok(self.recording.span().filter(|_| skipped.counts.iter().any(|count| *count > 0)))
    }

    /// Delivers what a late listener would have got of the time before.
    fn release(&mut self, held: &mut Vec<(usize, u64, Message)>) {
        held.sort_by_key(|(_, _, message)| message.log_time);
        for (_, ordinal, message) in held.drain(..) {
            self.deliver(message, ordinal);
        }
    }

    /// Waits until the message is due. What is late is not waited for, and nothing is left out.
    fn pause(&mut self, round: &Round, log_time: i64, span: Option<Span>) -> Result<(), Halt> {
        let left = round.pace.wait(log_time, self.clock.now());
        if left > LONG_GAP {
            tracing::warn!(seconds = left.as_secs(), "the recording has a gap: its next message is far off");
        }
        loop {
            let now = self.clock.now();
            let left = round.pace.wait(log_time, now);
            let first = span.map_or(round.pace.base, |span| span.first);
            let recorded = (left.as_nanos() as f64 * round.pace.rate) as i64;
            let position = log_time.saturating_sub(recorded).saturating_sub(first).max(0);
            self.progress.update(now, position, self.total(), self.played);
            if left.is_zero() {
                return Ok(());
            }
            if self.clock.wait(left.min(WAIT_SLICE), &self.stop) {
                return Err(Halt::Stopped);
            }
        }
    }

    fn deliver(&mut self, message: Message, ordinal: u64) {
        let track = &self.tracks[message.channel];
        let Some(key) = track.key else {
            self.passed_over += 1;
            return;
        };
        let id = SampleId { source: track.source, seq: ordinal };
        self.sink.sample(
            key,
            RawSample {
                id,
                source_time_ns: message.publish_time,
                receive_time_ns: message.log_time,
                payload: message.data,
            },
        );
        self.played += 1;
    }

    fn total(&self) -> Option<i64> {
        self.recording.span().map(|span| span.last.saturating_sub(span.first))
    }

    fn show_end(&mut self, span: Option<Span>) {
        let Some(span) = span.filter(|_| !self.options.looped) else { return };
        self.progress.finish(span.last.saturating_sub(span.first), self.total(), self.played);
    }
}

/// Keeps the last message of each latched channel.
fn hold(held: &mut Vec<(usize, u64, Message)>, message: Message, ordinal: u64) {
    held.retain(|(channel, _, _)| *channel != message.channel);
    held.push((message.channel, ordinal, message));
}
