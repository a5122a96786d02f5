//! Plays the rover to a sink: what is due at a given time. Time comes from outside.

use std::sync::Arc;

use crate::sim::graph;
use crate::sim::input::{Given, Input};
use crate::sim::input_log::InboxReader;
use crate::sim::rover::{Rover, SimMessage};
use crate::sim::services::Services;
use crate::sim::ticks::{TICK_NS, TICKS_PER_S};
use crate::sim::topics::topics;
use crate::{RawSample, Sink, TopicDecl, TopicKey};

/// A longer backlog, as after a freeze, is skipped: it would be too old to be sent. A shorter one is
/// made up for, as a computer that stalls is no rover that stops.
const MAX_BACKLOG_TICKS: u64 = TICKS_PER_S * 9 / 10;

/// A rover and the sink that hears it.
pub(super) struct Engine {
    rover: Rover,
    inbox: InboxReader,
    epoch_unix_ns: i64,
    sink: Arc<dyn Sink>,
    topics: Vec<TopicDecl>,
    wanted: Vec<bool>,
    /// The sink's, when `wanted` was asked.
    generation: u64,
    keys: Vec<Option<TopicKey>>,
    /// The identity of what was last delivered of each latched topic.
    told: Vec<Option<roverline_protocol::SampleId>>,
    services: Arc<Services>,
    /// What the graph told last depends on: all nodes live, and how often other services changed.
    graph_told: Option<(bool, u64)>,
}

impl Engine {
    /// Catches up with `now` without delivering, then delivers the latched values.
    pub(super) fn start(
        mut rover: Rover,
        inbox: InboxReader,
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
            inbox,
            epoch_unix_ns,
            sink,
            topics,
            wanted,
            generation,
            keys: vec![None; count],
            told: vec![None; count],
            services,
            graph_told: None,
        };
        engine.declare();
        engine.take_inputs();
        let due = engine.due(now_ns);
        // The last one is left to the first `poll`, so that there is something to see at once.
        engine.rover.advance_to(due.saturating_sub(1));
        engine.deliver_latched(now_ns);
        engine
    }

    /// Delivers what is due at `now`.
    pub(super) fn poll(&mut self, now_ns: i64) {
        self.take_inputs();
        if self.sink.generation() != self.generation {
            self.ask_anew(now_ns);
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
            let Self { rover, sink, keys, told, .. } = self;
            for message in rover.step() {
                deliver(sink.as_ref(), keys, told, message, now_ns);
            }
        }
        self.tell_graph();
    }

    /// When the next tick is due, nanoseconds since the Unix epoch.
    pub(super) fn next_due_ns(&self) -> i64 {
        self.epoch_unix_ns.saturating_add((self.rover.next_tick() as i64).saturating_mul(TICK_NS))
    }

    /// How many ticks are due at a time: tick `n` is due from the epoch plus `n` times 10 ms.
    fn due(&self, now_ns: i64) -> u64 {
        let since = now_ns.saturating_sub(self.epoch_unix_ns);
        if since < 0 { 0 } else { (since / TICK_NS) as u64 + 1 }
    }

    fn take_inputs(&mut self) {
        let given = self.inbox.read();
        if !given.is_empty() {
            if let Some(speed) = given.iter().rev().find_map(Given::as_max_speed) {
                self.services.set_max_speed(speed);
            }
            let inputs: Vec<Input> = given.iter().filter_map(|g| g.at_epoch(self.epoch_unix_ns)).collect();
            self.rover.add_inputs(&inputs);
        }
    }

    /// Declares the wanted topics that have no key yet: there may not have been room before.
    fn declare(&mut self) {
        for ((decl, wanted), key) in self.topics.iter().zip(&self.wanted).zip(&mut self.keys) {
            if *wanted && key.is_none() {
                *key = self.sink.topic_up(decl.clone());
            }
        }
    }

    /// The sink wants other topics than before.
    fn ask_anew(&mut self, now_ns: i64) {
        // First, so that a change in the meantime is seen the next time.
        self.generation = self.sink.generation();
        let Self { rover, sink, topics, .. } = self;
        rover.select(|name, type_name| sink.wants(name, type_name));
        for (index, topic) in topics.iter().enumerate() {
            self.wanted[index] = self.sink.wants(&topic.name, &topic.type_name);
            if !self.wanted[index] {
                (self.keys[index], self.told[index]) = (None, None);
            }
        }
        self.declare();
        self.deliver_latched(now_ns);
    }

    /// Delivers the latched values that are not those last delivered.
    fn deliver_latched(&mut self, now_ns: i64) {
        let Self { rover, sink, keys, told, .. } = self;
        for message in rover.latched() {
            if told[message.topic] != Some(message.id) {
                deliver(sink.as_ref(), keys, told, message, now_ns);
            }
        }
        self.tell_graph();
    }

    fn tell_graph(&mut self) {
        let now = (self.rover.nodes_complete(), self.services.changes());
        if self.graph_told != Some(now) {
            self.graph_told = Some(now);
            self.sink.graph(graph::graph(now.0, &self.services.offered()));
        }
    }
}

fn deliver(
    sink: &dyn Sink,
    keys: &[Option<TopicKey>],
    told: &mut [Option<roverline_protocol::SampleId>],
    message: &SimMessage,
    now_ns: i64,
) {
    let Some(key) = keys[message.topic] else { return };
    told[message.topic] = Some(message.id);
    let sample = RawSample {
        id: message.id,
        source_time_ns: message.stamp_ns,
        receive_time_ns: now_ns,
        payload: message.payload.clone(),
    };
    sink.sample(key, sample);
}
