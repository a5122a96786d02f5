//! The rover's topics as a relay declares them: with the rover's own route, with definitions asked
//! for once, and kept when the endpoint that listed them is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::native::TopicInfo;
use roverline_protocol::routing::Route;
use roverline_protocol::{ScopeSet, limits};
use roverline_schema::Registry;

use crate::{Qos, SchemaText, Sink, TopicDecl, TopicKey};

const KEEP: Duration = Duration::from_millis(limits::RELAY_TOPIC_KEEP_MS);
const RETRY: Duration = Duration::from_millis(limits::RELAY_SCHEMA_RETRY_MS);

/// What has been declared.
pub(super) struct Topics {
    sink: Arc<dyn Sink>,
    registry: Registry,
    known: HashMap<String, Known>,
    definitions: HashMap<String, Definition>,
    generation: u64,
}

struct Known {
    info: Arc<TopicInfo>,
    key: Option<TopicKey>,
    /// Since when the endpoint in use does not list it, though it should.
    unlisted: Option<Duration>,
}

enum Definition {
    /// We have it in any case.
    Bundled,
    Asked {
        at: Duration,
        attempts: u32,
    },
    Told(Arc<str>),
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

    /// The sink's key of a topic, declared if need be; `None` when nobody wants it.
    pub(super) fn key(&mut self, info: &Arc<TopicInfo>) -> Option<TopicKey> {
        if let Some(known) = self.known.get(&info.name)
            && (Arc::ptr_eq(&known.info, info) || same(&known.info, info))
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
                Ok(_) => Definition::Bundled,
                Err(_) => Definition::Asked { at: Duration::ZERO, attempts: 0 },
            };
            self.definitions.insert(info.type_name.clone(), definition);
        }
        let schema = match self.definitions.get(&info.type_name) {
            Some(Definition::Told(text)) => {
                Some(SchemaText { encoding: "ros2msg".to_owned(), text: text.clone() })
            }
            _ => None,
        };
        let key = self.sink.topic_up(TopicDecl {
            name: info.name.clone(),
            type_name: info.type_name.clone(),
            qos: Qos { reliable: true, transient_local: info.latched },
            schema,
            route: Some(Route {
                scopes: info.scopes,
                priority: info.priority,
                delivery: info.delivery,
                // What the rover sends has passed its own limit.
                max_rate_hz: None,
            }),
        });
        self.known.insert(info.name.clone(), Known { info, key, unlisted: None });
        key
    }

    /// The endpoint in use lists its topics: all that it has in `scopes`. Those of other scopes are
    /// not gone, only not to be had from there.
    pub(super) fn listed(&mut self, list: &[TopicInfo], scopes: ScopeSet, now: Duration) {
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

    /// A definition came: topics of its type are declared with it.
    pub(super) fn defined(&mut self, type_name: &str, text: &str) {
        if !matches!(self.definitions.get(type_name), Some(Definition::Asked { .. }))
            || text.len() > limits::SCHEMA_TEXT_BYTES
        {
            return;
        }
        self.definitions.insert(type_name.to_owned(), Definition::Told(text.into()));
        self.again(|info| info.type_name == type_name);
    }

    fn again(&mut self, is_meant: impl Fn(&TopicInfo) -> bool) {
        let meant: Vec<_> =
            self.known.values().map(|known| known.info.clone()).filter(|info| is_meant(info)).collect();
        for info in meant {
            self.declare(info);
        }
    }

    /// Lets go of topics that are gone, declares anew where the endpoints' scopes changed, and
    /// returns the types whose definitions are to be asked for now.
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
            self.again(|_| true);
        }
        let mut ask = Vec::new();
        for (type_name, definition) in &mut self.definitions {
            if let Definition::Asked { at, attempts } = definition
                && *attempts < limits::RELAY_SCHEMA_ATTEMPTS
                && (*attempts == 0 || now.saturating_sub(*at) >= RETRY)
            {
                (*at, *attempts) = (now, *attempts + 1);
                ask.push(type_name.clone());
            }
        }
        ask
    }

    /// Another endpoint is in use: it may know the types that the last one did not.
    pub(super) fn ask_anew(&mut self) {
        for definition in self.definitions.values_mut() {
            if let Definition::Asked { attempts, .. } = definition {
                *attempts = 0;
            }
        }
    }
}

/// Whether two announcements say the same; each endpoint has its own numbers.
fn same(a: &TopicInfo, b: &TopicInfo) -> bool {
    (&a.type_name, a.scopes, a.priority, a.delivery, a.latched)
        == (&b.type_name, b.scopes, b.priority, b.delivery, b.latched)
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
        }
    }

    #[test]
    fn the_rovers_route_holds_and_definitions_are_asked_for_once() {
        let ingress = RecordingSink::new(Arc::new(Routing::default()), Tier::Secondary.scopes());
        let mut topics = Topics::new(ingress.clone());
        let at = Duration::from_secs;
        // Our own table would take it for a sensor's.
        let arm = info("/arm", "arm_msgs/msg/Arm", &[Scope::Mission]);
        topics.listed(
            &[arm.clone(), info("/imu", "sensor_msgs/msg/Imu", &[Scope::Sensors])],
            ScopeSet::ALL,
            at(0),
        );
        let told = ingress.take();
        let [SourceEvent::TopicUp(key, decl)] = &told[..] else { panic!("{told:?}") };
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
        assert_eq!(topics.tick(at(7)), ["arm_msgs/msg/Arm"], "nobody answered");
        topics.defined("arm_msgs/msg/Arm", "int32 x");
        assert_eq!(topics.tick(at(60)), [""; 0]);
        let told = ingress.take();
        let [SourceEvent::TopicUp(again, decl)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((again, &*decl.schema.as_ref().unwrap().text), (key, "int32 x"));
    }

    #[test]
    fn a_topic_goes_only_when_who_should_list_it_does_not() {
        let ingress = RecordingSink::new(Arc::new(Routing::default()), ScopeSet::ALL);
        let mut topics = Topics::new(ingress.clone());
        let at = Duration::from_secs;
        let battery = info("/battery", "sensor_msgs/msg/BatteryState", &[Scope::Battery]);
        topics.listed(std::slice::from_ref(&battery), ScopeSet::ALL, at(0));
        // The primary is gone; the secondary does not have it in scope.
        topics.listed(&[], Tier::Secondary.scopes(), at(1));
        topics.tick(at(100));
        // The primary is back, and has not heard of it yet.
        topics.listed(&[], ScopeSet::ALL, at(101));
        topics.tick(at(105));
        topics.listed(std::slice::from_ref(&battery), ScopeSet::ALL, at(106));
        topics.tick(at(200));
        assert_eq!(ingress.take().len(), 1, "declared once and never taken back");
        topics.listed(&[], ScopeSet::ALL, at(201));
        topics.tick(at(211));
        assert!(matches!(ingress.take()[..], [SourceEvent::TopicDown]));
    }
}
