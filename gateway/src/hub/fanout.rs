//! From the ingress to the outboxes: remember, encode once per dialect, hand the bytes out.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::native::{FLAG_STORED, SampleHeader, TopicInfo};
use roverline_protocol::service_level::{Allowance, ServiceLevel};
use roverline_protocol::{Delivery, limits};
use roverline_source::{RawSample, SourceState, TopicDecl, TopicKey};

use crate::connection::frame;
use crate::connection::outbox::Outbox;
use crate::dialect::{foxglove, native, plain, rosbridge};
use crate::hub::ingress::{Ingress, Item};
use crate::hub::replay::shrink;
use crate::hub::topic::Topic;
use crate::hub::{Hub, HubState};

/// In which form a session takes the samples of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Binary header and CDR.
    Native,
    /// One JSON object.
    PlainJson,
    /// Foxglove's binary message, for the client's subscription of this number.
    Foxglove {
        /// The client's number for it.
        subscription: u32,
    },
    /// As a rosbridge client asked for it.
    Rosbridge(rosbridge::Form),
}

/// A sample's frames, each made when the first session asks for it.
pub struct Encoder<'a> {
    topic: &'a TopicInfo,
    plan: Option<&'a roverline_schema::Plan>,
    sample: &'a RawSample,
    flags: u8,
    made: Vec<(Form, Bytes)>,
}

/// Forms of one sample that are remembered: clients of one kind number alike.
const FORMS: usize = 8;

impl<'a> Encoder<'a> {
    /// Nothing is encoded yet. `flags` are those of the native dialect.
    pub fn new(
        topic: &'a TopicInfo,
        plan: Option<&'a roverline_schema::Plan>,
        sample: &'a RawSample,
        flags: u8,
    ) -> Self {
        Encoder { topic, plan, sample, flags, made: Vec::new() }
    }

    /// The WebSocket message in this form; where it is cut into several, all of them.
    pub fn frame(&mut self, form: Form) -> Bytes {
        if let Some((_, frame)) = self.made.iter().find(|(made, _)| *made == form) {
            return frame.clone();
        }
        let Encoder { topic, plan, sample, flags, .. } = self;
        let frame = match form {
            Form::Native => native_frame(topic.id, sample, *flags),
            Form::PlainJson => plain::sample_frame(topic, *plan, sample),
            Form::Foxglove { subscription } => foxglove::sample_frame(subscription, sample),
            Form::Rosbridge(form) => rosbridge::sample_frame(form, topic, *plan, sample),
        };
        if self.made.len() < FORMS {
            self.made.push((form, frame.clone()));
        }
        frame
    }
}

fn native_frame(topic: u32, sample: &RawSample, flags: u8) -> Bytes {
    let header = SampleHeader {
        flags,
        topic,
        id: sample.id,
        source_time_ns: sample.source_time_ns,
        receive_time_ns: sample.receive_time_ns,
    };
    frame::binary(&[&header.to_bytes(), &sample.payload])
}

fn tell_topics(state: &HubState, up: Vec<TopicInfo>, down: Vec<u32>) {
    let announcement = native::topics_frame(up, down);
    for subscriber in state.subscribers.values().filter(|s| s.form == Form::Native) {
        subscriber.outbox.control(announcement.clone());
    }
}

fn is_off(topic: &TopicInfo, level: ServiceLevel) -> bool {
    level != ServiceLevel::Full && level.allowance(topic.scopes, topic.priority) == Allowance::Nothing
}

pub(super) fn send(
    topic: &TopicInfo,
    queue_length: Option<u32>,
    outbox: &Outbox,
    frame: Bytes,
    now: Duration,
) {
    match topic.delivery {
        // No client would take it; it is counted and told as dropped.
        _ if frame.len() > limits::OUTBOUND_MESSAGE_BYTES => outbox.refuse(topic.id),
        // Replays and stored values as well keep to what the session gets.
        _ if is_off(topic, outbox.level()) => outbox.count_shed(),
        Delivery::Latest => outbox.latest(topic.id, topic.priority, frame, now),
        // A queue of one is what `latest` means.
        Delivery::Every if queue_length == Some(1) => outbox.latest(topic.id, topic.priority, frame, now),
        Delivery::Every => {
            outbox.every(topic.id, topic.priority, frame, now);
            if let Some(most) = queue_length {
                outbox.keep_newest(topic.id, topic.priority, most as usize);
            }
        }
    }
}

