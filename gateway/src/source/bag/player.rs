//! Plays a recording into a sink at its recorded pace.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use roverline_protocol::{Guid, SampleId};

use super::super::{Qos, RawSample, Sink, SourceError, SourceState, Stop, TopicDecl, TopicKey};
use super::BagOptions;
use super::pace::{Join, LOOP_GAP_NS, Pace};
use super::progress::Progress;
use super::recording::{Damage, Event, Message, Recording, Span, Survey};

/// How often the wait for a first listener looks for one.
const LISTENER_POLL: Duration = Duration::from_millis(20);
/// Longest single wait, so that the progress line moves through quiet stretches.
const WAIT_SLICE: Duration = Duration::from_millis(250);

/// A wait that deserves a line in the log: a clock that was set while recording looks like it.
const LONG_GAP: Duration = Duration::from_secs(60);

/// Time, replaced in tests.
pub(super) trait Clock: Send {
    /// Monotonic nanoseconds.
    fn now(&self) -> i64;
    /// Nanoseconds since the Unix epoch.
    fn wall(&self) -> i64;
    /// Waits; returns whether to stop.
    fn wait(&self, time: Duration, stop: &Stop) -> bool;
}

/// The real thing.
pub(super) struct SystemClock(pub(super) Instant);

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    fn wall(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    fn wait(&self, time: Duration, stop: &Stop) -> bool {
        stop.wait(time)
    }
}

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
            };
            let key = if wanted { self.sink.topic_up(decl) } else { None };
            if key.is_none() {
                self.recording.ignore(index);
            }
            self.tracks.push(Track { source, key, latched, ordinal: 0 });
        }
    }

    fn wait_for_listener(&mut self) -> Result<(), Halt> {
        // Processes in step with each other cannot wait for a listener each.
        if !self.options.wait || self.options.epoch_unix_ns.is_some() || self.sink.has_listener() {
            return Ok(());
        }
        self.sink.state(SourceState::Waiting);
        while !self.sink.has_listener() {
            if self.clock.wait(LISTENER_POLL, &self.stop) {
                return Err(Halt::Stopped);
            }
        }
        Ok(())
    }

    /// Decides where to begin. `None`: with the first message that is read, whenever it was.
    fn join(&mut self) -> Result<Option<Round>, Halt> {
        let Some(epoch) = self.options.epoch_unix_ns else {
            let span = self.recording.span().filter(|_| !self.options.start.is_zero());
            return Ok(span.map(|span| self.first_round(span.first)));
        };
        let rate = self.options.rate;
        let survey = if self.options.looped { self.survey()? } else { Survey::default() };
        let Some(span) = survey.span.or(self.recording.span()) else {
            // Without an index the first message tells when the recording began.
            let first = self.first_log_time()?;
            return Ok(first.map(|first| self.joined(first, Join::at(self.since(epoch), rate, None))));
        };
        let base = self.first_round(span.first).pace.base;
        let cycle = survey.span.map(|_| cycle(span.last, base));
        let join = Join::at(self.since(epoch), rate, cycle);
        for (track, count) in self.tracks.iter_mut().zip(&survey.counts) {
            track.ordinal = count.saturating_mul(join.rounds);
        }
        Ok(Some(self.joined(span.first, join)))
    }

    fn joined(&self, first: i64, join: Join) -> Round {
        let mut round = self.first_round(first);
        round.pace.origin = self.clock.now().saturating_sub(join.since_round);
        round.from = round.pace.base.saturating_add(join.position);
        round.anchored = true;
        round
    }

    /// Real nanoseconds since the epoch of the playback.
    fn since(&self, epoch: i64) -> i64 {
        self.clock.wall().saturating_sub(epoch)
    }

    /// A round that begins now, in a recording whose first message is of `first`.
    fn first_round(&self, first: i64) -> Round {
        let start = i64::try_from(self.options.start.as_nanos()).unwrap_or(i64::MAX);
        let base = first.saturating_add(start);
        let pace = Pace { origin: self.clock.now(), base, rate: self.options.rate };
        Round { pace, from: base, anchored: false }
    }

    /// Counts what a round holds. Damage is not reported here but when playing comes to it; a
    /// damaged recording has one round.
    fn survey(&mut self) -> Result<Survey, Halt> {
        let survey = match self.recording.survey(&self.stop) {
            Ok(Some(survey)) => survey,
            Ok(None) => return Err(Halt::Stopped),
            Err(_) => Survey::default(),
        };
        self.declare();
        Ok(survey)
    }

    fn first_log_time(&mut self) -> Result<Option<i64>, Halt> {
        self.recording.rewind()?;
        loop {
            match self.recording.next()? {
                Some(Event::Channels) => self.declare(),
                Some(Event::Message(message)) => return Ok(Some(message.log_time)),
                None => return Ok(None),
            }
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

/// Recorded nanoseconds from the start of a round to the start of the next.
fn cycle(last: i64, base: i64) -> i64 {
    last.saturating_sub(base).max(0).saturating_add(LOOP_GAP_NS)
}

/// Keeps the last message of each latched channel.
fn hold(held: &mut Vec<(usize, u64, Message)>, message: Message, ordinal: u64) {
    held.retain(|(channel, _, _)| *channel != message.channel);
    held.push((message.channel, ordinal, message));
}
