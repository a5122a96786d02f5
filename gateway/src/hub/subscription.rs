//! Subscriptions: topic globs with rates, matched when a client subscribes and when a topic appears.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::native::Gap;
use roverline_protocol::{ScopeSet, limits};

use crate::connection::outbox::Outbox;
use crate::hub::encoding::FrameFormat;
use crate::hub::resume::ResumeState;
use crate::hub::state::{Hub, HubState};
use crate::hub::subscriber::{
    EffectiveOptions, Pattern, SubscribeError, SubscribeOptions, SubscribeOutcome, Subscriber, compile,
};
use crate::hub::throttle::Throttle;
use crate::hub::topic::{SubscriberId, Topic, TopicSubscription};

impl Hub {
    /// Adds a session without subscriptions. It is notified of topic changes from now on.
    pub fn attach(&self, id: SubscriberId, outbox: Arc<Outbox>, format: FrameFormat) {
        self.lock()
            .subscribers
            .insert(id, Subscriber { outbox, format, resumed: None, patterns: Vec::new() });
    }

    /// Whether the session subscribes only to topics with these scopes.
    pub fn listens_only_to(&self, id: SubscriberId, scopes: ScopeSet) -> bool {
        self.lock().subscribers.get(&id).is_none_or(|subscriber| {
            let within = |pattern: &Pattern| pattern.scopes.is_some_and(|requested| scopes.covers(requested));
            subscriber.patterns.iter().all(within)
        })
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
    /// many topics the patterns match now.
    pub fn subscribe(
        &self,
        id: SubscriberId,
        options: &SubscribeOptions,
    ) -> Result<SubscribeOutcome, SubscribeError> {
        let SubscribeOptions { patterns, max_rate_hz, .. } = options;
        let max_rate_hz = *max_rate_hz;
        if max_rate_hz.is_some_and(|rate| !(rate > 0.0 && rate <= 10_000.0)) {
            return Err(SubscribeError::Rate);
        }
        if patterns.len() > limits::PATTERNS_PER_SESSION {
            // Checked before compiling the globs, which is slow.
            return Err(SubscribeError::TooMany);
        }
        let interval = max_rate_hz.map(|rate| Duration::from_secs_f64(1.0 / rate.max(1e-3)));
        let new =
            patterns.iter().map(|text| compile(text, interval, options)).collect::<Result<Vec<_>, _>>()?;
        let mut state = self.lock();
        let HubState { topics, subscribers, replayed: replays, replay_missing: missing, .. } = &mut *state;
        let Some(subscriber) = subscribers.get_mut(&id) else { return Ok(SubscribeOutcome::default()) };
        let names: HashSet<&str> = patterns.iter().map(String::as_str).collect();
        let is_kept = |old: &Pattern| !names.contains(old.text.as_str());
        let kept = subscriber.patterns.iter().filter(|old| is_kept(old)).count();
        if kept + new.len() > limits::PATTERNS_PER_SESSION {
            return Err(SubscribeError::TooMany);
        }
        subscriber.patterns.retain(is_kept);
        subscriber.patterns.extend(new);
        let mut matching = 0;
        // Topics that match no new pattern are left alone. Urgent topics come first in case the replay
        // budget does not suffice for all.
        let is_new =
            |topic: &&mut Topic| subscriber.patterns[kept..].iter().any(|new| new.matches(&topic.info));
        let mut matched: Vec<&mut Topic> = topics.values_mut().filter(is_new).collect();
        matched.sort_by_key(|topic| (topic.info.priority, topic.info.id));
        for topic in matched {
            matching += 1;
            self.connect(topic, id, subscriber);
        }
        let resumed = subscriber.resumed.as_mut().map(ResumeState::take_report);
        if let Some((replayed, gaps)) = &resumed {
            *replays += replayed;
            *missing += gaps.iter().map(Gap::count).sum::<u64>();
        }
        Ok(SubscribeOutcome { matching, resumed })
    }

    /// Removes subscriptions; unknown patterns are ignored.
    pub fn unsubscribe(&self, id: SubscriberId, patterns: &[String]) {
        // The number of names is limited only by the message size.
        let names: HashSet<&str> = patterns.iter().map(String::as_str).collect();
        let mut state = self.lock();
        let HubState { topics, subscribers, .. } = &mut *state;
        let Some(subscriber) = subscribers.get_mut(&id) else { return };
        let is_named = |pattern: &Pattern| names.contains(pattern.text.as_str());
        let (gone, kept) =
            std::mem::take(&mut subscriber.patterns).into_iter().partition::<Vec<_>, _>(is_named);
        subscriber.patterns = kept;
        // Other topics are left alone, because matching every pattern against each of them is slow.
        for topic in topics.values_mut().filter(|topic| gone.iter().any(|old| old.matches(&topic.info))) {
            if subscriber.effective_options(&topic.info).is_none() {
                topic.subscriptions.retain(|subscription| subscription.id != id);
            } else {
                self.connect(topic, id, subscriber);
            }
        }
    }

    /// Updates the topic's subscriber list to match the subscriber's patterns.
    pub(super) fn connect(&self, topic: &mut Topic, id: SubscriberId, subscriber: &mut Subscriber) {
        let Some(EffectiveOptions { interval, format, queue_length }) =
            subscriber.effective_options(&topic.info)
        else {
            return;
        };
        let own = topic.route.max_rate_hz.map(|rate| Duration::from_secs_f64(1.0 / rate.max(1e-3)));
        let interval = interval.into_iter().chain(own).max();
        if let Some(subscription) = topic.subscriptions.iter_mut().find(|subscription| subscription.id == id)
        {
            subscription.throttle.interval = interval;
            (subscription.format, subscription.queue_length) = (format, queue_length);
            return;
        }
        let throttle = Throttle::new(interval);
        topic.subscriptions.push(TopicSubscription { id, format, queue_length, throttle });
        self.catch_up(topic, (format, queue_length), subscriber, interval.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::encoding::test_encoding::FORMAT;

    #[test]
    fn unsubscribing_a_great_many_names_is_linear() {
        let hub = Hub::new(ScopeSet::ALL, roverline_schema::Registry::bundled());
        hub.attach(1, Outbox::new(), FORMAT);
        let name = |n: usize| format!("/{n:04}");
        let patterns: Vec<String> = (0..limits::PATTERNS_PER_SESSION).map(name).collect();
        hub.subscribe(1, &SubscribeOptions { patterns, ..SubscribeOptions::default() }).unwrap();
        // More names than fit in a message, none of them subscribed.
        let unknown = vec!["/none".to_owned(); limits::INBOUND_MESSAGE_BYTES / 2];
        // Matching every pattern against every name would take thousands of times as long as hashing them.
        let begun = std::time::Instant::now();
        let distinct = unknown.iter().map(String::as_str).collect::<HashSet<_>>().len();
        let baseline = begun.elapsed();
        let begun = std::time::Instant::now();
        hub.unsubscribe(1, &unknown);
        let elapsed = begun.elapsed();
        assert_eq!(distinct, 1);
        assert!(elapsed < baseline * 100 + Duration::from_millis(100), "{elapsed:?}, {baseline:?}");
        hub.unsubscribe(1, &[name(0)]);
        assert_eq!(hub.lock().subscribers[&1].patterns.len(), limits::PATTERNS_PER_SESSION - 1);
    }
}
