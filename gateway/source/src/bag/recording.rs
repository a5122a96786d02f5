//! The interface of a recording file: its channels, and reading it from front to back.
//!
//! Readers do not number messages. A reader yields all messages of the file in an order that depends on
//! nothing but the file, and the player counts them; so all processes assign the same numbers.

use bytes::Bytes;
use roverline_protocol::MessageEncoding;

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
    /// The encoding of its messages.
    pub(super) encoding: MessageEncoding,
    /// QoS offered during recording.
    pub(super) qos: Qos,
    /// How many publishers offered to keep their last message for late subscribers. Nothing says which of them
    /// published a message, so this many of the last ones are kept.
    pub(super) latching_publishers: usize,
    /// How many messages each of them keeps.
    pub(super) history_depth: u32,
    /// The message definition, if the recording has a usable one.
    pub(super) schema: Option<SchemaText>,
    /// Why its messages cannot be forwarded (no type, no encoding), or `None`.
    pub(super) unusable: Option<String>,
}

/// The maximum number of messages kept of a channel for late subscribers.
const MAX_KEPT: usize = 256;

impl Channel {
    /// How many of its last messages a late subscriber would get.
    pub(super) fn kept_messages(&self) -> usize {
        (self.latching_publishers * self.history_depth as usize).min(MAX_KEPT)
    }
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

/// Adds a message of a channel to the last ones of all channels, of which each keeps at most `most`.
pub(super) fn keep_last<T>(all: &mut Vec<(usize, T)>, channel: usize, message: T, most: usize) {
    all.push((channel, message));
    let own = all.iter().filter(|(other, _)| *other == channel).count();
    if own > most
        && let Some(oldest) = all.iter().position(|(other, _)| *other == channel)
    {
        all.remove(oldest);
    }
}

/// The messages skipped without being read one by one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Skipped {
    /// Skipped messages by channel index.
    pub(super) counts: Vec<u64>,
    /// For each channel the last skipped messages, as many as late subscribers would get, each with its 1-based ordinal
    /// among them.
    pub(super) latched: Vec<(u64, Message)>,
}

/// A recording that can be read repeatedly from its beginning.
pub(super) trait Recording: Send {
    /// The channels known so far, by index.
    fn channels(&self) -> &[Channel];

    /// First and last log time, if known without reading the whole recording.
    fn span(&self) -> Option<Span>;

    /// Whether it is known to have no messages.
    fn is_empty(&self) -> bool {
        false
    }

    /// Whether all channels are known without reading the recording.
    fn knows_all_channels(&self) -> bool {
        true
    }

    /// How much of the recording this pass has read, 0 to 1, if that is known.
    fn part_read(&self) -> Option<f64> {
        None
    }

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

/// Expands `pkg/Type`, as some converters write it, to `pkg/msg/Type`.
pub(super) fn full_type_name(name: String) -> String {
    match name.split_once('/') {
        Some((package, rest)) if !rest.contains('/') => format!("{package}/msg/{rest}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_messages_of_each_channel_are_kept() {
        let mut all = Vec::new();
        for (channel, message) in [(0, 1), (1, 2), (0, 3), (0, 4), (1, 5)] {
            keep_last(&mut all, channel, message, 2 - channel);
        }
        assert_eq!(all, [(0, 3), (0, 4), (1, 5)]);
    }

    #[test]
    fn short_type_names_are_completed() {
        assert_eq!(full_type_name("std_msgs/Bool".into()), "std_msgs/msg/Bool");
        assert_eq!(full_type_name("std_msgs/msg/Bool".into()), "std_msgs/msg/Bool");
        assert_eq!(full_type_name("Bool".into()), "Bool");
    }
}
