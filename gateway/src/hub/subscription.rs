//! Subscriptions: topic patterns with rates, matched when a client subscribes and when a topic appears.
//!
//! A request with costly patterns visits the topics in slices, so that other tasks run in between.

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::ScopeSet;
use roverline_protocol::native::Gap;

use crate::connection::outbox::Outbox;
use crate::hub::encoding::FrameFormat;
use crate::hub::patterns::{ChangedPatterns, Patterns};
use crate::hub::resume::ResumeState;
use crate::hub::state::{Hub, HubState};
use crate::hub::subscribe_request::{SubscribeError, SubscribeOptions, SubscribeOutcome};
use crate::hub::subscriber::Subscriber;
use crate::hub::throttle::Throttle;
use crate::hub::topic::{SubscriberId, Topic, TopicSubscription};

/// Steps of matching in one slice: a fraction of a millisecond.
const SLICE_STEPS: usize = 100_000;
/// Steps that visiting a topic costs at least.
const VISIT_STEPS: usize = 100;

/// A session with patterns that cost more steps is matched with a new topic later, in slices.
const IMMEDIATE_STEPS: usize = 1_024;
/// Sessions and topics that wait to be matched; beyond, they are matched at once.
const UNMATCHED_ENTRIES: usize = 16_384;

/// A request's visit of the topics that it may concern.
struct Visit {
    id: SubscriberId,
    changed: ChangedPatterns,
    /// The topics still to be visited, the last one first.
    waiting: Vec<u32>,
    matching: usize,
}

impl Hub {
    /// Adds a session without subscriptions. It is notified of topic changes from now on.
    pub fn attach(&self, id: SubscriberId, outbox: Arc<Outbox>, format: FrameFormat) {
        let patterns = Patterns::default();
        self.lock().subscribers.insert(id, Subscriber { outbox, format, resumed: None, patterns });
    }

    /// Whether the session subscribes only to topics with these scopes.
    pub fn listens_only_to(&self, id: SubscriberId, scopes: ScopeSet) -> bool {
        self.lock().subscribers.get(&id).is_none_or(|subscriber| subscriber.patterns.are_within(scopes))
    }

    /// Removes a session.
    pub fn detach(&self, id: SubscriberId) {
        let mut state = self.lock();
        state.subscribers.remove(&id);
        for topic in state.topics.values_mut() {
            topic.subscriptions.retain(|subscription| subscription.id != id);
        }
    }

    /// Adds subscriptions (all or none) and sends the stored samples of newly matched topics; returns how
    /// many topics the patterns match now. Other tasks run in between if there is much to match.
    pub async fn subscribe(
        &self,
        id: SubscriberId,
        options: &SubscribeOptions,
    ) -> Result<SubscribeOutcome, SubscribeError> {
        let Some(mut visit) = self.begin_subscribe(id, options)? else {
            return Ok(SubscribeOutcome::default());
        };
        while !self.connect_slice(&mut visit) {
            tokio::task::yield_now().await;
        }
        Ok(self.subscribe_outcome(&visit))
    }

    /// The same at once, for a session whose patterns are plain names.
    pub fn subscribe_now(
        &self,
        id: SubscriberId,
        options: &SubscribeOptions,
    ) -> Result<SubscribeOutcome, SubscribeError> {
        let Some(mut visit) = self.begin_subscribe(id, options)? else {
            return Ok(SubscribeOutcome::default());
        };
        while !self.connect_slice(&mut visit) {}
        Ok(self.subscribe_outcome(&visit))
    }

    /// Removes subscriptions; unknown patterns are ignored. Other tasks run in between if there is much to
    /// match.
    pub async fn unsubscribe(&self, id: SubscriberId, patterns: &[String]) {
        let Some(mut visit) = self.begin_unsubscribe(id, patterns) else { return };
        while !self.disconnect_slice(&mut visit) {
            tokio::task::yield_now().await;
        }
    }

    /// The same at once, for a session whose patterns are plain names.
    pub fn unsubscribe_now(&self, id: SubscriberId, patterns: &[String]) {
        let Some(mut visit) = self.begin_unsubscribe(id, patterns) else { return };
        while !self.disconnect_slice(&mut visit) {}
    }

