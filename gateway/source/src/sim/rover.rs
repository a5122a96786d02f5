//! The rover as a pure machine: tick in, messages out. The messages of tick `n` follow from seed,
//! epoch, faults, inputs and `n` alone; there is no clock in here.

use bytes::Bytes;
use roverline_protocol::{Guid, SampleId};

use crate::sim::fault::{Fault, FaultKind};
use crate::sim::input::{Input, InputKind};
use crate::sim::messages;
use crate::sim::state::{Headlines, State};
use crate::sim::ticks::{CONTROL_TICKS, SORTIE_TICKS};
use crate::sim::topics::{self, Content, Offer, TABLE, TopicSet};

/// A message of the rover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimMessage {
    /// Its topic's index in [`crate::sim::topics`].
    pub topic: usize,
    /// Alike in every process with the same seed and inputs.
    pub id: SampleId,
    /// The tick's time, nanoseconds since the Unix epoch.
    pub stamp_ns: i64,
    /// CDR with its 4-byte encapsulation header.
    pub payload: Bytes,
}

/// The rover and its publishers.
#[derive(Clone, Debug)]
pub struct Rover {
    seed: u64,
    state: State,
    /// Inputs and the emergency stops of the faults by tick; in the order of arrival in a tick.
    inputs: Vec<Input>,
    /// How many of them have taken effect.
    applied: usize,
    /// The tick that comes next.
    next: u64,
    schedule: Vec<TopicSet>,
    /// What was last told of the headlines; `None` makes everything latched be told.
    told: Option<Headlines>,
    /// Messages so far in this sortie, and who sends them.
    counts: Vec<u64>,
    sources: Vec<Guid>,
    latched: Vec<Option<SimMessage>>,
    /// What the last tick publishes.
    due: TopicSet,
    selected: TopicSet,
    messages: Vec<SimMessage>,
}

impl Rover {
    /// A rover before its tick 0.
    #[must_use]
    pub fn new(seed: u64, epoch_unix_ns: i64, faults: &[Fault], inputs: &[Input]) -> Self {
        let mut rover = Self {
            seed,
            state: State::new(seed, epoch_unix_ns, faults),
            inputs: Vec::new(),
            applied: 0,
            next: 0,
            schedule: topics::schedule(),
            told: None,
            counts: vec![0; TABLE.len()],
            sources: vec![Guid::default(); TABLE.len()],
            latched: vec![None; TABLE.len()],
            due: 0,
            selected: TopicSet::MAX,
            messages: Vec::new(),
        };
        rover.add_inputs(&stops_of(faults));
        rover.add_inputs(inputs);
        rover
    }

    /// Serialize only the topics that `wanted` says yes to (by name and type); the others keep
    /// being counted.
    pub fn select(&mut self, mut wanted: impl FnMut(&str, &str) -> bool) {
        self.selected = topics::topics_where(|t| wanted(&t.name, t.type_name));
    }

    /// The tick that the next step takes: also how many have been taken.
    #[must_use]
    pub fn next_tick(&self) -> u64 {
        self.next
    }

    /// Takes a tick and returns its messages, those of the selected topics.
    pub fn step(&mut self) -> &[SimMessage] {
        self.advance();
        let mut due = self.due & self.selected;
        self.messages.clear();
        while let Some(topic) = take_lowest(&mut due) {
            let latched = self.latched[topic].clone().filter(|_| TABLE[topic].offer == Offer::Latched);
            let message = latched.unwrap_or_else(|| self.message(topic));
            self.messages.push(message);
        }
        &self.messages
    }

