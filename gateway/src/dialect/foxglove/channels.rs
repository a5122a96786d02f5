//! Channel advertisements and subscriptions of one client.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use roverline_protocol::MessageEncoding;
use roverline_protocol::topic_pattern::TopicPattern;
use roverline_source::SchemaText;

use crate::connection::outbox::Outbox;
use crate::dialect::foxglove::background_tasks::has_space;
use crate::dialect::foxglove::check_length;
use crate::dialect::foxglove::client_message::Subscription;
use crate::dialect::foxglove::encoding;
use crate::dialect::foxglove::error::{Duplicate, RequestError};
use crate::dialect::foxglove::server_message::{Channel, Level, ServerMessage};
use crate::dialect::foxglove::status::StatusReporter;
use crate::hub::{Hub, SubscribeOptions, SubscriberId};
use crate::limits;

/// Number of subscriptions made before other sessions get to run.
const SUBSCRIBE_CHUNK: usize = 16;

/// The channels advertised to one client, and its subscriptions.
pub(super) struct Channels {
    hub: Arc<Hub>,
    id: SubscriberId,
    outbox: Arc<Outbox>,
    advertised: HashMap<u32, Advertised>,
    /// Client subscription id to channel id.
    subscriptions: HashMap<u32, u32>,
    /// Subscriptions whose channel is gone: a client that unsubscribes them as well makes no mistake.
    ended: HashSet<u32>,
    /// Types already reported as unknown.
    unknown: HashSet<String>,
    announced: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Advertised {
    topic: String,
    type_name: String,
    /// Whether the type's definition is known.
    known: bool,
    encoding: MessageEncoding,
    /// The definition that came with the topic.
    definition: Option<SchemaText>,
}

/// The pattern that matches exactly this topic.
fn pattern(topic: &str) -> String {
    TopicPattern::escape(topic)
}

impl Channels {
    pub(super) fn new(hub: Arc<Hub>, id: SubscriberId, outbox: Arc<Outbox>) -> Channels {
        let (advertised, subscriptions) = (HashMap::new(), HashMap::new());
        let (ended, unknown) = (HashSet::new(), HashSet::new());
        Channels { hub, id, outbox, advertised, subscriptions, ended, unknown, announced: false }
    }

    /// Sends the channels that appeared or disappeared. Returns false if the client's backlog is too
    /// large; call it again.
    pub(super) fn sync(&mut self, reporter: &mut StatusReporter) -> bool {
        let advertised = |topic: &crate::hub::Topic| Advertised {
            topic: topic.info.name.clone(),
            type_name: topic.info.type_name.clone(),
            known: topic.decoder.as_ref().is_some_and(|decoder| decoder.plan().is_some()),
            encoding: topic.info.encoding.clone(),
            definition: topic.definition.clone(),
        };
        let mut now: HashMap<u32, Advertised> =
            self.hub.with_topics(|topics| topics.map(|topic| (topic.info.id, advertised(topic))).collect());
        // Another type, or a definition that has become known, makes another channel.
        let mut gone: Vec<u32> = self
            .advertised
            .iter()
            .filter(|(id, advertised)| now.get(id) != Some(*advertised))
            .map(|(id, _)| *id)
            .collect();
        gone.sort_unstable();
        self.unadvertise(&gone);
        now.retain(|id, _| !self.advertised.contains_key(id));
        let mut new: Vec<(u32, Advertised)> = now.into_iter().collect();
        new.sort_by(|(_, a), (_, b)| a.topic.cmp(&b.topic));
        self.advertise(new, reporter)
    }

    /// `gone` is sorted.
    fn unadvertise(&mut self, gone: &[u32]) {
        if gone.is_empty() {
            return;
        }
        let is_gone = |channel: &u32| gone.binary_search(channel).is_ok();
        let ended: HashMap<u32, u32> = self.subscriptions.extract_if(|_, channel| is_gone(channel)).collect();
        let topics = ended.values().filter_map(|channel| self.advertised.get(channel));
        // If the topic comes back, the client subscribes again.
        let patterns: Vec<String> = topics.map(|advertised| pattern(&advertised.topic)).collect();
        if !patterns.is_empty() {
            self.hub.unsubscribe_now(self.id, &patterns);
        }
        if self.ended.len() + ended.len() > limits::PATTERNS_PER_SESSION {
            self.ended.clear();
        }
        self.ended.extend(ended.keys());
        self.advertised.retain(|id, _| !is_gone(id));
        self.outbox.control(ServerMessage::Unadvertise { channel_ids: gone }.frame());
    }

