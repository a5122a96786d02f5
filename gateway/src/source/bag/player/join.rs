//! Deciding when and where to begin.

use std::time::Duration;

use super::super::pace::{Join, LOOP_GAP_NS, Pace};
use super::super::recording::{Event, Survey};
use super::{Halt, Player, Round};
use crate::source::SourceState;

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
    pub(super) fn first_round(&self, first: i64) -> Round {
        let start = i64::try_from(self.options.start.as_nanos()).unwrap_or(i64::MAX);
        let base = first.saturating_add(start);
        let pace = Pace { origin: self.clock.now(), base, rate: self.options.rate };
        Round { pace, from: base, anchored: false }
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

/// Recorded nanoseconds from the start of a round to the start of the next.
pub(super) fn cycle(last: i64, base: i64) -> i64 {
    last.saturating_sub(base).max(0).saturating_add(LOOP_GAP_NS)
}
