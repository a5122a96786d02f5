//! The rover as a pure state machine: ticks in, messages out. The messages of tick `n` follow from seed,
//! epoch, faults, inputs and `n` alone; no clock is involved.

use bytes::Bytes;
use roverline_protocol::{Guid, SampleId};

use crate::sim::fault::{Fault, FaultKind};
use crate::sim::input::{Input, InputKind};
use crate::sim::messages;
use crate::sim::state::{EventTopics, State};
use crate::sim::ticks::{CONTROL_TICKS, SORTIE_TICKS};
use crate::sim::topics::{self, Content, Offer, TABLE, TopicSet};

/// A message of the rover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimMessage {
    /// Index of its topic in [`crate::sim::topics`].
    pub topic: usize,
    /// The same in every process with the same seed and inputs.
    pub id: SampleId,
    /// The time of the tick, nanoseconds since the Unix epoch.
    pub stamp_ns: i64,
    /// CDR with its 4-byte encapsulation header.
    pub payload: Bytes,
}

/// The rover and its publishers.
#[derive(Clone, Debug)]
pub struct Rover {
    seed: u64,
    state: State,
    /// Inputs, including the emergency stops of the fault script, sorted by tick and then by arrival.
    inputs: Vec<Input>,
    /// Number of inputs that have taken effect.
    applied: usize,
    /// The next tick.
    next: u64,
    schedule: Vec<TopicSet>,
    /// The state last published on the event topics; `None` publishes all latched topics again.
    published: Option<EventTopics>,
    /// Messages so far in this sortie, and their writer GUIDs.
    counts: Vec<u64>,
    sources: Vec<Guid>,
    latched: Vec<Option<SimMessage>>,
    /// The topics published by the last tick.
    due: TopicSet,
    selected: TopicSet,
    messages: Vec<SimMessage>,
}

impl Rover {
    /// A rover before tick 0.
    #[must_use]
    pub fn new(seed: u64, epoch_unix_ns: i64, faults: &[Fault], inputs: &[Input]) -> Self {
        let mut rover = Self {
            seed,
            state: State::new(seed, epoch_unix_ns, faults),
            inputs: Vec::new(),
            applied: 0,
            next: 0,
            schedule: topics::schedule(),
            published: None,
            counts: vec![0; TABLE.len()],
            sources: vec![Guid::default(); TABLE.len()],
            latched: vec![None; TABLE.len()],
            due: 0,
            selected: TopicSet::MAX,
            messages: Vec::new(),
        };
        rover.add_inputs(&scripted_stops(faults));
        rover.add_inputs(inputs);
        rover
    }

    /// Serializes only the topics for which `wanted` (by name and type) is true; the others are still
    /// counted.
    pub fn select(&mut self, mut wanted: impl FnMut(&str, &str) -> bool) {
        self.selected = topics::topics_where(|t| wanted(&t.name, t.type_name));
    }

    /// The tick of the next step, which is also the number of steps so far.
    #[must_use]
    pub fn next_tick(&self) -> u64 {
        self.next
    }

    /// Executes a tick and returns its messages on the selected topics.
    pub fn step(&mut self) -> &[SimMessage] {
        self.advance();
        let mut due = self.due & self.selected;
        self.messages.clear();
        while let Some(topic) = pop_lowest(&mut due) {
            let latched = self.latched[topic].clone().filter(|_| TABLE[topic].offer == Offer::Latched);
            let message = latched.unwrap_or_else(|| self.message(topic));
            self.messages.push(message);
        }
        &self.messages
    }

    /// Executes a tick without encoding its messages.
    pub fn advance(&mut self) {
        let tick = self.next;
        if tick.is_multiple_of(SORTIE_TICKS) {
            self.begin_sortie(tick);
        }
        let had_inputs = self.apply_inputs(tick);
        self.state.step(tick);
        let silent = self.state.faults.is_active(FaultKind::CommsSilence);
        self.due = if silent { 0 } else { self.schedule[(tick % topics::CYCLE_TICKS) as usize] };
        if !silent && (had_inputs || tick.is_multiple_of(CONTROL_TICKS) || self.published.is_none()) {
            self.due |= self.changed_topics();
        }
        self.due &= !self.blocked();
        let mut due = self.due;
        while let Some(topic) = pop_lowest(&mut due) {
            self.counts[topic] += 1;
            if TABLE[topic].offer == Offer::Latched {
                self.latched[topic] = Some(self.message(topic));
            }
        }
        self.next = tick + 1;
    }

    /// Executes all ticks before `tick` without encoding their messages. Complete sorties are skipped,
    /// because each starts from the same state; so this takes tens of milliseconds at most.
    pub fn advance_to(&mut self, tick: u64) {
        let sortie = tick.saturating_sub(1) / SORTIE_TICKS * SORTIE_TICKS;
        self.next = self.next.max(sortie);
        while self.next < tick {
            self.advance();
        }
    }

