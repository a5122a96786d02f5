//! The rover's topics as a relay declares them: with the rover's routes, with definitions requested
//! once, retained when the endpoint that listed them disappears.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::native::TopicInfo;
use roverline_protocol::routing::Route;
use roverline_protocol::{ScopeSet, limits};
use roverline_schema::Registry;

use crate::{Qos, SchemaText, Sink, TopicDecl, TopicKey};

/// How long a relay keeps a topic that the rover's endpoint no longer lists.
const RELAY_TOPIC_KEEP_MS: u64 = 10_000;
/// Interval at which an unanswered request for a type definition is repeated.
const RELAY_SCHEMA_RETRY_MS: u64 = 5_000;
/// Number of requests for a type definition.
const RELAY_SCHEMA_ATTEMPTS: u32 = 5;

/// How long a topic stays declared after the active endpoint stopped listing it.
const KEEP: Duration = Duration::from_millis(RELAY_TOPIC_KEEP_MS);
/// The interval between two requests of one definition.
const RETRY: Duration = Duration::from_millis(RELAY_SCHEMA_RETRY_MS);

/// The declared topics.
pub(super) struct Topics {
    sink: Arc<dyn Sink>,
    registry: Registry,
    known: HashMap<String, DeclaredTopic>,
    definitions: HashMap<String, Definition>,
    generation: u64,
}

/// A topic as last announced, with its key at the sink.
struct DeclaredTopic {
    info: Arc<TopicInfo>,
    key: Option<TopicKey>,
    /// Since when the active endpoint has not listed it although its scopes include it.
    unlisted: Option<Duration>,
}

/// A type's definition, as far as it is known.
enum Definition {
    /// Included in this build.
    Bundled,
    Requested {
        at: Duration,
        attempts: u32,
    },
    Received(SchemaText),
}

impl Topics {
    pub(super) fn new(sink: Arc<dyn Sink>) -> Topics {
        let generation = sink.generation();
        Topics {
            sink,
            registry: Registry::bundled(),
            known: HashMap::new(),
            definitions: HashMap::new(),
            generation,
        }
    }

    /// The sink's key of a topic, declared if necessary; `None` if it is not wanted.
    pub(super) fn key(&mut self, info: &Arc<TopicInfo>) -> Option<TopicKey> {
        if let Some(known) = self.known.get(&info.name)
            && (Arc::ptr_eq(&known.info, info) || equivalent(&known.info, info))
        {
            return known.key;
        }
        self.declare(info.clone())
    }

    fn declare(&mut self, info: Arc<TopicInfo>) -> Option<TopicKey> {
        if self.known.len() >= limits::TOPICS && !self.known.contains_key(&info.name) {
            return None;
        }
        if !self.definitions.contains_key(&info.type_name) {
            let definition = match self.registry.plan(&info.type_name) {
                Ok(_) if info.encoding.is_cdr() => Definition::Bundled,
                _ => Definition::Requested { at: Duration::ZERO, attempts: 0 },
            };
            self.definitions.insert(info.type_name.clone(), definition);
        }
        let schema = match self.definitions.get(&info.type_name) {
            Some(Definition::Received(definition)) => Some(definition.clone()),
            _ => None,
        };
        let key = self.sink.topic_up(TopicDecl {
            name: info.name.clone(),
            type_name: info.type_name.clone(),
            qos: Qos { reliable: true, transient_local: info.latched },
            encoding: info.encoding.clone(),
            history_depth: info.history_depth,
            schema,
            route: Some(Route {
                scopes: info.scopes,
                priority: info.priority,
                delivery: info.delivery,
                // The rover has already applied its own limit.
                max_rate_hz: None,
                expected_rate_hz: None,
            }),
        });
        self.known.insert(info.name.clone(), DeclaredTopic { info, key, unlisted: None });
        key
    }

    /// The active endpoint lists its topics: all that it has in `scopes`. Topics of other scopes are
    /// not gone, only unavailable from this endpoint.
    pub(super) fn on_topic_list(&mut self, list: &[TopicInfo], scopes: ScopeSet, now: Duration) {
        for info in list {
            if let Some(known) = self.known.get_mut(&info.name) {
                known.unlisted = None;
            }
            self.key(&Arc::new(info.clone()));
        }
        for known in self.known.values_mut() {
            if !list.iter().any(|info| info.name == known.info.name) {
                let missed = known.info.scopes.intersects(scopes);
                known.unlisted = missed.then(|| known.unlisted.unwrap_or(now));
            }
        }
    }

    /// A definition arrived: declares the topics of its type again with it.
    pub(super) fn on_schema(&mut self, type_name: &str, encoding: String, text: &str) {
        if !matches!(self.definitions.get(type_name), Some(Definition::Requested { .. }))
            || text.len() > limits::SCHEMA_TEXT_BYTES
        {
            return;
        }
        self.definitions
            .insert(type_name.to_owned(), Definition::Received(SchemaText { encoding, text: text.into() }));
        self.redeclare(|info| info.type_name == type_name);
    }

    fn redeclare(&mut self, is_meant: impl Fn(&TopicInfo) -> bool) {
        let meant: Vec<_> =
            self.known.values().map(|known| known.info.clone()).filter(|info| is_meant(info)).collect();
        for info in meant {
            self.declare(info);
        }
    }