/// Goes to the end of the run queue, behind the writers that were just woken. (`yield_now` would
/// first poll the I/O driver: a system call per batch.)
async fn let_others_run() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Hub {
    /// Drains the ingress for ever. Yields between batches so that sessions get their turn.
    pub async fn run(&self, ingress: &Ingress) {
        let mut batch = Vec::with_capacity(64);
        loop {
            ingress.take(&mut batch, 64).await;
            let now = roverline_source::clock::monotonic();
            for item in batch.drain(..) {
                self.handle(ingress, item, now);
            }
            let_others_run().await;
        }
    }

    /// Takes in one item at `now` (monotonic).
    pub fn handle(&self, ingress: &Ingress, item: Item, now: Duration) {
        match item {
            Item::Sample(key, sample) => self.sample(key, &sample, now),
            Item::Stored(key, sample, age) => self.stored(key, &sample, now.saturating_sub(age)),
            Item::Upstream(endpoints) => self.lock().upstream = endpoints,
            Item::TopicUp(key, decl) => self.topic_up(ingress, key, &decl),
            Item::TopicDown(key) => self.topic_down(&[key.0]),
            Item::Graph(graph) => {
                self.graph.send_if_modified(|known| {
                    let differs = **known != graph;
                    if differs {
                        *known = Arc::new(graph);
                    }
                    differs
                });
            }
            Item::State(source) => {
                if let SourceState::Failed(why) = &source {
                    tracing::error!("source failed: {why}");
                }
                self.lock().source = source;
            }
        }
    }

    /// Takes topics out; those that it does not have are ignored.
    pub(super) fn topic_down(&self, ids: &[u32]) {
        let mut state = self.lock();
        let gone: Vec<u32> = ids.iter().copied().filter(|id| state.topics.remove(id).is_some()).collect();
        if !gone.is_empty() {
            tell_topics(&state, Vec::new(), gone);
            self.topic_changes.send_modify(|changes| *changes += 1);
        }
    }

    fn topic_up(&self, ingress: &Ingress, key: TopicKey, decl: &TopicDecl) {
        let route = decl.route.unwrap_or_else(|| ingress.routing().route(&decl.name, &decl.type_name));
        if !route.scopes.intersects(self.scopes()) {
            return; // the source should have known; the hub is the one who enforces
        }
        if let Some(schema) = decl.schema.as_ref().filter(|schema| schema.encoding == "ros2msg") {
            if schema.text.len() > limits::SCHEMA_TEXT_BYTES {
                tracing::warn!(topic = decl.name, "definition is too long, ignored");
            } else if let Err(error) = self.registry().add(&decl.type_name, &schema.text) {
                tracing::warn!(topic = decl.name, %error, "definition from the source is not usable");
            }
        }
        let plan = self.registry().plan(&decl.type_name);
        if let Err(error) = &plan {
            tracing::info!(topic = decl.name, r#type = decl.type_name, %error, "type unknown: forwarded raw");
        }
        let mut topic = Topic::new(key.0, decl, route, plan.ok());
        let mut state = self.lock();
        let HubState { topics, subscribers, .. } = &mut *state;
        if let Some(old) = topics.remove(&key.0) {
            topic.inherit(old);
        }
        let announcement = native::topics_frame(vec![topic.info.clone()], Vec::new());
        for (&id, subscriber) in subscribers.iter_mut() {
            if subscriber.form == Form::Native {
                subscriber.outbox.control(announcement.clone());
            }
            self.connect(&mut topic, id, subscriber);
        }
        topics.insert(key.0, topic);
        self.topic_changes.send_modify(|changes| *changes += 1);
    }

    fn sample(&self, key: TopicKey, sample: &RawSample, now: Duration) {
        let mut state = self.lock();
        state.samples += 1;
        state.newest_at = Some(now);
        let HubState { topics, subscribers, replay_bytes, .. } = &mut *state;
        let Some(topic) = topics.get_mut(&key.0) else { return };
        let kept = topic.ring.bytes();
        topic.remember(sample, now);
        *replay_bytes = replay_bytes.saturating_sub(kept) + topic.ring.bytes();
        let mut encoder = Encoder::new(&topic.info, topic.plan.as_deref(), sample, 0);
        for listener in &mut topic.listeners {
            if let Some(subscriber) = subscribers.get(&listener.id)
                && listener.throttle.serve(&topic.info, &subscriber.outbox, sample, now)
            {
                let frame = encoder.frame(listener.form);
                send(&topic.info, listener.queue_length, &subscriber.outbox, frame, now);
            }
        }
        if *replay_bytes > limits::REPLAY_BYTES {
            shrink(topics, replay_bytes);
        }
    }

    pub(super) fn send_stored(
        &self,
        topic: &Topic,
        listener: (Form, Option<u32>),
        outbox: &Outbox,
        sample: &RawSample,
    ) {
        let (form, queue_length) = listener;
        if matches!(form, Form::Rosbridge(_)) && !topic.info.latched {
            // These clients could not tell it from a new one; and in ROS nobody would get it.
            return;
        }
        let mut encoder = Encoder::new(&topic.info, topic.plan.as_deref(), sample, FLAG_STORED);
        let frame = encoder.frame(form);
        let now = roverline_source::clock::monotonic();
        if topic.info.latched {
            // Several writers may each have latched one: none may replace another.
            let info = TopicInfo { delivery: Delivery::Every, ..topic.info.clone() };
            send(&info, None, outbox, frame, now);
        } else {
            send(&topic.info, queue_length, outbox, frame, now);
        }
    }

    /// Lets go of samples that are too old to be replayed.
    pub fn expire(&self, now: Duration) {
        let mut state = self.lock();
        let HubState { topics, replay_bytes, .. } = &mut *state;
        *replay_bytes = 0;
        for topic in topics.values_mut() {
            topic.ring.expire(now);
            *replay_bytes += topic.ring.bytes();
        }
    }

    /// Sends what throttles hold back and whose time has come.
    pub fn flush_throttled(&self, now: Duration) {
        let mut state = self.lock();
        let HubState { topics, subscribers, .. } = &mut *state;
        for topic in topics.values_mut() {
            for listener in &mut topic.listeners {
                let due = listener.throttle.due(now);
                if let (Some(sample), Some(subscriber)) = (due, subscribers.get(&listener.id)) {
                    let mut encoder = Encoder::new(&topic.info, topic.plan.as_deref(), &sample, 0);
                    let frame = encoder.frame(listener.form);
                    send(&topic.info, listener.queue_length, &subscriber.outbox, frame, now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roverline_protocol::{Routing, SampleId, ScopeSet, Tier};
    use roverline_schema::Registry;
    use roverline_source::{Qos, Sink};

    use super::*;
    use crate::hub::Wish;

    fn sample(seq: u64, bytes: usize) -> RawSample {
        RawSample {
            id: SampleId { source: Default::default(), seq },
            source_time_ns: 0,
            receive_time_ns: 0,
            payload: Bytes::from(vec![0; bytes]),
        }
    }

    fn decl(name: &str, transient_local: bool) -> TopicDecl {
        let qos = Qos { reliable: true, transient_local };
        TopicDecl {
            name: name.into(),
            type_name: "std_msgs/msg/String".into(),
            qos,
            schema: None,
            route: None,
        }
    }

    fn hub(scopes: ScopeSet) -> (Arc<Hub>, Arc<Ingress>) {
        (
            Hub::new(scopes, Registry::bundled()),
            Ingress::new(Arc::new(Routing::default()), Tier::Primary.scopes()),
        )
    }

    #[test]
    fn the_hub_enforces_scopes_even_when_the_source_does_not() {
        let (hub, ingress) = hub(Tier::Emergency.scopes());
        let key = ingress.topic_up(decl("/mission/status", false)).unwrap();
        hub.handle(&ingress, Item::TopicUp(key, decl("/mission/status", false)), Duration::ZERO);
        hub.handle(&ingress, Item::Sample(key, sample(1, 8)), Duration::ZERO);
        assert!(hub.topic_infos().is_empty());
    }

    #[test]
    fn late_subscribers_get_what_is_stored_and_giants_are_told_as_dropped() {
        let (hub, ingress) = hub(ScopeSet::ALL);
        let key = ingress.topic_up(decl("/map/name", true)).unwrap();
        hub.handle(&ingress, Item::TopicUp(key, decl("/map/name", true)), Duration::ZERO);
        hub.handle(&ingress, Item::Sample(key, sample(1, 8)), Duration::ZERO);
        let outbox = Outbox::new();
        hub.attach(7, outbox.clone(), Form::Native);
        let wish = Wish { patterns: vec!["/map/*".to_owned()], ..Wish::default() };
        assert_eq!(hub.subscribe(7, &wish).unwrap().matching, 1);
        assert!(outbox.stats().queued_bytes > 8);
        let giant = sample(2, limits::OUTBOUND_MESSAGE_BYTES);
        hub.handle(&ingress, Item::Sample(key, giant), Duration::ZERO);
        assert_eq!(outbox.stats().dropped, 1);
        hub.detach(7);
        hub.handle(&ingress, Item::Sample(key, sample(3, 8)), Duration::ZERO);
        assert_eq!(outbox.stats().dropped, 1);
    }

    #[test]
    fn who_cannot_tell_an_old_value_gets_only_latched_ones() {
        let (hub, ingress) = hub(ScopeSet::ALL);
        for (name, latched) in [("/map/name", true), ("/map/other", false)] {
            let key = ingress.topic_up(decl(name, latched)).unwrap();
            hub.handle(&ingress, Item::TopicUp(key, decl(name, latched)), Duration::ZERO);
            hub.handle(&ingress, Item::Sample(key, sample(1, 8)), Duration::ZERO);
        }
        let outbox = Outbox::new();
        hub.attach(7, outbox.clone(), Form::Rosbridge(rosbridge::Form::default()));
        let wish = Wish { patterns: vec!["/map/*".to_owned()], ..Wish::default() };
        assert_eq!(hub.subscribe(7, &wish).unwrap().matching, 2);
        let frames = outbox.drain_for_test();
        assert_eq!(frames.len(), 1);
        assert!(String::from_utf8_lossy(&frames[0]).contains("/map/name"));
        // Taken back and asked for again, it is given again.
        hub.unsubscribe(7, &["/other".to_owned()]);
        assert!(outbox.drain_for_test().is_empty());
        hub.unsubscribe(7, &wish.patterns);
        hub.subscribe(7, &wish).unwrap();
        assert_eq!(outbox.drain_for_test().len(), 1);
    }
}