    /// Takes a tick without making its messages.
    pub fn advance(&mut self) {
        let tick = self.next;
        if tick.is_multiple_of(SORTIE_TICKS) {
            self.begin_sortie(tick);
        }
        let put_in = self.apply_inputs(tick);
        self.state.step(tick);
        let silent = self.state.faults.is_active(FaultKind::CommsSilence);
        self.due = if silent { 0 } else { self.schedule[(tick % topics::CYCLE_TICKS) as usize] };
        if !silent && (put_in || tick.is_multiple_of(CONTROL_TICKS) || self.told.is_none()) {
            self.due |= self.news();
        }
        self.due &= !self.blocked();
        let mut due = self.due;
        while let Some(topic) = take_lowest(&mut due) {
            self.counts[topic] += 1;
            if TABLE[topic].offer == Offer::Latched {
                self.latched[topic] = Some(self.message(topic));
            }
        }
        self.next = tick + 1;
    }

    /// Takes all ticks before `tick` without making their messages. Whole sorties are jumped over,
    /// since each begins anew: this takes tens of milliseconds at most.
    pub fn advance_to(&mut self, tick: u64) {
        let sortie = tick.saturating_sub(1) / SORTIE_TICKS * SORTIE_TICKS;
        self.next = self.next.max(sortie);
        while self.next < tick {
            self.advance();
        }
    }

    /// Adds inputs in the order of their arrival. One whose tick has passed already makes the
    /// rover live through the sortie again, so that all processes end up alike.
    pub fn add_inputs(&mut self, inputs: &[Input]) {
        let mut late = false;
        for input in inputs {
            let place = self.inputs.partition_point(|other| other.tick <= input.tick);
            self.inputs.insert(place, *input);
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

    /// The last message of every latched topic that has one.
    pub fn latched(&self) -> impl Iterator<Item = &SimMessage> {
        self.latched.iter().flatten()
    }

    /// Whether every node of the rover lives.
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
        self.told = None;
        for (source, topic) in self.sources.iter_mut().zip(TABLE.iter()) {
            // Counting starts anew, so another sortie has other writers, and so has another run.
            let writer = format!("sim:{}:{}:{}:{sortie}", self.seed, self.state.epoch_unix_ns, topic.name);
            *source = Guid::from_name(&writer);
        }
    }

    /// Lets the inputs up to a tick take effect; whether there were any.
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

    /// Topics whose value is another than what was last told.
    fn news(&mut self) -> TopicSet {
        let now = self.state.headlines();
        let Some(told) = self.told.replace(now) else {
            return topics::topics_where(|t| t.offer == Offer::Latched);
        };
        if told == now {
            return 0;
        }
        topics::topics_where(|t| match t.content {
            Content::MissionName => told.mission != now.mission,
            Content::MissionStatus => told.status != now.status,
            Content::Samples => told.samples != now.samples,
            Content::Mode => told.mode != now.mode,
            Content::Enabled => told.enabled != now.enabled,
            Content::Led => told.led != now.led,
            Content::EmergencyStop => told.emergency != now.emergency,
            Content::BoundaryViolation => told.outside != now.outside,
            _ => false,
        })
    }

    /// Topics that a fault keeps from being published.
    fn blocked(&self) -> TopicSet {
        let imu = self.state.faults.is_active(FaultKind::ImuLoss);
        let node = self.state.faults.is_active(FaultKind::NodeDeath);
        if !imu && !node {
            return 0;
        }
        topics::topics_where(|t| match t.content {
            Content::Imu => imu,
            Content::Heartbeat(i) => node && i == topics::MORTAL,
            _ => false,
        })
    }

    /// The message of a topic, as of the last tick.
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
fn stops_of(faults: &[Fault]) -> Vec<Input> {
    let stop = |tick, engaged| Input { tick, kind: InputKind::EmergencyStop(engaged) };
    let stops = faults.iter().filter(|fault| fault.kind == FaultKind::Estop);
    stops
        .flat_map(|fault| [Some(stop(fault.start_tick, true)), fault.end_tick.map(|end| stop(end, false))])
        .flatten()
        .collect()
}

/// Removes the lowest member of a set and returns it.
fn take_lowest(set: &mut TopicSet) -> Option<usize> {
    let lowest = (*set != 0).then(|| set.trailing_zeros() as usize)?;
    *set &= *set - 1;
    Some(lowest)
}
