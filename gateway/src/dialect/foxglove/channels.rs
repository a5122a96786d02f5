//! The topics as a client knows them, and which of them it subscribes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use roverline_protocol::limits;

use crate::connection::outbox::Outbox;
use crate::dialect::foxglove::background_tasks::has_room;
use crate::dialect::foxglove::check_length;
use crate::dialect::foxglove::client_message::Subscription;
use crate::dialect::foxglove::server_message::{Answer, Channel, Level};
use crate::dialect::foxglove::status::Notices;
use crate::hub::{Form, Hub, SubscriberId, Wish};

/// Subscriptions that are made before others get their turn.
const AT_ONCE: usize = 16;

/// What one client was told of the topics, and what it asked for.
pub(super) struct Channels {
    hub: Arc<Hub>,
    id: SubscriberId,
    outbox: Arc<Outbox>,
    told: HashMap<u32, Told>,
    /// From the client's number to ours.
    subscriptions: HashMap<u32, u32>,
    /// Subscriptions whose channel is gone: that the client ends them as well is no mistake.
    ended: HashSet<u32>,
    /// Types that it was told are not known.
    unknown: HashSet<String>,
    greeted: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    topic: String,
    type_name: String,
    /// Whether its definition is known.
    known: bool,
}

/// The pattern that matches this topic alone.
fn pattern(topic: &str) -> String {
    globset::escape(topic)
}

impl Channels {
    pub(super) fn new(hub: Arc<Hub>, id: SubscriberId, outbox: Arc<Outbox>) -> Channels {
        let (told, subscriptions) = (HashMap::new(), HashMap::new());
        let (ended, unknown) = (HashSet::new(), HashSet::new());
        Channels { hub, id, outbox, told, subscriptions, ended, unknown, greeted: false }
    }

    /// Tells what came and what went. False when the client has to take some of it first: ask again.
    pub(super) fn sync(&mut self, notices: &mut Notices) -> bool {
        let told = |topic: &crate::hub::Topic| Told {
            topic: topic.info.name.clone(),
            type_name: topic.info.type_name.clone(),
            known: topic.plan.is_some(),
        };
        let mut now: HashMap<u32, Told> =
            self.hub.with_topics(|topics| topics.map(|topic| (topic.info.id, told(topic))).collect());
        // Another type, or a definition at last: that is another channel.
        let mut gone: Vec<u32> =
            self.told.iter().filter(|(id, told)| now.get(id) != Some(*told)).map(|(id, _)| *id).collect();
        gone.sort_unstable();
        self.unadvertise(&gone);
        now.retain(|id, _| !self.told.contains_key(id));
        let mut new: Vec<(u32, Told)> = now.into_iter().collect();
        new.sort_by(|(_, a), (_, b)| a.topic.cmp(&b.topic));
        self.advertise(new, notices)
    }

    /// `gone` is sorted.
    fn unadvertise(&mut self, gone: &[u32]) {
        if gone.is_empty() {
            return;
        }
        let is_gone = |channel: &u32| gone.binary_search(channel).is_ok();
        let ended: HashMap<u32, u32> = self.subscriptions.extract_if(|_, channel| is_gone(channel)).collect();
        let topics = ended.values().filter_map(|channel| self.told.get(channel));
        // Should the topic come back, the client subscribes anew.
        let patterns: Vec<String> = topics.map(|told| pattern(&told.topic)).collect();
        if !patterns.is_empty() {
            self.hub.unsubscribe(self.id, &patterns);
        }
        if self.ended.len() + ended.len() > limits::PATTERNS_PER_SESSION {
            self.ended.clear();
        }
        self.ended.extend(ended.keys());
        self.told.retain(|id, _| !is_gone(id));
        self.outbox.control(Answer::Unadvertise { channel_ids: gone }.frame());
    }

    fn advertise(&mut self, new: Vec<(u32, Told)>, notices: &mut Notices) -> bool {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (id, told) in new {
            if bytes > limits::FOXGLOVE_BATCH_BYTES {
                self.tell(&std::mem::take(&mut batch));
                bytes = 0;
            }
            if batch.is_empty() && !has_room(&self.outbox) {
                return false;
            }
            let channel = self.channel(id, &told, notices);
            bytes += channel.schema.len() + channel.topic.len() + channel.schema_name.len() + 128;
            batch.push(channel);
            self.told.insert(id, told);
        }
        // At least one is expected, even if there is no topic.
        if !batch.is_empty() || !self.greeted {
            self.tell(&batch);
        }
        true
    }

    fn tell(&mut self, channels: &[Channel]) {
        self.greeted = true;
        self.outbox.control(Answer::Advertise { channels }.frame());
    }

    fn channel(&mut self, id: u32, told: &Told, notices: &mut Notices) -> Channel {
        let Told { topic, type_name, known } = told;
        let schema = known.then(|| self.hub.registry().text(type_name).ok()).flatten();
        if schema.is_none() && self.unknown.len() < limits::TOPICS && self.unknown.insert(type_name.clone()) {
            let what =
                format!("{topic}: the definition of {type_name} is not known; its messages come as they are");
            notices.tell(Level::Warning, what);
        }
        Channel {
            id,
            topic: topic.clone(),
            encoding: "cdr",
            schema_name: type_name.clone(),
            schema_encoding: "ros2msg",
            schema: schema.unwrap_or_else(|| Arc::from("")),
        }
    }

    /// Subscribes channels; what is wrong with one of them costs the others nothing.
    pub(super) async fn subscribe(
        &mut self,
        subscriptions: &[Subscription],
        notices: &mut Notices,
    ) -> Result<(), String> {
        check_length(subscriptions)?;
        for some in subscriptions.chunks(AT_ONCE) {
            for subscription in some {
                if let Err(why) = self.subscribe_one(*subscription) {
                    notices.tell(Level::Warning, why);
                }
            }
            // Each looks through all topics: other sessions get their turn in between.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn subscribe_one(&mut self, Subscription { id, channel_id }: Subscription) -> Result<(), String> {
        if self.subscriptions.contains_key(&id) {
            return Err(format!("subscription {id} exists; ignored"));
        }
        if self.subscriptions.values().any(|subscribed| *subscribed == channel_id) {
            return Err(format!("channel {channel_id} is subscribed; ignored"));
        }
        let told = self.told.get(&channel_id).ok_or_else(|| format!("there is no channel {channel_id}"))?;
        let wish = Wish {
            patterns: vec![pattern(&told.topic)],
            type_name: Some(told.type_name.clone()),
            form: Some(Form::Foxglove { subscription: id }),
            ..Wish::default()
        };
        self.hub.subscribe(self.id, &wish).map_err(|error| error.to_string())?;
        self.ended.remove(&id);
        self.subscriptions.insert(id, channel_id);
        Ok(())
    }

    /// Ends subscriptions.
    pub(super) fn unsubscribe(&mut self, ids: &[u32], notices: &mut Notices) -> Result<(), String> {
        check_length(ids)?;
        let mut patterns = Vec::new();
        for id in ids {
            let channel = self.subscriptions.remove(id);
            if let Some(told) = channel.and_then(|channel| self.told.get(&channel)) {
                patterns.push(pattern(&told.topic));
            } else if !self.ended.remove(id) {
                notices.tell(Level::Warning, format!("there is no subscription {id}"));
            }
        }
        if !patterns.is_empty() {
            self.hub.unsubscribe(self.id, &patterns);
        }
        Ok(())
    }

    /// A topic's name, for words.
    pub(super) fn name(&self, channel: u32) -> &str {
        self.told.get(&channel).map_or("a topic that is gone", |told| &told.topic)
    }
}