    /// Removes topics that are gone, declares topics again if the endpoint's scopes changed, and
    /// returns the types whose definitions should be requested now.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<String> {
        let sink = &self.sink;
        self.known.retain(|_, known| {
            let gone = known.unlisted.is_some_and(|since| now.saturating_sub(since) >= KEEP);
            if let Some(key) = known.key.filter(|_| gone) {
                sink.topic_down(key);
            }
            !gone
        });
        let generation = self.sink.generation();
        if std::mem::replace(&mut self.generation, generation) != generation {
            self.redeclare(|_| true);
        }
        let mut requests = Vec::new();
        for (type_name, definition) in &mut self.definitions {
            if let Definition::Requested { at, attempts } = definition
                && *attempts < RELAY_SCHEMA_ATTEMPTS
                && (*attempts == 0 || now.saturating_sub(*at) >= RETRY)
            {
                (*at, *attempts) = (now, *attempts + 1);
                requests.push(type_name.clone());
            }
        }
        requests
    }

    /// Another endpoint became active; it may know types that the last one did not.
    pub(super) fn retry_schemas(&mut self) {
        for definition in self.definitions.values_mut() {
            if let Definition::Requested { attempts, .. } = definition {
                *attempts = 0;
            }
        }
    }
}

/// Whether two announcements are equivalent; topic ids are local to each endpoint.
fn equivalent(a: &TopicInfo, b: &TopicInfo) -> bool {
    (&a.type_name, &a.encoding, a.history_depth, a.scopes, a.priority, a.delivery, a.latched)
        == (&b.type_name, &b.encoding, b.history_depth, b.scopes, b.priority, b.delivery, b.latched)
}

#[cfg(test)]
mod tests {
    use roverline_protocol::{Delivery, Priority, Routing, Scope, Tier};

    use super::*;
    use crate::recording_sink::{RecordingSink, SourceEvent};

    fn info(name: &str, type_name: &str, scopes: &[Scope]) -> TopicInfo {
        TopicInfo {
            id: 7,
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            scopes: ScopeSet::of(scopes),
            priority: Priority::Mission,
            delivery: Delivery::Latest,
            latched: true,
            encoding: Default::default(),
            history_depth: 1,
        }
    }

    #[test]
    fn the_rovers_route_wins_and_definitions_are_requested_once() {
        let ingress = RecordingSink::new(Arc::new(Routing::default()), Tier::Secondary.scopes());
        let mut topics = Topics::new(ingress.clone());
        let at = Duration::from_secs;
        // Our own table would route it as a sensor topic.
        let arm = info("/arm", "arm_msgs/msg/Arm", &[Scope::Mission]);
        topics.on_topic_list(
            &[arm.clone(), info("/imu", "sensor_msgs/msg/Imu", &[Scope::Sensors])],
            ScopeSet::ALL,
            at(0),
        );
        let recorded = ingress.take();
        let [SourceEvent::TopicUp(key, decl)] = &recorded[..] else { panic!("{recorded:?}") };
        let route = decl.route.unwrap();
        assert_eq!((route.priority, route.delivery), (Priority::Mission, Delivery::Latest));
        assert!(decl.qos.transient_local && decl.schema.is_none());
        assert_eq!(
            topics.key(&Arc::new(TopicInfo { id: 9, ..arm })),
            Some(*key),
            "another endpoint's number"
        );
        assert_eq!(topics.tick(at(1)), ["arm_msgs/msg/Arm"]);
        assert_eq!(topics.tick(at(2)), [""; 0]);
        assert_eq!(topics.tick(at(7)), ["arm_msgs/msg/Arm"], "no answer");
        topics.on_schema("arm_msgs/msg/Arm", "ros2msg".to_owned(), "int32 x");
        assert_eq!(topics.tick(at(60)), [""; 0]);
        let recorded = ingress.take();
        let [SourceEvent::TopicUp(redeclare, decl)] = &recorded[..] else { panic!("{recorded:?}") };
        assert_eq!((redeclare, &*decl.schema.as_ref().unwrap().text), (key, "int32 x"));
    }

    #[test]
    fn a_topic_is_removed_only_if_an_endpoint_with_its_scope_omits_it() {
        let ingress = RecordingSink::new(Arc::new(Routing::default()), ScopeSet::ALL);
        let mut topics = Topics::new(ingress.clone());
        let at = Duration::from_secs;
        let battery = info("/battery", "sensor_msgs/msg/BatteryState", &[Scope::Battery]);
        topics.on_topic_list(std::slice::from_ref(&battery), ScopeSet::ALL, at(0));
        // The primary is gone; the topic is not in the secondary's scopes.
        topics.on_topic_list(&[], Tier::Secondary.scopes(), at(1));
        topics.tick(at(100));
        // The primary is back and has not discovered the topic yet.
        topics.on_topic_list(&[], ScopeSet::ALL, at(101));
        topics.tick(at(105));
        topics.on_topic_list(std::slice::from_ref(&battery), ScopeSet::ALL, at(106));
        topics.tick(at(200));
        assert_eq!(ingress.take().len(), 1, "declared once and never taken back");
        topics.on_topic_list(&[], ScopeSet::ALL, at(201));
        topics.tick(at(211));
        assert!(matches!(ingress.take()[..], [SourceEvent::TopicDown]));
    }
}
