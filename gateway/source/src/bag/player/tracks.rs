//! Declares a recording's channels as topics, and tells whose messages they are.

use roverline_protocol::{Guid, MessageEncoding, SampleId};

use crate::bag::player::Player;
use crate::bag::recording::Channel;
use crate::{Qos, SchemaText, TopicDecl, TopicKey};

/// The player's state of a channel.
pub(super) struct Track {
    /// The writers that its messages are assigned to, in turn: one for each publisher that latches, so that the last
    /// message of each is retained. Which publisher it really was is not recorded.
    pub(super) sources: Vec<Guid>,
    /// Its topic at the sink; `None` if no client wants it or it cannot be forwarded.
    pub(super) key: Option<TopicKey>,
    pub(super) latched: bool,
    /// How many of its last messages are played when playback starts after them, at least one.
    pub(super) kept: usize,
    /// Messages so far, over all passes: the sequence number of the last one.
    pub(super) ordinal: u64,
    /// The last sequence number delivered.
    pub(super) delivered: u64,
}

impl Track {
    /// The identity of the message with this ordinal, which is counted from 1.
    pub(super) fn identity(&self, ordinal: u64) -> SampleId {
        let (index, writers) = (ordinal.saturating_sub(1), self.sources.len().max(1) as u64);
        let source = self.sources.get((index % writers) as usize).copied().unwrap_or_default();
        SampleId { source, seq: index / writers + 1 }
    }
}

/// The declaration of a topic. All its channels have the same type and definition, because a client decodes all of
/// its messages in the same way.
pub(super) struct Declared {
    type_name: String,
    encoding: MessageEncoding,
    schema: Option<SchemaText>,
    /// The strongest that any of its publishers offered.
    qos: Qos,
    /// The deepest history that any of them keeps.
    history_depth: u32,
}

impl Declared {
    /// The reason why messages of this channel do not fit the topic.
    fn conflict(&self, channel: &Channel) -> Option<String> {
        let first = &self.type_name;
        if *first != channel.type_name {
            return Some(format!(
                "it is recorded as {first} and as {}: only {first} is played",
                channel.type_name
            ));
        }
        if self.encoding != channel.encoding {
            let (first, other) = (self.encoding.name(), channel.encoding.name());
            return Some(format!("it is recorded in {first} and in {other}: only {first} is played"));
        }
        let texts = self.schema.as_ref().zip(channel.schema.as_ref());
        texts.filter(|(first, other)| first != other).map(|_| {
            format!("it is recorded with two definitions of {first}: only messages of the first are played")
        })
    }
}

impl Player<'_> {
    /// Declares new channels to the sink.
    pub(super) fn declare(&mut self) {
        for index in self.tracks.len()..self.recording.channels().len() {
            let channel = self.recording.channels()[index].clone();
            let topic = full_topic_name(&channel.topic);
            let conflict = self.declared.get(&topic).and_then(|declared| declared.conflict(&channel));
            let unusable = channel.unusable.clone().or(conflict);
            if let Some(why) = &unusable {
                tracing::warn!("a channel of {topic} is not played: {why}");
            }
            let (sources, latched) = (sources(&topic, &channel), channel.qos.transient_local);
            let kept = channel.kept_messages().max(1);
            let key = if unusable.is_none() { self.declare_topic(topic, channel) } else { None };
            if key.is_none() {
                self.recording.ignore(index);
            }
            self.tracks.push(Track { sources, key, latched, kept, ordinal: 0, delivered: 0 });
        }
    }

    /// Declares the topic of a channel. Several publishers of a topic become one topic. `None` if no client wants it.
    fn declare_topic(&mut self, topic: String, channel: Channel) -> Option<TopicKey> {
        let Channel { type_name, encoding, schema, qos, history_depth, .. } = channel;
        let known = self.declared.entry(topic.clone());
        let declared =
            known.or_insert_with(|| Declared { type_name, encoding, schema: None, qos, history_depth });
        declared.schema = declared.schema.take().or(schema);
        declared.qos.reliable |= qos.reliable;
        declared.qos.transient_local |= qos.transient_local;
        declared.history_depth = declared.history_depth.max(history_depth);
        if !self.sink.wants(&topic, &declared.type_name) {
            return None;
        }
        self.sink.topic_up(TopicDecl {
            name: topic,
            type_name: declared.type_name.clone(),
            qos: declared.qos,
            encoding: declared.encoding.clone(),
            history_depth: declared.history_depth,
            schema: declared.schema.clone(),
            route: None,
        })
    }
}

/// The writers that a channel's messages are assigned to.
fn sources(topic: &str, channel: &Channel) -> Vec<Guid> {
    let name = format!("bag:{topic} {} {}", channel.type_name, channel.id);
    match channel.latching_publishers {
        0 | 1 => vec![Guid::from_name(&name)],
        many => (0..many).map(|publisher| Guid::from_name(&format!("{name} {publisher}"))).collect(),
    }
}

/// A topic's name as nodes see it. Recorders that were given a relative name store it without its slash.
fn full_topic_name(name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("/{name}") }
}
