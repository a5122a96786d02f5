//! Plays a recording into a sink at its recorded pace.

mod control;
mod start;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::{Guid, SampleId};

use crate::bag::BagOptions;
use crate::bag::clock::Clock;
use crate::bag::control_log::OrderReader;
use crate::bag::player::control::{Obeyed, Steer};
use crate::bag::progress::Progress;
use crate::bag::recording::{Damage, Event, Message, Recording, Span};
use crate::bag::timeline::Timeline;
use crate::{Qos, RawSample, Sink, SourceError, SourceState, Stop, TopicDecl, TopicKey};

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
    /// The number that was delivered last.
    delivered: u64,
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
    /// Where the recording is when; `None` until its first log time is known.
    timeline: Option<Timeline>,
    /// Whether the beginning stands. Until then it is set when the first message is ready to go, so
    /// that the time it took to find it is not made up for.
    anchored: bool,
    steer: Option<Steer>,
    /// Messages of each channel in the whole recording, once somebody had to know.
    counts: Option<Vec<u64>>,
}

/// One way through the recording, from somewhere on.
struct Round {
    pass: u64,
    /// Log time of the first message to be played; those before it are only counted.
    from: i64,
    /// What lies this far before, the newest of each channel, is played as well.
    backfill: i64,
    /// Whether the channels' numbers are those of this pass already.
    numbered: bool,
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
            timeline: None,
            anchored: false,
            steer: None,
            counts: None,
        }
    }

    /// Follows these orders.
    pub(super) fn steered(mut self, orders: Option<OrderReader>) -> Player<'a> {
        self.steer = orders.map(Steer::new);
        self
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
        if let Some(span) = self.recording.span().filter(|_| self.options.epoch_unix_ns.is_none()) {
            // Who wants to steer it is told what there is before anything is played.
            self.plan(span.first);
            self.tell(self.clock.now(), String::new());
        }
        self.wait_for_listener()?;
        let mut round = self.join()?;
        self.sink.state(SourceState::Running);
        loop {
            let span = match self.round(&mut round)? {
                End::Jump(next) => {
                    round = Some(next);
                    continue;
                }
                End::Over(span) => span,
            };
            let (Some(span), Some(last), Some(timeline)) = (span, &round, &mut self.timeline) else {
                return Ok(());
            };
            let (base, pass) = (timeline.course.base, last.pass);
            timeline.course.length.get_or_insert(Self::length(span, base));
            round = match (timeline.course.looped, &self.steer) {
                (true, _) => {
                    Some(Round { pass: pass.saturating_add(1), from: base, backfill: 0, numbered: true })
                }
                (false, Some(_)) => Some(self.wait_at_end(pass)?),
                (false, None) => return Ok(()),
            };
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
            self.tracks.push(Track { source, key, latched, ordinal: 0, delivered: 0 });
        }
    }

    /// Plays the recording once, unless somebody orders a jump.
    fn round(&mut self, round: &mut Option<Round>) -> Result<End, Halt> {
        if let Some(round) = round.as_ref().filter(|round| !round.numbered) {
            self.number(round.pass)?;
        }
        self.recording.rewind()?;
        let (mut held, mut reached) = (Vec::new(), false);
        let mut span = match round {
            Some(round) => self.skip(round.from.saturating_sub(round.backfill), &mut held)?,
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
            let near = message.log_time >= round.from.saturating_sub(round.backfill);
            if reached {
                self.reach(&mut held);
                if let Some(jump) = self.pause(round, message.log_time, span)? {
                    return Ok(End::Jump(jump));
                }
                self.deliver(message, ordinal);
            } else if track.latched || (round.backfill > 0 && near) {
                hold(&mut held, message, ordinal);
            }
        };
        self.release(&mut held);
        self.show_end(span);
        end?;
        Ok(End::Over(span))
    }

    /// Before a message is played: settles when playing began, and plays what is held.
    fn reach(&mut self, held: &mut Vec<(usize, u64, Message)>) {
        let now = self.clock.now();
        if let Some(timeline) = self.timeline.as_mut().filter(|_| !self.anchored) {
            timeline.leg.at = now;
            self.anchored = true;
            self.tell(now, String::new());
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
    /// Returns where to go on instead, when somebody orders that.
    fn pause(&mut self, round: &Round, log_time: i64, span: Option<Span>) -> Result<Option<Round>, Halt> {
        let mut begun = None;
        loop {
            let now = self.clock.now();
            self.look(now);
            let Some(timeline) = &self.timeline else { return Ok(None) };
            let (due, leg) = (timeline.due(round.pass, log_time), timeline.leg);
            let next = timeline.next_at().unwrap_or(i64::MAX);
            match self.obey(now, due) {
                Obeyed::Jump(jump) => return Ok(Some(jump)),
                Obeyed::Pace => continue,
                Obeyed::Nothing => {}
            }
            let left = nanoseconds(due.saturating_sub(now));
            if leg.playing && begun.replace(leg) != Some(leg) && left > LONG_GAP {
                tracing::warn!(
                    seconds = left.as_secs(),
                    "the recording has a gap: its next message is far off"
                );
            }
            if leg.playing {
                let first = span.map_or(log_time, |span| span.first);
                let recorded = (left.as_nanos() as f64 * leg.speed) as i64;
                let position = log_time.saturating_sub(recorded).saturating_sub(first).max(0);
                self.progress.update(now, position, self.total(), self.played);
            }
            if left.is_zero() {
                self.tell_pass(now, round.pass);
                return Ok(None);
            }
            let left = left.min(self.slice()).min(nanoseconds(next.saturating_sub(now)));
            if self.clock.wait(left, &self.stop) {
                return Err(Halt::Stopped);
            }
        }
    }

    fn deliver(&mut self, message: Message, ordinal: u64) {
        let track = &mut self.tracks[message.channel];
        let Some(key) = track.key else {
            self.passed_over += 1;
            return;
        };
        // A file whose index is wrong about it must not make numbers fall.
        if ordinal <= track.delivered {
            return;
        }
        track.delivered = ordinal;
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

/// How a round ends.
enum End {
    /// With the recording; what it covered, `None` if it had no message.
    Over(Option<Span>),
    /// With a jump.
    Jump(Round),
}

fn nanoseconds(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

/// Keeps the last message of each latched channel.
fn hold(held: &mut Vec<(usize, u64, Message)>, message: Message, ordinal: u64) {
    held.retain(|(channel, _, _)| *channel != message.channel);
    held.push((message.channel, ordinal, message));
}
