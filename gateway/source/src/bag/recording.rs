//! The interface of a recording file: its channels, and reading it from front to back.
//!
//! Readers do not number messages. A reader yields all messages of the file in an order that depends on
//! nothing but the file, and the player counts them; so all processes assign the same numbers.

use bytes::Bytes;

use crate::{Qos, SchemaText, StopFlag};

/// A stream of messages within a recording: a topic with one publisher's declaration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Channel {
    /// The recorder's channel id.
    pub(super) id: u32,
    /// The ROS topic name.
    pub(super) topic: String,
    /// The ROS type, `pkg/msg/Type`.
    pub(super) type_name: String,
    /// QoS offered during recording.
    pub(super) qos: Qos,
    /// The message definition, if the recording has a usable one.
    pub(super) schema: Option<SchemaText>,
    /// Why its messages cannot be forwarded (not CDR, no type), or `None`.
    pub(super) unusable: Option<String>,
}

/// A recorded message. `channel` is an index into the channels in the order of their announcement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) channel: usize,
    pub(super) log_time: i64,
    pub(super) publish_time: i64,
    pub(super) data: Bytes,
}

/// An event of a reader.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// More channels are known than before.
    #[cfg_attr(not(feature = "mcap"), allow(dead_code, reason = "used by MCAP recordings"))]
    Channels,
    /// The next message in playing order.
    Message(Message),
}

/// Where a recording becomes unreadable, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {location}: {reason}")]
pub(super) struct CorruptRecording {
    /// The file name, without its folder.
    pub(super) file: String,
    /// `chunk at byte 12345`, `row 17 (2.4 s in)`.
    pub(super) location: String,
    /// `CRC mismatch`, `the file ends here`.
    pub(super) reason: String,
}

/// First and last log time, nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Span {
    /// The span extended to `time`.
    pub(super) fn with(span: Option<Span>, time: i64) -> Span {
        match span {
            Some(span) => Span { first: span.first.min(time), last: span.last.max(time) },
            None => Span { first: time, last: time },
        }
    }
}

/// Contents of one full pass over a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordingStats {
    pub(super) span: Option<Span>,
    /// Messages per channel, by channel index.
    pub(super) counts: Vec<u64>,
}

impl RecordingStats {
    /// Counts one message.
    pub(super) fn count(&mut self, channel: usize, log_time: i64) {
        add(&mut self.counts, channel, 1);
        self.span = Some(Span::with(self.span, log_time));
    }
}

/// Adds to a table that grows with the number of channels.
pub(super) fn add(counts: &mut Vec<u64>, channel: usize, n: u64) {
    if counts.len() <= channel {
        counts.resize(channel + 1, 0);
    }
    counts[channel] += n;
}

/// The messages skipped without being read one by one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Skipped {
    /// Skipped messages by channel index.
    pub(super) counts: Vec<u64>,
    /// For each latched channel the last skipped message, with its 1-based ordinal among them.
    pub(super) latched: Vec<(u64, Message)>,
}

/// A recording that can be read repeatedly from its beginning.
pub(super) trait Recording: Send {
    /// The channels known so far, by index.
    fn channels(&self) -> &[Channel];

    /// First and last log time, if known without reading the whole recording.
    fn span(&self) -> Option<Span>;

    /// Marks a channel as unused, so its payloads can be left out.
    fn ignore(&mut self, _channel: usize) {}

    /// Goes (back) to the beginning.
    fn rewind(&mut self) -> Result<(), CorruptRecording>;

    /// Skips messages before `from` as far as that is cheaper than reading them; only valid directly
    /// after `rewind`. The other messages before `from` still come out of `next`.
    fn skip_to(&mut self, _from: i64, _stop: &StopFlag) -> Result<Skipped, CorruptRecording> {
        Ok(Skipped::default())
    }

    /// The next event, `None` at the end. An error ends the pass.
    fn next(&mut self) -> Result<Option<Event>, CorruptRecording>;

    /// Span and counts of the whole recording, from an index or by reading all of it. `None` when
    /// stopped.
    fn read_stats(&mut self, stop: &StopFlag) -> Result<Option<RecordingStats>, CorruptRecording>;
}

/// The fallback survey, for a recording without an index.
#[cfg_attr(not(feature = "mcap"), allow(dead_code, reason = "used by MCAP recordings"))]
pub(super) fn stats_by_reading(
    recording: &mut dyn Recording,
    stop: &StopFlag,
) -> Result<Option<RecordingStats>, CorruptRecording> {
    let mut stats = RecordingStats::default();
    recording.rewind()?;
    while let Some(event) = recording.next()? {
        if let Event::Message(message) = event {
            stats.count(message.channel, message.log_time);
        }
        if stop.is_set() {
            return Ok(None);
        }
    }
    Ok(Some(stats))
}
