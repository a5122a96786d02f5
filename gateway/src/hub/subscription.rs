//! Who listens to what: topic globs with rates, matched when they are made and when topics appear.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use globset::GlobMatcher;
use roverline_protocol::native::{Gap, TopicInfo};
use roverline_protocol::routing::topic_glob;
use roverline_protocol::service_level::{Allowance, ServiceLevel};
use roverline_protocol::{ScopeSet, limits};
use roverline_source::RawSample;

use crate::connection::outbox::Outbox;
use crate::hub::fanout::Form;
use crate::hub::replay::Resumed;
use crate::hub::topic::{Listener, Topic};
use crate::hub::{Hub, HubState};

/// A session's number in this process.
pub type SubscriberId = u64;

/// A session as the hub sees it.
pub struct Subscriber {
    pub(crate) outbox: Arc<Outbox>,
    /// How it takes samples unless it asks otherwise.
    pub(crate) form: Form,
    pub(super) resumed: Option<Resumed>,
    patterns: Vec<Pattern>,
}

struct Pattern {
    text: String,
    glob: GlobMatcher,
    interval: Option<Duration>,
    scopes: Option<ScopeSet>,
    type_name: Option<String>,
    form: Option<Form>,
    queue_length: Option<u32>,
}

/// How a subscriber wants a topic, all its matching patterns considered.
struct Terms {
    interval: Option<Duration>,
    form: Form,
    queue_length: Option<u32>,
}

impl Pattern {
    fn matches(&self, info: &TopicInfo) -> bool {
        self.scopes.is_none_or(|scopes| scopes.intersects(info.scopes))
            && self.type_name.as_ref().is_none_or(|type_name| *type_name == info.type_name)
            && self.glob.is_match(&info.name)
    }
}

/// What a session asks for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Topic globs.
    pub patterns: Vec<String>,
    /// At most so many samples per second and topic.
    pub max_rate_hz: Option<f64>,
    /// Only topics that are about one of these.
    pub scopes: Option<ScopeSet>,
    /// Only topics of this type: a client that was told of a type need not understand another.
    pub type_name: Option<String>,
    /// In another form than the session's own.
    pub form: Option<Form>,
    /// At most so many messages of a topic may wait; with one, a newer takes the place of an older.
    pub queue_length: Option<u32>,
}

/// What became of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// How many topics match now.
    pub matching: usize,
    /// Where the session had resumed: samples replayed, and what could not be.
    pub resumed: Option<(u64, Vec<Gap>)>,
}

/// Why a subscription was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// Not a glob.
    #[error("'{0}' is not a topic pattern: {1}")]
    Pattern(String, String),
    /// Too many.
    #[error("a session may have {} subscriptions", limits::PATTERNS_PER_SESSION)]
    TooMany,
    /// Not a rate.
    #[error("max_rate_hz must be greater than 0 and at most 10000")]
    Rate,
}

/// Lets a sample through at most once per interval; the newest that was held back goes out when the
/// interval has passed.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    pub(crate) interval: Option<Duration>,
    next: Duration,
    /// What the session's service level adds.
    slowed: Option<Duration>,
    pub(crate) held: Option<RawSample>,
}

impl Throttle {
    /// As [`Throttle::pass`], and as the session's service level allows.
    pub(crate) fn serve(
        &mut self,
        topic: &TopicInfo,
        outbox: &Outbox,
        sample: &RawSample,
        now: Duration,
    ) -> bool {
        let level = outbox.level();
        if level == ServiceLevel::Full && self.slowed.is_none() {
            return self.pass(sample, now);
        }
        // What was held is superseded by this sample, whatever becomes of it.
        let superseded = self.held.take().is_some() && self.slowed.is_some();
        let allowance = level.allowance(topic.scopes, topic.priority);
        self.slowed = match allowance {
            Allowance::Every(interval) => Some(interval),
            Allowance::All | Allowance::Nothing => None,
        };
        if superseded || allowance == Allowance::Nothing {
            outbox.count_shed();
        }
        allowance != Allowance::Nothing && self.pass(sample, now)
    }

    /// The longer of what the client asks for and what the service level allows.
    fn interval(&self) -> Option<Duration> {
        self.interval.max(self.slowed)
    }

    /// Whether `sample` goes out now; otherwise it is held.
    pub(crate) fn pass(&mut self, sample: &RawSample, now: Duration) -> bool {
        let Some(interval) = self.interval() else { return true };
        if now < self.next {
            self.held = Some(sample.clone());
            return false;
        }
        self.next = (self.next + interval).max(now);
        self.held = None;
        true
    }

    /// The held sample, if its time has come.
    pub(crate) fn due(&mut self, now: Duration) -> Option<RawSample> {
        let interval = self.interval()?;
        if self.held.is_none() || now < self.next {
            return None;
        }
        self.next = now + interval;
        self.held.take()
    }
}

impl Hub {
    /// Adds a session without subscriptions. It hears of topics from now on.
    pub fn attach(&self, id: SubscriberId, outbox: Arc<Outbox>, form: Form) {
        self.lock().subscribers.insert(id, Subscriber { outbox, form, resumed: None, patterns: Vec::new() });
    }

