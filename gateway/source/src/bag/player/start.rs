//! Deciding when and where to begin.

use std::time::Duration;

use crate::SourceState;
use crate::bag::player::{Halt, Player, Round};
use crate::bag::recording::{Event, Survey};
use crate::bag::timeline::{Course, Leg, Timeline};

/// How often the wait for a first listener looks for one.
const LISTENER_POLL: Duration = Duration::from_millis(20);

impl Player<'_> {
    pub(super) fn wait_for_listener(&mut self) -> Result<(), Halt> {
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
    pub(super) fn join(&mut self) -> Result<Option<Round>, Halt> {
        let Some(epoch) = self.options.epoch_unix_ns else {
            let span = self.recording.span().filter(|_| !self.options.start.is_zero());
            return Ok(span.map(|span| self.first_round(span.first)));
        };
        let survey = if self.options.looped { self.survey()? } else { Survey::default() };
        let first = match survey.span.or(self.recording.span()) {
            Some(span) => span.first,
            // Without an index the first message tells when the recording began.
            None => match self.first_log_time()? {
                Some(first) => first,
                None => return Ok(None),
            },
        };
        self.plan(first);
        if let Some(timeline) = &mut self.timeline {
            timeline.leg.at = epoch;
            // A damaged recording is played once.
            timeline.course.looped &= survey.span.is_some();
            if let Some(span) = survey.span {
                timeline.course.length = Some(Self::length(span, timeline.course.base));
            }
        }
        if survey.span.is_some() {
            self.counts = Some(survey.counts);
        }
        self.anchored = true;
        let now = self.clock.now();
        self.catch_up(now);
        self.tell(now, String::new());
        Ok(self.timeline.as_ref().map(|timeline| timeline.place(now)).and_then(|place| self.resumed(place)))
    }

    /// Plans a playback that begins now, of a recording whose first message is of `first`.
    pub(super) fn plan(&mut self, first: i64) {
        let start = i64::try_from(self.options.start.as_nanos()).unwrap_or(i64::MAX);
        let base = first.saturating_add(start);
        let length = self.recording.span().map(|span| Self::length(span, base));
        let course = Course { base, length, looped: self.options.looped };
        self.timeline = Some(Timeline::new(course, Leg::first(self.clock.now(), self.options.rate)));
    }

    /// The first round of a playback that begins now.
    pub(super) fn first_round(&mut self, first: i64) -> Round {
        self.plan(first);
        let from = self.timeline.as_ref().map_or(first, |timeline| timeline.course.base);
        Round { pass: 0, from, backfill: 0, numbered: true }
    }

    /// Counts what a round holds. Damage is not reported here but when playing comes to it; a
    /// damaged recording has one round.
    pub(super) fn survey(&mut self) -> Result<Survey, Halt> {
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
}