    fn begin_subscribe(
        &self,
        id: SubscriberId,
        options: &SubscribeOptions,
    ) -> Result<Option<Visit>, SubscribeError> {
        let mut state = self.lock();
        let HubState { topics, subscribers, .. } = &mut *state;
        let Some(subscriber) = subscribers.get_mut(&id) else { return Ok(None) };
        let changed = subscriber.patterns.add(options)?;
        let concerned = topics.values().filter(|topic| changed.may_concern(&topic.info.name));
        let mut waiting: Vec<_> = concerned.map(|topic| (topic.info.priority, topic.info.id)).collect();
        // Urgent topics come first in case the replay budget does not suffice for all.
        waiting.sort_unstable_by(|a, b| b.cmp(a));
        let waiting = waiting.into_iter().map(|(_, topic)| topic).collect();
        Ok(Some(Visit { id, changed, waiting, matching: 0 }))
    }

    fn begin_unsubscribe(&self, id: SubscriberId, patterns: &[String]) -> Option<Visit> {
        let mut state = self.lock();
        let HubState { topics, subscribers, .. } = &mut *state;
        let changed = subscribers.get_mut(&id)?.patterns.remove(patterns);
        let concerned = topics.values().filter(|topic| changed.may_concern(&topic.info.name));
        let waiting = concerned.map(|topic| topic.info.id).collect();
        Some(Visit { id, changed, waiting, matching: 0 })
    }

    /// Visits some topics; returns whether all were visited.
    fn slice(
        &self,
        visit: &mut Visit,
        mut each: impl FnMut(&Self, &mut Topic, &mut Subscriber, &mut Visit),
    ) -> bool {
        let mut state = self.lock();
        let HubState { topics, subscribers, .. } = &mut *state;
        // The session may have ended meanwhile.
        let Some(subscriber) = subscribers.get_mut(&visit.id) else { return true };
        let cost = subscriber.patterns.cost();
        let mut steps = 0;
        while steps < SLICE_STEPS {
            let Some(topic) = visit.waiting.pop() else { return true };
            if let Some(topic) = topics.get_mut(&topic) {
                steps += VISIT_STEPS + cost * topic.info.name.len();
                each(self, topic, subscriber, visit);
            }
        }
        visit.waiting.is_empty()
    }

    fn connect_slice(&self, visit: &mut Visit) -> bool {
        self.slice(visit, |hub, topic, subscriber, visit| {
            // Topics that match no new pattern are left alone.
            let newest = subscriber.patterns.effective_options(subscriber.format, &topic.info);
            if newest.is_some_and(|options| options.order >= visit.changed.order) {
                visit.matching += 1;
                hub.connect(topic, visit.id, subscriber);
            }
        })
    }

    fn disconnect_slice(&self, visit: &mut Visit) -> bool {
        self.slice(visit, |hub, topic, subscriber, visit| {
            let is_subscribed = topic.subscriptions.iter().any(|subscription| subscription.id == visit.id);
            if !is_subscribed {
                return;
            }
            match subscriber.patterns.effective_options(subscriber.format, &topic.info) {
                None => topic.subscriptions.retain(|subscription| subscription.id != visit.id),
                Some(_) => hub.connect(topic, visit.id, subscriber),
            }
        })
    }

    /// Subscribes the sessions whose patterns match a new topic. Those with costly patterns follow in
    /// [`Hub::match_slice`].
    pub(super) fn connect_all(&self, topic: &mut Topic, state: &mut HubState) {
        for (&id, subscriber) in &mut state.subscribers {
            let is_costly = subscriber.patterns.cost() > IMMEDIATE_STEPS;
            if is_costly && state.unmatched.len() < UNMATCHED_ENTRIES {
                state.unmatched.push_back((topic.info.id, id));
            } else {
                self.connect(topic, id, subscriber);
            }
        }
    }

    /// Matches some new topics with sessions that have costly patterns; returns whether any wait.
    pub(super) fn match_slice(&self) -> bool {
        let mut state = self.lock();
        let HubState { topics, subscribers, unmatched, .. } = &mut *state;
        let mut steps = 0;
        while steps < SLICE_STEPS
            && let Some((topic, id)) = unmatched.pop_front()
        {
            if let (Some(topic), Some(subscriber)) = (topics.get_mut(&topic), subscribers.get_mut(&id)) {
                steps += VISIT_STEPS + subscriber.patterns.cost() * topic.info.name.len();
                self.connect(topic, id, subscriber);
            }
        }
        !unmatched.is_empty()
    }

    fn subscribe_outcome(&self, visit: &Visit) -> SubscribeOutcome {
        let mut state = self.lock();
        let HubState { subscribers, replayed: replays, replay_missing: missing, .. } = &mut *state;
        let subscriber = subscribers.get_mut(&visit.id);
        let resumed = subscriber.and_then(|subscriber| subscriber.resumed.as_mut());
        let resumed = resumed.map(ResumeState::take_report);
        if let Some((replayed, gaps)) = &resumed {
            *replays += replayed;
            *missing += gaps.iter().map(Gap::count).sum::<u64>();
        }
        SubscribeOutcome { matching: visit.matching, resumed }
    }

