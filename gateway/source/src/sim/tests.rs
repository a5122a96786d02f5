//! Tests of the whole rover. Time is injected everywhere: nothing here waits for a clock.

mod core;
mod faults;
mod services;
mod sharing;
mod source;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use roverline_schema::{Registry, Value};

use crate::sim::*;
use crate::{Graph, NodeInfo, Publication, RawSample, TopicDecl, TopicKey};

const EPOCH_NS: i64 = 1_780_000_000_000_000_000;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::bundled);

fn rover(seed: u64, faults: &[&str], inputs: &[Input]) -> Rover {
    let faults: Vec<Fault> = faults.iter().map(|f| Fault::parse(f).unwrap()).collect();
    Rover::new(seed, EPOCH_NS, &faults, inputs)
}

fn index(topic: &str) -> usize {
    topics().iter().position(|t| t.name == topic).unwrap()
}

fn decode(message: &SimMessage) -> Value {
    let topic = &topics::TABLE[message.topic];
    let plan = REGISTRY.plan(topic.type_name).unwrap();
    plan.decode(&message.payload).unwrap_or_else(|e| panic!("{}: {e}", topic.name))
}

/// Executes ticks up to a time and returns all messages.
fn record(rover: &mut Rover, until_s: f64) -> Vec<SimMessage> {
    let mut all = Vec::new();
    while rover.next_tick() < (until_s * 100.0) as u64 {
        all.extend_from_slice(rover.step());
    }
    all
}

/// One field of a topic's messages, with their times in seconds.
fn series(messages: &[SimMessage], topic: &str, path: &str) -> Vec<(f64, Value)> {
    let topic_index = index(topic);
    let plan = REGISTRY.plan(topics::TABLE[topic_index].type_name).unwrap();
    let of_topic = messages.iter().filter(|m| m.topic == topic_index);
    of_topic
        .map(|m| {
            let field = plan.field(&m.payload, path).unwrap().unwrap_or_else(|| panic!("{topic} {path}"));
            ((m.stamp_ns - EPOCH_NS) as f64 / 1e9, field)
        })
        .collect()
}

fn numbers(messages: &[SimMessage], topic: &str, path: &str) -> Vec<(f64, f64)> {
    series(messages, topic, path).into_iter().map(|(t, v)| (t, v.as_f64().unwrap())).collect()
}

fn flags(messages: &[SimMessage], topic: &str) -> Vec<(f64, bool)> {
    series(messages, topic, "data").into_iter().map(|(t, v)| (t, v.as_bool().unwrap())).collect()
}

/// A sink that records what it receives.
#[derive(Default)]
struct Recorder {
    /// The topics it wants; empty: all.
    only: Vec<&'static str>,
    received: Mutex<Received>,
}

#[derive(Clone, Default)]
struct Received {
    topics: Vec<String>,
    samples: Vec<(String, RawSample)>,
    nodes: Vec<Vec<NodeInfo>>,
    states: Vec<SourceState>,
}

impl Recorder {
    fn only(only: &[&'static str]) -> Arc<Self> {
        Arc::new(Self { only: only.to_vec(), ..Self::default() })
    }

    fn received(&self) -> Received {
        self.received.lock().unwrap().clone()
    }

    /// Payloads by topic and identity.
    fn by_id(&self) -> BTreeMap<(String, roverline_protocol::SampleId), bytes::Bytes> {
        self.received().samples.into_iter().map(|(topic, s)| ((topic, s.id), s.payload)).collect()
    }
}

impl Sink for Recorder {
    fn wants(&self, name: &str, _: &str) -> bool {
        self.only.is_empty() || self.only.contains(&name)
    }

    fn topic_up(&self, decl: TopicDecl) -> Option<TopicKey> {
        let mut received = self.received.lock().unwrap();
        received.topics.push(decl.name);
        Some(TopicKey(received.topics.len() as u32 - 1))
    }

    fn topic_down(&self, _: TopicKey) {}

    fn sample(&self, key: TopicKey, sample: RawSample) {
        let mut received = self.received.lock().unwrap();
        let topic = received.topics[key.0 as usize].clone();
        received.samples.push((topic, sample));
    }

    fn graph(&self, Graph { nodes, .. }: Graph) {
        self.received.lock().unwrap().nodes.push(nodes);
    }

    fn state(&self, state: SourceState) {
        self.received.lock().unwrap().states.push(state);
    }

    fn has_listener(&self) -> bool {
        true
    }
}

/// A clock that the test sets.
struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    fn at(seconds: f64) -> Arc<Self> {
        let hand = Self(0.into());
        hand.set(seconds);
        Arc::new(hand)
    }

    fn set(&self, seconds: f64) {
        let ns = EPOCH_NS + (seconds * 1e9) as i64;
        self.0.store(ns, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_unix_ns(&self) -> i64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

fn stop_message(engaged: bool) -> Publication {
    Publication {
        topic: "/emergency_stop".into(),
        type_name: "std_msgs/msg/Bool".into(),
        payload: vec![0, 1, 0, 0, u8::from(engaged)].into(),
        latched: true,
    }
}