    /// Whether the session subscribes to nothing beyond topics about these scopes.
    pub fn listens_only_to(&self, id: SubscriberId, scopes: ScopeSet) -> bool {
        self.lock().subscribers.get(&id).is_none_or(|subscriber| {
            let within = |pattern: &Pattern| pattern.scopes.is_some_and(|asked| scopes.covers(asked));
            subscriber.patterns.iter().all(within)
        })
    }

    /// Takes a session out.
    pub fn detach(&self, id: SubscriberId) {
        let mut state = self.lock();
        state.subscribers.remove(&id);
        for topic in state.topics.values_mut() {
            topic.listeners.retain(|listener| listener.id != id);
        }
    }

    /// Adds subscriptions (all or none) and sends what is stored of newly matched topics; returns
    /// how many topics the patterns match now.
    pub fn subscribe(&self, id: SubscriberId, wish: &Wish) -> Result<Granted, SubscribeError> {
        let Wish { patterns, max_rate_hz, .. } = wish;
        let max_rate_hz = *max_rate_hz;
        if max_rate_hz.is_some_and(|rate| !(rate > 0.0 && rate <= 10_000.0)) {
            return Err(SubscribeError::Rate);
        }
        if patterns.len() > limits::PATTERNS_PER_SESSION {
            // Before they are compiled: that takes its time.
            return Err(SubscribeError::TooMany);
        }
        let interval = max_rate_hz.map(|rate| Duration::from_secs_f64(1.0 / rate.max(1e-3)));
        let new = patterns.iter().map(|text| compile(text, interval, wish)).collect::<Result<Vec<_>, _>>()?;
        let mut state = self.lock();
        let HubState { topics, subscribers, replayed: replays, replay_missing: missing, .. } = &mut *state;
        let Some(subscriber) = subscribers.get_mut(&id) else { return Ok(Granted::default()) };
        let names: HashSet<&str> = patterns.iter().map(String::as_str).collect();
        let is_kept = |old: &Pattern| !names.contains(old.text.as_str());
        let kept = subscriber.patterns.iter().filter(|old| is_kept(old)).count();
        if kept + new.len() > limits::PATTERNS_PER_SESSION {
            return Err(SubscribeError::TooMany);
        }
        subscriber.patterns.retain(is_kept);
        subscriber.patterns.extend(new);
        let mut matching = 0;
        // Topics that no new pattern matches stay as they are. Urgent ones come first, in case there
        // is not room for all that is to be replayed.
        let is_new =
            |topic: &&mut Topic| subscriber.patterns[kept..].iter().any(|new| new.matches(&topic.info));
        let mut matched: Vec<&mut Topic> = topics.values_mut().filter(is_new).collect();
        matched.sort_by_key(|topic| (topic.info.priority, topic.info.id));
        for topic in matched {
            matching += 1;
            self.connect(topic, id, subscriber);
        }
        let resumed = subscriber.resumed.as_mut().map(Resumed::take_account);
        if let Some((replayed, gaps)) = &resumed {
            *replays += replayed;
            *missing += gaps.iter().map(Gap::count).sum::<u64>();
        }
        Ok(Granted { matching, resumed })
    }

    /// Takes subscriptions back; unknown ones are ignored.
    pub fn unsubscribe(&self, id: SubscriberId, patterns: &[String]) {
        // A client may name as many as a message has room for.
        let names: HashSet<&str> = patterns.iter().map(String::as_str).collect();
        let mut state = self.lock();
        let HubState { topics, subscribers, .. } = &mut *state;
        let Some(subscriber) = subscribers.get_mut(&id) else { return };
        let asked = |pattern: &Pattern| names.contains(pattern.text.as_str());
        let (gone, kept) = std::mem::take(&mut subscriber.patterns).into_iter().partition::<Vec<_>, _>(asked);
        subscriber.patterns = kept;
        // The others stay as they are: to look at all patterns for each of them takes its time.
        for topic in topics.values_mut().filter(|topic| gone.iter().any(|old| old.matches(&topic.info))) {
            if subscriber.wish(&topic.info).is_none() {
                topic.listeners.retain(|listener| listener.id != id);
            } else {
                self.connect(topic, id, subscriber);
            }
        }
    }

    /// Makes the topic's subscriber list agree with the subscriber's patterns.
    pub(super) fn connect(&self, topic: &mut Topic, id: SubscriberId, subscriber: &mut Subscriber) {
        let Some(Terms { interval, form, queue_length }) = subscriber.wish(&topic.info) else { return };
        let own = topic.route.max_rate_hz.map(|rate| Duration::from_secs_f64(1.0 / rate.max(1e-3)));
        let interval = interval.into_iter().chain(own).max();
        if let Some(listener) = topic.listeners.iter_mut().find(|listener| listener.id == id) {
            listener.throttle.interval = interval;
            (listener.form, listener.queue_length) = (form, queue_length);
            return;
        }
        let throttle = Throttle { interval, ..Throttle::default() };
        topic.listeners.push(Listener { id, form, queue_length, throttle });
        self.catch_up(topic, (form, queue_length), subscriber, interval.is_some());
    }
}

