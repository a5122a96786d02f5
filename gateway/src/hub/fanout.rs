//! Fan-out from the ingress to the outboxes: stores each sample, encodes it once per format, shares the
//! bytes.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use roverline_protocol::native::{FLAG_REPLAYED, FLAG_TRACED, TopicInfo};
use roverline_protocol::{Delivery, MessageEncoding, Route, ScopeSet};
use roverline_source::{RawSample, SchemaText, SourceState, TopicDecl, TopicKey};

use crate::hub::decoder::Decoder;
use crate::hub::delivery::deliver;
use crate::hub::encoding::{FrameFormat, SampleEncoder};
use crate::hub::ingress::{Ingress, SourceEvent};
use crate::hub::offload::{EncodeJob, Recipient};
use crate::hub::replay::shrink_rings;
use crate::hub::sample_tracing::{begin_delivery, traced_frame};
use crate::hub::state::{Hub, HubState};
use crate::hub::subscriber::Subscriber;
use crate::hub::topic::{SubscriberId, Topic, TopicSubscription};
use crate::limits;

/// Announces topics to every session; each encoding builds its message once.
fn announce_topics(subscribers: &HashMap<SubscriberId, Subscriber>, added: &[TopicInfo], removed: &[u32]) {
    let mut announcements: Vec<(&'static str, Option<Bytes>)> = Vec::new();
    for subscriber in subscribers.values() {
        let encoding = subscriber.format.encoding();
        let announcement = match announcements.iter().find(|(name, _)| *name == encoding.name()) {
            Some((_, announcement)) => announcement.clone(),
            None => {
                let announcement = encoding.topics_changed(added, removed);
                announcements.push((encoding.name(), announcement.clone()));
                announcement
            }
        };
        if let Some(announcement) = announcement {
            subscriber.outbox.control(announcement);
        }
    }
}

/// The recipient of a subscription's samples.
fn recipient(subscription: &TopicSubscription) -> Recipient {
    let (format, queue_length) = (subscription.format, subscription.queue_length);
    Recipient { traced: Some(subscription.id), outbox: subscription.outbox.clone(), format, queue_length }
}

/// Yields to the end of the run queue, behind the writers that were just woken. `yield_now` would poll the
/// I/O driver first: one system call per batch.
async fn yield_to_other_tasks() {
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
    /// Drains the ingress forever. Yields between batches so that sessions can run.
    pub async fn run(&self, ingress: &Ingress) {
        let (mut batch, mut unmatched) = (Vec::with_capacity(64), false);
        loop {
            if unmatched {
                // Matching goes on whether or not there are samples.
                ingress.take(&mut batch, 64).now_or_never();
            } else {
                ingress.take(&mut batch, 64).await;
            }
            let now = roverline_source::clock::monotonic();
            for item in batch.drain(..) {
                self.handle(ingress, item, now);
            }
            unmatched = self.match_slice();
            yield_to_other_tasks().await;
        }
    }

    /// Processes one item; `now` is monotonic time.
    pub fn handle(&self, ingress: &Ingress, item: SourceEvent, now: Duration) {
        match item {
            SourceEvent::Sample(key, sample, queued) => self.sample(key, &sample, queued, now),
            SourceEvent::TraceNext(key) => {
                if let Some(topic) = self.lock().topics.get_mut(&key.0) {
                    topic.tracing.trace_next();
                }
            }
            SourceEvent::Stored(key, sample, age) => {
                self.retain_sample(key, &sample, now.saturating_sub(age))
            }
            SourceEvent::Upstream(endpoints) => self.lock().upstream = endpoints,
            SourceEvent::TopicUp(key, decl) => self.topic_up(ingress, key, &decl),
            SourceEvent::TopicDown(key) => self.topic_down(&[key.0]),
            SourceEvent::Graph(graph) => {
                self.graph.send_if_modified(|known| {
                    let differs = **known != graph;
                    if differs {
                        *known = Arc::new(graph);
                    }
                    differs
                });
            }
            SourceEvent::State(source) => {
                if let SourceState::Failed(why) = &source {
                    tracing::error!(event_type = "source.failed", "source failed: {why}");
                }
                self.lock().source = source;
            }
        }
    }

    /// Removes topics; unknown ids are ignored.
    pub(super) fn topic_down(&self, ids: &[u32]) {
        let mut state = self.lock();
        let gone: Vec<u32> = ids.iter().copied().filter(|id| state.topics.remove(id).is_some()).collect();
        if !gone.is_empty() {
            announce_topics(&state.subscribers, &[], &gone);
            self.topic_changes.send_modify(|changes| *changes += 1);
        }
    }

    /// The definition that came with a topic, with what it depends on. Another topic may have brought another one of
    /// the same type.
    fn definition(&self, decl: &TopicDecl) -> Option<SchemaText> {
        let own = decl.schema.as_ref().filter(|schema| schema.text.len() <= limits::SCHEMA_TEXT_BYTES)?;
        if own.encoding != "ros2msg" {
            return Some(own.clone());
        }
        let text = self.registry().text(&decl.type_name).ok()?;
        Some(SchemaText { encoding: own.encoding.clone(), text })
    }

    /// What decodes the messages of a topic. A definition that came with it becomes known to all clients.
    fn decoder(&self, decl: &TopicDecl) -> Option<Decoder> {
        match &decl.encoding {
            MessageEncoding::Cdr => {}
            MessageEncoding::Json => return Some(Decoder::Json),
            MessageEncoding::Other(name) => {
                tracing::info!(
                    topic = decl.name,
                    "messages in {name} are passed on to Foxglove clients only"
                );
                return None;
            }
        }
        if let Some(SchemaText { encoding, text }) = &decl.schema {
            if text.len() > limits::SCHEMA_TEXT_BYTES {
                tracing::warn!(topic = decl.name, "definition is too long, ignored");
            } else if let Err(error) = self.registry().add_encoded(&decl.type_name, encoding, text.as_bytes())
            {
                tracing::warn!(topic = decl.name, %error, "definition from the source is not usable");
            }
        }
        let plan = self.registry().plan(&decl.type_name);
        if let Err(error) = &plan {
            tracing::info!(topic = decl.name, r#type = decl.type_name, %error, "type unknown: forwarded raw");
        }
        plan.ok().map(Decoder::Cdr)
    }

    fn topic_up(&self, ingress: &Ingress, key: TopicKey, decl: &TopicDecl) {
        let own = ingress.routing().route(&decl.name, &decl.type_name);
        // A relay expects by its own table what the rover has routed.
        let route = decl.route.map_or(own, |route| Route { expected_rate_hz: own.expected_rate_hz, ..route });
        if !route.scopes.intersects(self.scopes()) {
            // The source should not have sent it; the hub enforces the scopes.
            return;
        }
        let mut topic = Topic::new(key.0, decl, route, self.decoder(decl));
        topic.definition = self.definition(decl);
        let mut state = self.lock();
        if let Some(old) = state.topics.remove(&key.0) {
            topic.inherit(old);
        }
        announce_topics(&state.subscribers, std::slice::from_ref(&topic.info), &[]);
        self.connect_all(&mut topic, &mut state);
        state.topics.insert(key.0, topic);
        self.topic_changes.send_modify(|changes| *changes += 1);
    }

    fn sample(&self, key: TopicKey, sample: &RawSample, queued: Duration, now: Duration) {
        let mut state = self.lock();
        state.samples += 1;
        state.newest_at = Some(now);
        let HubState { topics, replay_bytes, .. } = &mut *state;
        let Some(topic) = topics.get_mut(&key.0) else { return };
        let kept = topic.ring.bytes();
        let is_late = topic.remember(sample, now);
        let ring = self.sample_ring().filter(|_| !is_late && !topic.subscriptions.is_empty());
        let trace = ring.and_then(|_| topic.tracing.begin(&topic.info.name, sample, queued, now));
        let flags = if is_late { FLAG_REPLAYED } else { 0 } | if trace.is_some() { FLAG_TRACED } else { 0 };
        *replay_bytes = replay_bytes.saturating_sub(kept) + topic.ring.bytes();
        let mut encoder = SampleEncoder::new(&topic.info, topic.decoder.as_ref(), sample, flags);
        let (mut costly, sessions) = (Vec::new(), topic.subscriptions.len());
        for (position, subscription) in topic.subscriptions.iter_mut().enumerate() {
            if is_late && !takes_late(&topic.info, subscription.format) {
                continue;
            }
            if !subscription.throttle.serve(&topic.info, &subscription.outbox, sample, now) {
                continue;
            }
            if topic.is_large && subscription.format.is_costly() {
                costly.push(recipient(subscription));
                continue;
            }
            let turn = trace.as_deref().filter(|_| topic.tracing.is_session_traced(position, sessions));
            let delivery = begin_delivery(turn.zip(Some(subscription.id)), subscription.format);
            let frame = traced_frame(encoder.frame(subscription.format), delivery);
            deliver(&topic.info, subscription.queue_length, &subscription.outbox, frame, now);
        }
        let has_job = !costly.is_empty();
        if has_job {
            let job = topic.encode_job(sample, flags, costly, now);
            self.offload.submit(EncodeJob { trace: trace.clone(), ..job });
        }
        if let (Some(trace), Some(ring)) = (trace.filter(|trace| has_job || trace.is_delivered()), ring) {
            topic.tracing.keep(trace, ring, now);
        }
        if *replay_bytes > limits::REPLAY_BYTES {
            shrink_rings(topics, replay_bytes);
        }
    }

    /// Changes the served scopes: the source adds or drops subscriptions, and topics that leave the scopes
    /// are removed.
    pub fn set_scopes(&self, ingress: &Ingress, scopes: ScopeSet) {
        *self.scopes.lock() = scopes;
        let out: Vec<u32> = {
            let state = self.lock();
            state.topics.values().filter(|t| !t.route.scopes.intersects(scopes)).map(|t| t.info.id).collect()
        };
        ingress.set_scopes(scopes);
        self.topic_down(&out);
    }

    /// Drops samples that are too old to be replayed.
    pub fn expire(&self, now: Duration) {
        let mut state = self.lock();
        let HubState { topics, replay_bytes, .. } = &mut *state;
        *replay_bytes = 0;
        for topic in topics.values_mut() {
            topic.ring.expire(now);
            *replay_bytes += topic.ring.bytes();
        }
    }

    /// Sends the samples held back by a throttle whose interval has passed.
    pub fn flush_throttled(&self, now: Duration) {
        let mut state = self.lock();
        for topic in state.topics.values_mut() {
            let mut costly = Vec::new();
            for subscription in &mut topic.subscriptions {
                let Some(sample) = subscription.throttle.due(now) else { continue };
                if topic.is_large && subscription.format.is_costly() {
                    costly.push((sample, recipient(subscription)));
                    continue;
                }
                let mut encoder = SampleEncoder::new(&topic.info, topic.decoder.as_ref(), &sample, 0);
                let frame = encoder.frame(subscription.format);
                deliver(&topic.info, subscription.queue_length, &subscription.outbox, frame, now);
            }
            self.offload_due(topic, costly, now);
        }
    }

    /// Encodes large samples that a throttle held back: each one once for all sessions that wait for it.
    fn offload_due(&self, topic: &Topic, due: Vec<(RawSample, Recipient)>, now: Duration) {
        let mut due = due.into_iter().peekable();
        while let Some((sample, recipient)) = due.next() {
            let mut recipients = vec![recipient];
            while let Some((_, same)) = due.next_if(|(next, _)| next.id == sample.id) {
                recipients.push(same);
            }
            self.offload.submit(topic.encode_job(&sample, 0, recipients, now));
        }
    }
}

/// Whether a session gets a sample that is older than one it has: as history, if it can tell that.
fn takes_late(topic: &TopicInfo, format: FrameFormat) -> bool {
    topic.delivery == Delivery::Every && format.encoding().marks_retained()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roverline_protocol::{Routing, ScopeSet, Tier};
    use roverline_schema::Registry;
    use roverline_source::{Qos, Sink};

    use super::*;
    use crate::connection::outbox::Outbox;
    use crate::hub::encoding::test_encoding::{FORMAT, UNMARKED, sample};
    use crate::hub::subscribe_request::SubscribeOptions;

    fn decl(name: &str, transient_local: bool) -> TopicDecl {
        let qos = Qos { reliable: true, transient_local };
        TopicDecl {
            name: name.into(),
            type_name: "std_msgs/msg/String".into(),
            qos,
            encoding: Default::default(),
            history_depth: 1,
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
        hub.handle(&ingress, SourceEvent::TopicUp(key, decl("/mission/status", false)), Duration::ZERO);
        hub.handle(&ingress, SourceEvent::Sample(key, sample(1, 8), Duration::ZERO), Duration::ZERO);
        assert!(hub.topic_infos().is_empty());
    }

    #[test]
    fn each_topic_keeps_the_definition_that_came_with_it() {
        let (hub, ingress) = hub(ScopeSet::ALL);
        let up = |name: &str, encoding: &str, text: &str| {
            let schema = SchemaText { encoding: encoding.into(), text: Arc::from(text) };
            let decl =
                TopicDecl { schema: Some(schema), type_name: "own/msg/Power".into(), ..decl(name, false) };
            let key = ingress.topic_up(decl.clone()).unwrap();
            hub.handle(&ingress, SourceEvent::TopicUp(key, decl), Duration::ZERO);
        };
        up("/old", "ros2msg", "float32 voltage\n");
        up("/new", "ros2msg", "uint32 id\nfloat32 voltage\nHeader h\n");
        up("/idl", "ros2idl", "module own {};");
        let key = ingress.topic_up(decl("/bundled", false)).unwrap();
        hub.handle(&ingress, SourceEvent::TopicUp(key, decl("/bundled", false)), Duration::ZERO);
        let definition = |name: &str| {
            hub.with_topics(|topics| {
                let mut named = topics.filter(|topic| topic.info.name == name);
                named.next().unwrap().definition.clone()
            })
        };
        assert_eq!(&*definition("/old").unwrap().text, "float32 voltage\n");
        assert!(definition("/new").unwrap().text.contains("MSG: std_msgs/Header"));
        let idl = definition("/idl").unwrap();
        assert_eq!((idl.encoding.as_str(), &*idl.text), ("ros2idl", "module own {};"));
        assert!(definition("/bundled").is_none());
    }

    #[test]
    fn a_late_sample_completes_the_history_and_is_not_the_value() {
        let (hub, ingress) = hub(ScopeSet::ALL);
        let name = "/mission/status";
        let key = ingress.topic_up(decl(name, true)).unwrap();
        hub.handle(&ingress, SourceEvent::TopicUp(key, decl(name, true)), Duration::ZERO);
        let (marked, unmarked) = (Outbox::new(), Outbox::new());
        for (id, outbox, format) in [(1, &marked, FORMAT), (2, &unmarked, UNMARKED)] {
            hub.attach(id, outbox.clone(), format);
            let options = SubscribeOptions { patterns: vec!["**".to_owned()], ..SubscribeOptions::default() };
            hub.subscribe_now(id, &options).unwrap();
        }
        for seq in [7, 6, 8] {
            hub.handle(&ingress, SourceEvent::Sample(key, sample(seq, 8), Duration::ZERO), Duration::ZERO);
        }
        assert_eq!(marked.drain_for_test().len(), unmarked.drain_for_test().len() + 1);
        hub.handle(&ingress, SourceEvent::Sample(key, sample(5, 8), Duration::ZERO), Duration::ZERO);
        let value = hub.with_topics(|topics| topics.last().unwrap().retained()[0].id.seq);
        assert_eq!(value, 8);
    }

    #[test]
    fn late_subscribers_get_retained_samples_and_oversized_ones_count_as_dropped() {
        let (hub, ingress) = hub(ScopeSet::ALL);
        let key = ingress.topic_up(decl("/map/name", true)).unwrap();
        hub.handle(&ingress, SourceEvent::TopicUp(key, decl("/map/name", true)), Duration::ZERO);
        hub.handle(&ingress, SourceEvent::Sample(key, sample(1, 8), Duration::ZERO), Duration::ZERO);
        let outbox = Outbox::new();
        hub.attach(7, outbox.clone(), FORMAT);
        let options = SubscribeOptions { patterns: vec!["/map/*".to_owned()], ..SubscribeOptions::default() };
        assert_eq!(hub.subscribe_now(7, &options).unwrap().matching, 1);
        assert!(outbox.stats().queued_bytes > 8);
        let giant = sample(2, limits::OUTBOUND_MESSAGE_BYTES);
        hub.handle(&ingress, SourceEvent::Sample(key, giant, Duration::ZERO), Duration::ZERO);
        assert_eq!(outbox.stats().dropped, 1);
        hub.detach(7);
        hub.handle(&ingress, SourceEvent::Sample(key, sample(3, 8), Duration::ZERO), Duration::ZERO);
        assert_eq!(outbox.stats().dropped, 1);
    }

    #[test]
    fn encodings_without_a_retained_mark_get_latched_samples_only() {
        let (hub, ingress) = hub(ScopeSet::ALL);
        for (name, latched) in [("/map/name", true), ("/map/other", false)] {
            let key = ingress.topic_up(decl(name, latched)).unwrap();
            hub.handle(&ingress, SourceEvent::TopicUp(key, decl(name, latched)), Duration::ZERO);
            hub.handle(&ingress, SourceEvent::Sample(key, sample(1, 8), Duration::ZERO), Duration::ZERO);
        }
        let outbox = Outbox::new();
        hub.attach(7, outbox.clone(), UNMARKED);
        let options = SubscribeOptions { patterns: vec!["/map/*".to_owned()], ..SubscribeOptions::default() };
        assert_eq!(hub.subscribe_now(7, &options).unwrap().matching, 2);
        let frames = outbox.drain_for_test();
        assert_eq!(frames.len(), 1);
        assert!(String::from_utf8_lossy(&frames[0]).contains("/map/name"));
        // After unsubscribing and subscribing again, the value is sent again.
        hub.unsubscribe_now(7, &["/other".to_owned()]);
        assert!(outbox.drain_for_test().is_empty());
        hub.unsubscribe_now(7, &options.patterns);
        hub.subscribe_now(7, &options).unwrap();
        assert_eq!(outbox.drain_for_test().len(), 1);
    }
}