    /// Updates the topic's subscriber list to match the subscriber's patterns.
    pub(super) fn connect(&self, topic: &mut Topic, id: SubscriberId, subscriber: &mut Subscriber) {
        let Some(options) = subscriber.patterns.effective_options(subscriber.format, &topic.info) else {
            return;
        };
        let (format, queue_length) = (options.format, options.queue_length);
        let own = topic.route.max_rate_hz.map(|rate| Duration::from_secs_f64(1.0 / rate.max(1e-3)));
        let interval = options.interval.into_iter().chain(own).max();
        if let Some(subscription) = topic.subscriptions.iter_mut().find(|subscription| subscription.id == id)
        {
            subscription.throttle.interval = interval;
            (subscription.format, subscription.queue_length) = (format, queue_length);
            self.repair(topic, (format, queue_length), subscriber, interval.is_some());
            return;
        }
        let throttle = Throttle::new(interval);
        let outbox = subscriber.outbox.clone();
        topic.subscriptions.push(TopicSubscription { id, outbox, format, queue_length, throttle });
        self.catch_up(topic, (format, queue_length), subscriber, interval.is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use roverline_protocol::limits;

    use super::*;
    use crate::hub::encoding::test_encoding::FORMAT;

    #[test]
    fn unsubscribing_a_great_many_names_is_linear() {
        let hub = Hub::new(ScopeSet::ALL, roverline_schema::Registry::bundled());
        hub.attach(1, Outbox::new(), FORMAT);
        let name = |n: usize| format!("/{n:04}");
        let patterns: Vec<String> = (0..limits::PATTERNS_PER_SESSION).map(name).collect();
        hub.subscribe_now(1, &SubscribeOptions { patterns, ..SubscribeOptions::default() }).unwrap();
        // More names than fit in a message, none of them subscribed.
        let unknown = vec!["/none".to_owned(); limits::INBOUND_MESSAGE_BYTES / 2];
        // Matching every pattern against every name would take thousands of times as long as hashing them.
        let begun = std::time::Instant::now();
        let distinct = unknown.iter().map(String::as_str).collect::<HashSet<_>>().len();
        let baseline = begun.elapsed();
        let begun = std::time::Instant::now();
        hub.unsubscribe_now(1, &unknown);
        let elapsed = begun.elapsed();
        assert_eq!(distinct, 1);
        assert!(elapsed < baseline * 100 + Duration::from_millis(100), "{elapsed:?}, {baseline:?}");
        hub.unsubscribe_now(1, &[name(0)]);
        assert_eq!(hub.lock().subscribers[&1].patterns.len(), limits::PATTERNS_PER_SESSION - 1);
    }

    #[test]
    fn costly_patterns_are_matched_with_a_new_topic_in_slices() {
        let hub = Hub::new(ScopeSet::ALL, roverline_schema::Registry::bundled());
        let ingress =
            crate::hub::Ingress::new(Arc::new(roverline_protocol::Routing::default()), ScopeSet::ALL);
        let (costly, cheap) = (Outbox::new(), Outbox::new());
        for (id, outbox) in [(1, &costly), (2, &cheap)] {
            hub.attach(id, outbox.clone(), FORMAT);
        }
        let all = |n: usize| format!("{}{n}", "**/{*a,*t,[!b]}".repeat(15));
        let mut patterns: Vec<_> = (0..40).map(all).collect();
        patterns.push("/odom*".to_owned());
        hub.subscribe_now(1, &SubscribeOptions { patterns, ..SubscribeOptions::default() }).unwrap();
        let patterns = vec!["/odom*".to_owned()];
        hub.subscribe_now(2, &SubscribeOptions { patterns, ..SubscribeOptions::default() }).unwrap();
        let decl = roverline_source::TopicDecl {
            name: "/odom".into(),
            type_name: "nav_msgs/msg/Odometry".into(),
            qos: roverline_source::Qos { reliable: true, transient_local: false },
            encoding: Default::default(),
            history_depth: 1,
            schema: None,
            route: None,
        };
        let key = roverline_source::Sink::topic_up(&*ingress, decl.clone()).unwrap();
        hub.handle(&ingress, crate::hub::SourceEvent::TopicUp(key, decl), Duration::ZERO);
        let subscribed = || hub.lock().topics[&key.0].subscriptions.iter().map(|s| s.id).collect::<Vec<_>>();
        assert_eq!(subscribed(), [2]);
        while hub.match_slice() {}
        assert_eq!(subscribed(), [2, 1]);
    }
}
