//! What every kind of recording can do: name its channels, and be read from front to back.
//!
//! Ordinals are not the readers' business. A reader yields every message of the file in one order
//! that depends on nothing but the file, and the player counts; so all processes number alike.

use bytes::Bytes;

use crate::{Qos, SchemaText, Stop};

/// A stream of messages within a recording: a topic with one publisher's declaration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Channel {
    /// The recorder's own number for it.
    pub(super) id: u32,
    /// The ROS name of its topic.
    pub(super) topic: String,
    /// The ROS type, `pkg/msg/Type`.
    pub(super) type_name: String,
    /// As offered when it was recorded.
    pub(super) qos: Qos,
    /// The definition, where the recording carries one that we can use.
    pub(super) schema: Option<SchemaText>,
    /// Why its messages cannot be passed on (not CDR, no type), or `None`.
    pub(super) unusable: Option<String>,
}

/// A message as recorded. `channel` indexes the channels in the order in which they were announced.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) channel: usize,
    pub(super) log_time: i64,
    pub(super) publish_time: i64,
    pub(super) data: Bytes,
}

/// What a reader comes across.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// There are more channels than before.
    Channels,
    /// The next message in playing order.
    Message(Message),
}

/// Where a recording stops being readable, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {place}: {what}")]
pub(super) struct Damage {
    /// The file's name, without its folder.
    pub(super) file: String,
    /// `chunk at byte 12345`, `row 17 (2.4 s in)`.
    pub(super) place: String,
    /// `CRC mismatch`, `the file ends here`.
    pub(super) what: String,
}

/// First and last log time, nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Span {
    /// The span that also covers `time`.
    pub(super) fn with(span: Option<Span>, time: i64) -> Span {
        match span {
            Some(span) => Span { first: span.first.min(time), last: span.last.max(time) },
            None => Span { first: time, last: time },
        }
    }
}

/// What one whole pass over a recording contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    pub(super) span: Option<Span>,
    /// Messages per channel, by channel index.
    pub(super) counts: Vec<u64>,
}

impl Survey {
    /// Takes one message into account.
    pub(super) fn count(&mut self, channel: usize, log_time: i64) {
        add(&mut self.counts, channel, 1);
        self.span = Some(Span::with(self.span, log_time));
    }
}

/// Adds to a table that grows as channels turn up.
pub(super) fn add(counts: &mut Vec<u64>, channel: usize, n: u64) {
    if counts.len() <= channel {
        counts.resize(channel + 1, 0);
    }
    counts[channel] += n;
}

/// What was passed over without being read message by message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Skipped {
    /// Messages passed over, by channel index.
    pub(super) counts: Vec<u64>,
    /// The last of them of each latched channel, with its 1-based ordinal among them.
    pub(super) latched: Vec<(u64, Message)>,
}

/// A recording that can be read again and again from its beginning.
pub(super) trait Recording: Send {
    /// The channels known so far, in the order of their index.
    fn channels(&self) -> &[Channel];

    /// First and last log time, where they are known without reading everything.
    fn span(&self) -> Option<Span>;

    /// Says that a channel's messages will not be used, so that their payload may be left out.
    fn ignore(&mut self, _channel: usize) {}

    /// Goes (back) to the beginning.
    fn rewind(&mut self) -> Result<(), Damage>;

    /// Directly after `rewind`: passes over messages before `from` as far as that is cheaper than
    /// reading them. What is left before `from` still comes out of `next`.
    fn skip_to(&mut self, _from: i64, _stop: &Stop) -> Result<Skipped, Damage> {
        Ok(Skipped::default())
    }

    /// The next event, `None` at the end. After an error there is nothing more.
    fn next(&mut self) -> Result<Option<Event>, Damage>;

    /// Span and counts of the whole recording, by reading all of it unless an index knows them.
    /// `None` when stopped.
    fn survey(&mut self, stop: &Stop) -> Result<Option<Survey>, Damage>;
}

/// The survey of a recording that has no better way.
pub(super) fn survey_by_reading(
    recording: &mut dyn Recording,
    stop: &Stop,
) -> Result<Option<Survey>, Damage> {
    let mut survey = Survey::default();
    recording.rewind()?;
    while let Some(event) = recording.next()? {
        if let Event::Message(message) = event {
            survey.count(message.channel, message.log_time);
        }
        if stop.is_set() {
            return Ok(None);
        }
    }
    Ok(Some(survey))
}