impl Subscriber {
    /// The shortest interval any matching pattern asks for, and otherwise what the newest of them
    /// asks for; `None` when none matches.
    fn wish(&self, topic: &TopicInfo) -> Option<Terms> {
        let matching = || self.patterns.iter().filter(|pattern| pattern.matches(topic));
        let newest = matching().next_back()?;
        Some(Terms {
            interval: matching().map(|pattern| pattern.interval).min().flatten(),
            form: newest.form.unwrap_or(self.form),
            queue_length: newest.queue_length,
        })
    }
}

fn compile(text: &str, interval: Option<Duration>, wish: &Wish) -> Result<Pattern, SubscribeError> {
    let refuse = |why: String| SubscribeError::Pattern(text.chars().take(64).collect(), why);
    if text.is_empty() || text.len() > limits::TOPIC_NAME_CHARS {
        return Err(refuse(format!("it must have 1 to {} characters", limits::TOPIC_NAME_CHARS)));
    }
    Ok(Pattern {
        text: text.to_owned(),
        glob: topic_glob(text).map_err(refuse)?,
        interval,
        scopes: wish.scopes,
        type_name: wish.type_name.clone(),
        form: wish.form,
        queue_length: wish.queue_length,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn to_take_back_a_great_many_names_takes_no_time() {
        let hub = Hub::new(ScopeSet::ALL, roverline_schema::Registry::bundled());
        hub.attach(1, Outbox::new(), Form::Native);
        let name = |n: usize| format!("/{n:04}");
        let patterns: Vec<String> = (0..limits::PATTERNS_PER_SESSION).map(name).collect();
        hub.subscribe(1, &Wish { patterns, ..Wish::default() }).unwrap();
        // More than a message has room for, and none of them subscribed.
        let unknown = vec!["/none".to_owned(); limits::INBOUND_MESSAGE_BYTES / 2];
        let begun = std::time::Instant::now();
        hub.unsubscribe(1, &unknown);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        hub.unsubscribe(1, &[name(0)]);
        assert_eq!(hub.lock().subscribers[&1].patterns.len(), limits::PATTERNS_PER_SESSION - 1);
    }

    #[test]
    fn a_throttle_keeps_the_trailing_value() {
        let sample = |seq| RawSample {
            id: roverline_protocol::SampleId { source: Default::default(), seq },
            source_time_ns: 0,
            receive_time_ns: 0,
            payload: Bytes::new(),
        };
        let at = Duration::from_millis;
        let mut throttle = Throttle { interval: Some(at(100)), ..Throttle::default() };
        assert!(throttle.pass(&sample(1), at(0)));
        assert!(!throttle.pass(&sample(2), at(10)));
        assert!(!throttle.pass(&sample(3), at(50)));
        assert!(throttle.due(at(99)).is_none());
        assert_eq!(throttle.due(at(100)).unwrap().id.seq, 3);
        assert!(throttle.due(at(300)).is_none());
        assert!(throttle.pass(&sample(4), at(300)));
    }

    #[test]
    fn a_service_level_slows_what_it_may_and_keeps_the_newest() {
        let outbox = Outbox::new();
        let info = |scope| TopicInfo {
            id: 1,
            name: "/a".into(),
            type_name: "b".into(),
            scopes: ScopeSet::of(&[scope]),
            priority: roverline_protocol::Priority::of(ScopeSet::of(&[scope])),
            delivery: roverline_protocol::Delivery::Every,
            latched: false,
        };
        let sample = |seq| RawSample {
            id: roverline_protocol::SampleId { source: Default::default(), seq },
            source_time_ns: 0,
            receive_time_ns: 0,
            payload: Bytes::new(),
        };
        let at = Duration::from_millis;
        let mut throttle = Throttle::default();
        let sensors = info(roverline_protocol::Scope::Sensors);
        assert!(throttle.serve(&sensors, &outbox, &sample(1), at(0)));
        outbox.set_level(ServiceLevel::Reduced);
        assert!(throttle.serve(&sensors, &outbox, &sample(2), at(0)));
        assert!(!throttle.serve(&sensors, &outbox, &sample(3), at(10)));
        assert!(!throttle.serve(&sensors, &outbox, &sample(4), at(20)));
        assert_eq!(outbox.stats().shed, 1);
        assert_eq!(throttle.due(at(200)).unwrap().id.seq, 4);
        outbox.set_level(ServiceLevel::Mission);
        assert!(!throttle.serve(&sensors, &outbox, &sample(5), at(900)));
        assert!(throttle.due(at(9_000)).is_none());
        assert_eq!((outbox.stats().shed, outbox.stats().dropped), (2, 0));
        outbox.set_level(ServiceLevel::Full);
        assert!(throttle.serve(&sensors, &outbox, &sample(6), at(901)));
        assert!(throttle.serve(&sensors, &outbox, &sample(7), at(902)));
    }
}
