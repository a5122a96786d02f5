//! Publishes the rover's messages to a sink as they become due. Time is an argument.

use std::sync::Arc;

use crate::sim::graph;
use crate::sim::input::{Input, PendingInput};
use crate::sim::input_log::InputLogReader;
use crate::sim::rover::{Rover, SimMessage};
use crate::sim::services::Services;
use crate::sim::ticks::{TICK_NS, TICKS_PER_S};
use crate::sim::topics::topics;
use crate::{RawSample, Sink, TopicDecl, TopicKey};

/// A longer backlog, as after a suspend, is skipped because it would be too old to send. A shorter one
/// is caught up, because a stalled computer does not stop a rover.
const MAX_BACKLOG_TICKS: u64 = TICKS_PER_S * 9 / 10;

/// A rover and its sink.
pub(super) struct Engine {
    rover: Rover,
    input_log: InputLogReader,
    epoch_unix_ns: i64,
    sink: Arc<dyn Sink>,
    topics: Vec<TopicDecl>,
    wanted: Vec<bool>,
    /// The sink's generation when `wanted` was last computed.
    generation: u64,
    keys: Vec<Option<TopicKey>>,
    /// The last delivered identity of each latched topic.
    published: Vec<Option<roverline_protocol::SampleId>>,
    services: Arc<Services>,
    /// The inputs of the last published graph: whether all nodes are alive, and how often the served
    /// services changed.
    published_graph: Option<(bool, u64)>,
}

impl Engine {
    /// Catches up with `now` without delivering, then delivers the latched values.
    pub(super) fn start(
        mut rover: Rover,
        input_log: InputLogReader,
        epoch_unix_ns: i64,
        (sink, services): (Arc<dyn Sink>, Arc<Services>),
        now_ns: i64,
    ) -> Self {
        let topics = topics();
        let generation = sink.generation();
        let wanted: Vec<bool> = topics.iter().map(|t| sink.wants(&t.name, &t.type_name)).collect();
        rover.select(|name, type_name| sink.wants(name, type_name));
        let count = topics.len();
        let mut engine = Self {
            rover,
            input_log,
            epoch_unix_ns,
            sink,
            topics,
            wanted,
            generation,
            keys: vec![None; count],
            published: vec![None; count],
            services,
            published_graph: None,
        };
        engine.declare();
        engine.read_inputs();
        let due = engine.due(now_ns);
        // The last tick is left to the first `poll`, so that there are samples at once.
        engine.rover.advance_to(due.saturating_sub(1));
        engine.deliver_latched(now_ns);
        engine
    }

    /// Delivers everything due at `now`.
    pub(super) fn poll(&mut self, now_ns: i64) {
        self.read_inputs();
        if self.sink.generation() != self.generation {
            self.update_selection(now_ns);
        }
        let due = self.due(now_ns);
        if due.saturating_sub(self.rover.next_tick()) > MAX_BACKLOG_TICKS {
            self.rover.advance_to(due - 1);
            self.deliver_latched(now_ns);
        }
        while self.rover.next_tick() < due {
            if self.rover.next_tick().is_multiple_of(TICKS_PER_S) {
                self.declare();
            }
            let Self { rover, sink, keys, published, .. } = self;
            for message in rover.step() {
                deliver(sink.as_ref(), keys, published, message, now_ns);
            }
        }
        self.publish_graph();
    }

    /// When the next tick is due, nanoseconds since the Unix epoch.
    pub(super) fn next_due_ns(&self) -> i64 {
        self.epoch_unix_ns.saturating_add((self.rover.next_tick() as i64).saturating_mul(TICK_NS))
    }

    /// The tick due at a time: tick `n` is due `n` times 10 ms after the epoch.
    fn due(&self, now_ns: i64) -> u64 {
        let since = now_ns.saturating_sub(self.epoch_unix_ns);
        if since < 0 { 0 } else { (since / TICK_NS) as u64 + 1 }
    }

    fn read_inputs(&mut self) {
        let pending = self.input_log.read();
        if !pending.is_empty() {
            if let Some(speed) = pending.iter().rev().find_map(PendingInput::as_max_speed) {
                self.services.set_max_speed(speed);
            }
            let inputs: Vec<Input> = pending.iter().filter_map(|g| g.at_epoch(self.epoch_unix_ns)).collect();
            self.rover.add_inputs(&inputs);
        }
    }

    /// Declares the wanted topics without a key; the sink may have been full before.
    fn declare(&mut self) {
        for ((decl, wanted), key) in self.topics.iter().zip(&self.wanted).zip(&mut self.keys) {
            if *wanted && key.is_none() {
                *key = self.sink.topic_up(decl.clone());
            }
        }
    }

    /// Updates the selection after a change of the topics that the sink wants.
    fn update_selection(&mut self, now_ns: i64) {
        // Read the generation first, so that a concurrent change is noticed the next time.
        self.generation = self.sink.generation();
        let Self { rover, sink, topics, .. } = self;
        rover.select(|name, type_name| sink.wants(name, type_name));
        for (index, topic) in topics.iter().enumerate() {
            self.wanted[index] = self.sink.wants(&topic.name, &topic.type_name);
            if !self.wanted[index] {
                (self.keys[index], self.published[index]) = (None, None);
            }
        }
        self.declare();
        self.deliver_latched(now_ns);
    }

    /// Delivers the latched values that have changed since their last delivery.
    fn deliver_latched(&mut self, now_ns: i64) {
        let Self { rover, sink, keys, published, .. } = self;
        for message in rover.latched() {
            if published[message.topic] != Some(message.id) {
                deliver(sink.as_ref(), keys, published, message, now_ns);
            }
        }
        self.publish_graph();
    }

    fn publish_graph(&mut self) {
        let now = (self.rover.nodes_complete(), self.services.changes());
        if self.published_graph != Some(now) {
            self.published_graph = Some(now);
            self.sink.graph(graph::graph(now.0, &self.services.offered()));
        }
    }
}

fn deliver(
    sink: &dyn Sink,
    keys: &[Option<TopicKey>],
    published: &mut [Option<roverline_protocol::SampleId>],
    message: &SimMessage,
    now_ns: i64,
) {
    let Some(key) = keys[message.topic] else { return };
    published[message.topic] = Some(message.id);
    let sample = RawSample {
        id: message.id,
        source_time_ns: message.stamp_ns,
        receive_time_ns: now_ns,
        payload: message.payload.clone(),
    };
    sink.sample(key, sample);
}