    /// Adds inputs in the order of their arrival. An input whose tick has passed makes the rover replay
    /// the sortie, so that all processes reach the same state.
    pub fn add_inputs(&mut self, inputs: &[Input]) {
        let mut late = false;
        for input in inputs {
            let index = self.inputs.partition_point(|other| other.tick <= input.tick);
            self.inputs.insert(index, *input);
            late |= input.tick < self.next;
        }
        if late {
            let now = self.next;
            self.next = now.saturating_sub(1) / SORTIE_TICKS * SORTIE_TICKS;
            self.applied = 0;
            self.state.rewind();
            self.advance_to(now);
        }
    }

    /// The last message of each latched topic that has one.
    pub fn latched(&self) -> impl Iterator<Item = &SimMessage> {
        self.latched.iter().flatten()
    }

    /// Whether every node of the rover is alive.
    #[must_use]
    pub fn nodes_complete(&self) -> bool {
        !self.state.faults.is_active(FaultKind::NodeDeath)
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    fn begin_sortie(&mut self, tick: u64) {
        let sortie = tick / SORTIE_TICKS;
        self.state.begin_sortie();
        self.counts.fill(0);
        self.published = None;
        for (source, topic) in self.sources.iter_mut().zip(TABLE.iter()) {
            // Counting restarts with each sortie and each run, so each needs other writers.
            let writer = format!("sim:{}:{}:{}:{sortie}", self.seed, self.state.epoch_unix_ns, topic.name);
            *source = Guid::from_name(&writer);
        }
    }

    /// Applies the inputs up to a tick; returns whether there were any.
    fn apply_inputs(&mut self, tick: u64) -> bool {
        let before = self.applied;
        while let Some(input) = self.inputs.get(self.applied).filter(|input| input.tick <= tick) {
            match input.kind {
                InputKind::EmergencyStop(engaged) => self.state.set_emergency(engaged),
                InputKind::Command(twist) => self.state.set_operator(twist.limited(), input.tick),
                InputKind::Autonomy(enabled) => self.state.set_autonomy(enabled),
                InputKind::Restart => self.state.restart_mission(),
                InputKind::MaxSpeed(speed) => self.state.set_max_speed(speed),
            }
            self.applied += 1;
        }
        self.applied != before
    }

    /// The event topics whose value differs from the one last published.
    fn changed_topics(&mut self) -> TopicSet {
        let now = self.state.event_topics();
        let Some(published) = self.published.replace(now) else {
            return topics::topics_where(|t| t.offer == Offer::Latched);
        };
        if published == now {
            return 0;
        }
        topics::topics_where(|t| match t.content {
            Content::MissionName => published.mission != now.mission,
            Content::MissionStatus => published.status != now.status,
            Content::Samples => published.samples != now.samples,
            Content::Mode => published.mode != now.mode,
            Content::Enabled => published.enabled != now.enabled,
            Content::Led => published.led != now.led,
            Content::EmergencyStop => published.emergency != now.emergency,
            Content::BoundaryViolation => published.outside != now.outside,
            _ => false,
        })
    }

    /// The topics that a fault blocks.
    fn blocked(&self) -> TopicSet {
        let imu = self.state.faults.is_active(FaultKind::ImuLoss);
        let node = self.state.faults.is_active(FaultKind::NodeDeath);
        if !imu && !node {
            return 0;
        }
        topics::topics_where(|t| match t.content {
            Content::Imu => imu,
            Content::Heartbeat(i) => node && i == topics::FAULTY_NODE,
            _ => false,
        })
    }

    /// The message of a topic at the last tick.
    fn message(&self, topic: usize) -> SimMessage {
        SimMessage {
            topic,
            id: SampleId { source: self.sources[topic], seq: self.counts[topic] },
            stamp_ns: self.state.stamp_ns(),
            payload: Bytes::from(messages::encode(&self.state, TABLE[topic].content)),
        }
    }
}

/// The emergency stops that a fault script engages and releases.
fn scripted_stops(faults: &[Fault]) -> Vec<Input> {
    let stop = |tick, engaged| Input { tick, kind: InputKind::EmergencyStop(engaged) };
    let stops = faults.iter().filter(|fault| fault.kind == FaultKind::Estop);
    stops
        .flat_map(|fault| [Some(stop(fault.start_tick, true)), fault.end_tick.map(|end| stop(end, false))])
        .flatten()
        .collect()
}

/// Removes and returns the lowest member of a set.
fn pop_lowest(set: &mut TopicSet) -> Option<usize> {
    let lowest = (*set != 0).then(|| set.trailing_zeros() as usize)?;
    *set &= *set - 1;
    Some(lowest)
}
