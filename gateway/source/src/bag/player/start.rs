//! Decides when and where playback starts.

use std::time::Duration;

use crate::SourceState;
use crate::bag::player::{Pass, Player, StopReason};
use crate::bag::recording::{Event, RecordingStats};
use crate::bag::timeline::{PlaybackRange, Segment, Timeline};

/// Polling interval while waiting for the first subscriber.
const LISTENER_POLL: Duration = Duration::from_millis(20);

impl Player<'_> {
    pub(super) fn wait_for_listener(&mut self) -> Result<(), StopReason> {
        // Processes that play in step cannot each wait for a subscriber of their own.
        if !self.options.wait || self.options.epoch_unix_ns.is_some() || self.sink.has_listener() {
            return Ok(());
        }
        self.sink.state(SourceState::Waiting);
        self.list_channels()?;
        while !self.sink.has_listener() {
            if self.clock.wait(LISTENER_POLL, &self.stop) {
                return Err(StopReason::Stopped);
            }
        }
        Ok(())
    }

    /// Declares the channels of a recording that does not list them, because clients cannot subscribe to an
    /// undeclared topic. A corrupt recording is reported when playback reaches the place.
    fn list_channels(&mut self) -> Result<(), StopReason> {
        if self.recording.knows_all_channels() || self.recording.rewind().is_err() {
            return Ok(());
        }
        tracing::info!("the recording has no complete index: it is read once to list its topics");
        while !self.sink.has_listener() {
            match self.recording.next() {
                Ok(Some(Event::Channels)) => self.declare(),
                Ok(Some(Event::Message(_))) => {}
                Ok(None) | Err(_) => break,
            }
            if self.stop.is_set() {
                return Err(StopReason::Stopped);
            }
            if let Some(part) = self.recording.part_read() {
                self.progress.update_part(self.clock.now(), "looking for its topics", part);
            }
        }
        Ok(())
    }

    /// Decides where to start. `None`: at the first message read, whatever its time.
    pub(super) fn plan_start(&mut self) -> Result<Option<Pass>, StopReason> {
        let Some(epoch) = self.options.epoch_unix_ns else {
            let span = self.recording.span().filter(|_| !self.options.start.is_zero());
            return Ok(span.map(|span| self.first_pass(span.first)));
        };
        let stats = if self.options.looped { self.read_stats()? } else { RecordingStats::default() };
        let first = match stats.span.or(self.recording.span()) {
            Some(span) => span.first,
            // Without an index, the first message gives the start of the recording.
            None => match self.first_log_time()? {
                Some(first) => first,
                None => return Ok(None),
            },
        };
        self.start_timeline(first);
        if let Some(timeline) = &mut self.timeline {
            timeline.segment.at = epoch;
            // A corrupt recording is played once.
            timeline.range.looped &= stats.span.is_some();
            if let Some(span) = stats.span {
                timeline.range.length = Some(Self::length(span, timeline.range.base));
            }
        }
        if stats.span.is_some() {
            self.counts = Some(stats.counts);
        }
        self.anchored = true;
        let now = self.clock.now();
        self.catch_up(now);
        self.publish_status(now, String::new());
        Ok(self
            .timeline
            .as_ref()
            .map(|timeline| timeline.position(now))
            .and_then(|position| self.resume_at(position)))
    }

    /// Plans a playback that starts now, of a recording whose first message has log time `first`.
    pub(super) fn start_timeline(&mut self, first: i64) {
        let start = i64::try_from(self.options.start.as_nanos()).unwrap_or(i64::MAX);
        let base = first.saturating_add(start);
        let length = self.recording.span().map(|span| Self::length(span, base));
        let range = PlaybackRange { base, length, looped: self.options.looped };
        self.timeline = Some(Timeline::new(range, Segment::first(self.clock.now(), self.options.rate)));
    }

    /// The first pass of a playback that starts now.
    pub(super) fn first_pass(&mut self, first: i64) -> Pass {
        self.start_timeline(first);
        let from = self.timeline.as_ref().map_or(first, |timeline| timeline.range.base);
        Pass { index: 0, from, backfill: 0, has_ordinals: true }
    }

    /// Counts the messages of a pass. Corruption is not reported here but when playback reaches it; a
    /// corrupt recording has only one pass.
    pub(super) fn read_stats(&mut self) -> Result<RecordingStats, StopReason> {
        let stats = match self.recording.read_stats(&self.stop) {
            Ok(Some(stats)) => stats,
            Ok(None) => return Err(StopReason::Stopped),
            Err(_) => RecordingStats::default(),
        };
        self.declare();
        Ok(stats)
    }

    fn first_log_time(&mut self) -> Result<Option<i64>, StopReason> {
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