    fn advertise(&mut self, new: Vec<(u32, Advertised)>, reporter: &mut StatusReporter) -> bool {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (id, advertised) in new {
            if bytes > limits::FOXGLOVE_BATCH_BYTES {
                self.send_batch(&std::mem::take(&mut batch));
                bytes = 0;
            }
            if batch.is_empty() && !has_space(&self.outbox) {
                return false;
            }
            let channel = self.channel(id, &advertised, reporter);
            bytes += channel.schema.len() + channel.topic.len() + channel.schema_name.len() + 128;
            batch.push(channel);
            self.advertised.insert(id, advertised);
        }
        // Clients expect at least one message, even if there is no topic.
        if !batch.is_empty() || !self.announced {
            self.send_batch(&batch);
        }
        true
    }

    fn send_batch(&mut self, channels: &[Channel]) {
        self.announced = true;
        self.outbox.control(ServerMessage::Advertise { channels }.frame());
    }

    fn channel(&mut self, id: u32, advertised: &Advertised, reporter: &mut StatusReporter) -> Channel {
        let Advertised { topic, type_name, known, encoding, definition } = advertised;
        let of_type = || known.then(|| self.hub.registry().text(type_name).ok()).flatten();
        let schema = definition.as_ref().map(|own| own.text.clone()).or_else(of_type);
        // A ROS type without a definition is named all the same; for other encodings the recording says what there is.
        let default = if encoding.is_cdr() { "ros2msg" } else { "" };
        let schema_encoding = definition.as_ref().map_or(default, |own| &own.encoding).to_owned();
        // JSON is read without a definition.
        let is_missing = schema.is_none() && *encoding != MessageEncoding::Json;
        if is_missing && self.unknown.len() < limits::TOPICS && self.unknown.insert(type_name.clone()) {
            let what =
                format!("{topic}: the definition of {type_name} is not known; its messages come as they are");
            reporter.report(Level::Warning, what);
        }
        Channel {
            id,
            topic: topic.clone(),
            encoding: encoding.name().to_owned(),
            schema_name: type_name.clone(),
            schema_encoding,
            schema: schema.unwrap_or_else(|| Arc::from("")),
        }
    }

    /// Subscribes channels; an invalid entry does not affect the others.
    pub(super) async fn subscribe(
        &mut self,
        subscriptions: &[Subscription],
        reporter: &mut StatusReporter,
    ) -> Result<(), RequestError> {
        check_length(subscriptions)?;
        for some in subscriptions.chunks(SUBSCRIBE_CHUNK) {
            for subscription in some {
                if let Err(error) = self.subscribe_one(*subscription) {
                    reporter.report(Level::Warning, error);
                }
            }
            // Each subscription scans all topics, so other sessions get to run in between.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn subscribe_one(&mut self, Subscription { id, channel_id }: Subscription) -> Result<(), RequestError> {
        if self.subscriptions.contains_key(&id) {
            return Err(Duplicate::Subscription(id).into());
        }
        if self.subscriptions.values().any(|subscribed| *subscribed == channel_id) {
            return Err(Duplicate::Subscribed(channel_id).into());
        }
        let advertised =
            self.advertised.get(&channel_id).ok_or(RequestError::Unknown("channel", channel_id))?;
        let options = SubscribeOptions {
            patterns: vec![pattern(&advertised.topic)],
            type_name: Some(advertised.type_name.clone()),
            format: Some(encoding::format(id)),
            ..SubscribeOptions::default()
        };
        self.hub.subscribe_now(self.id, &options)?;
        self.ended.remove(&id);
        self.subscriptions.insert(id, channel_id);
        Ok(())
    }

    /// Ends subscriptions.
    pub(super) fn unsubscribe(
        &mut self,
        ids: &[u32],
        reporter: &mut StatusReporter,
    ) -> Result<(), RequestError> {
        check_length(ids)?;
        let mut patterns = Vec::new();
        for id in ids {
            let channel = self.subscriptions.remove(id);
            if let Some(advertised) = channel.and_then(|channel| self.advertised.get(&channel)) {
                patterns.push(pattern(&advertised.topic));
            } else if !self.ended.remove(id) {
                reporter.report(Level::Warning, RequestError::Unknown("subscription", *id));
            }
        }
        if !patterns.is_empty() {
            self.hub.unsubscribe_now(self.id, &patterns);
        }
        Ok(())
    }

    /// A topic's name, for messages.
    pub(super) fn name(&self, channel: u32) -> &str {
        self.advertised.get(&channel).map_or("a topic that is gone", |advertised| &advertised.topic)
    }
}
