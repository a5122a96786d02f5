//! The last half hour of all topics, bounded in time and memory: what the screens showed at any moment of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_client::EndpointView;
use roverline_protocol::api::alarms::AlarmList;
use roverline_protocol::api::kv::KvList;
use roverline_protocol::api::locks::LockList;
use roverline_protocol::api::queues::QueueList;
use roverline_protocol::native::TopicInfo;

/// Time between two steps.
pub const STEP: Duration = Duration::from_secs(1);
/// How far back it goes.
pub const SPAN: Duration = Duration::from_secs(30 * 60);
/// Most memory it takes, as counted by `Step::bytes`: the payloads, and what is stored around each.
pub const MAX_BYTES: usize = 32 << 20;
/// Larger payloads (pictures, scans) are not kept.
pub const KEPT_BYTES: usize = 16 << 10;
/// What is stored around a payload, bytes: the fields of [`Kept`], its allocation, and its place in a list.
const VALUE_BYTES: usize = 176;
/// What is stored around a step, bytes.
const STEP_BYTES: usize = 256;
/// What is stored of an endpoint, bytes, its texts included.
const ENDPOINT_BYTES: usize = 512;
/// What is stored of an alarm, bytes, its texts included.
const ALARM_BYTES: usize = 1_024;
/// What is stored of a queue, or around a shared value, bytes.
const ENTRY_BYTES: usize = 256;
/// What is stored around a part of a JSON value, bytes.
const JSON_BYTES: usize = 48;

/// The newest value of a topic at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The topic.
    pub info: Arc<TopicInfo>,
    /// The message, in an allocation of its own: a slice would keep the whole frame.
    pub payload: Bytes,
    /// When it was created.
    pub at: Duration,
    /// The period of its topic, if it was known.
    pub period: Option<Duration>,
}

/// What has changed since the step before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// When.
    pub at: Duration,
    /// The same by the wall clock, nanoseconds since the Unix epoch.
    pub wall_ns: i64,
    /// New values, one for each topic that had any.
    pub values: Vec<Kept>,
    /// The links.
    pub endpoints: Arc<[EndpointView]>,
    /// Since when no endpoint was in use.
    pub all_down_since: Option<Duration>,
    /// What the team shares, if it has changed.
    pub team: TeamChanges,
}

/// What the team shares, as far as it has changed: `Some(None)` if it is not known any more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TeamChanges {
    /// The locks.
    pub locks: Option<Option<Arc<LockList>>>,
    /// The alarms.
    pub alarms: Option<Option<Arc<AlarmList>>>,
    /// The queues, while they were watched.
    pub queues: Option<Option<Arc<QueueList>>>,
    /// The values, while they were watched.
    pub values: Option<Option<Arc<KvList>>>,
}

/// When what was last recorded had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordedTimes {
    /// The locks.
    pub locks: Option<Duration>,
    /// The alarms.
    pub alarms: Option<Duration>,
    /// The queues.
    pub queues: Option<Duration>,
    /// The values.
    pub values: Option<Duration>,
}

/// What the team shared at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TeamMoment {
    /// The locks.
    pub locks: Option<Arc<LockList>>,
    /// The alarms.
    pub alarms: Option<Arc<AlarmList>>,
    /// The queues.
    pub queues: Option<Arc<QueueList>>,
    /// The values.
    pub values: Option<Arc<KvList>>,
}

impl TeamMoment {
    fn apply(&mut self, changes: &TeamChanges) {
        fn set<T>(now: &mut Option<Arc<T>>, change: Option<&Option<Arc<T>>>) {
            if let Some(change) = change {
                now.clone_from(change);
            }
        }
        set(&mut self.locks, changes.locks.as_ref());
        set(&mut self.alarms, changes.alarms.as_ref());
        set(&mut self.queues, changes.queues.as_ref());
        set(&mut self.values, changes.values.as_ref());
    }

    /// The memory it takes, bytes.
    fn bytes(&self) -> usize {
        let clients = |lock: &roverline_protocol::api::locks::LockDocument| {
            1 + lock.holders.len() + lock.waiting.len() + lock.handovers.len()
        };
        let locks = self.locks.iter().flat_map(|list| &list.locks).map(clients).sum::<usize>();
        let alarms = self.alarms.as_ref().map_or(0, |list| list.alarms.len());
        let queues = self.queues.as_ref().map_or(0, |list| list.queues.len());
        let values = self.values.iter().flat_map(|list| &list.keys);
        let values: usize =
            values.map(|value| value.key.len() + json_bytes(&value.value) + ENTRY_BYTES).sum();
        locks * ENDPOINT_BYTES + alarms * ALARM_BYTES + queues * ENTRY_BYTES + values
    }
}

/// About the memory that a JSON value takes.
fn json_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    JSON_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(json_bytes).sum(),
            Value::Object(fields) => {
                fields.iter().map(|(name, field)| name.len() + JSON_BYTES + json_bytes(field)).sum()
            }
            _ => 0,
        }
}

impl Step {
    /// The memory it takes, bytes.
    fn bytes(&self) -> usize {
        let values: usize = self.values.iter().map(|kept| kept.payload.len() + VALUE_BYTES).sum();
        let mut team = TeamMoment::default();
        team.apply(&self.team);
        STEP_BYTES + values + self.endpoints.len() * ENDPOINT_BYTES + team.bytes()
    }
}

/// Everything as it was at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    /// The moment.
    pub at: Duration,
    /// The same by the wall clock.
    pub wall_ns: i64,
    /// The newest value of each topic.
    pub values: BTreeMap<String, Kept>,
    /// The links.
    pub endpoints: Arc<[EndpointView]>,
    /// Since when no endpoint was in use.
    pub all_down_since: Option<Duration>,
    /// What the team shared.
    pub team: TeamMoment,
}

/// The steps, and what was before the first one.
#[derive(Debug)]
pub struct History {
    base: Moment,
    steps: VecDeque<Step>,
    /// Memory of the steps and the base, bytes.
    bytes: usize,
    max_bytes: usize,
}

impl Default for History {
    fn default() -> History {
        History::bounded(MAX_BYTES)
    }
}

impl History {
    /// A history of at most this much memory.
    pub fn bounded(max_bytes: usize) -> History {
        History { base: Moment::default(), steps: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Adds a step, which is newer than all others. The oldest ones give way.
    pub fn push(&mut self, step: Step) {
        if self.steps.back().is_some_and(|last| last.at >= step.at) {
            return;
        }
        self.bytes += step.bytes();
        let now = step.at;
        self.steps.push_back(step);
        while self.steps.len() > 1
            && (self.bytes > self.max_bytes
                || self.steps.front().is_some_and(|first| now.saturating_sub(first.at) > SPAN))
        {
            self.merge_first();
        }
    }

    /// The first step becomes a part of what was before.
    fn merge_first(&mut self) {
        let Some(step) = self.steps.pop_front() else { return };
        self.bytes -= step.bytes();
        self.bytes -= base_bytes(&self.base);
        apply(&mut self.base, &step);
        self.bytes += base_bytes(&self.base);
    }

    /// The first and the last moment, if there is any.
    pub fn span(&self) -> Option<(Duration, Duration)> {
        Some((self.steps.front()?.at, self.steps.back()?.at))
    }

    /// The recorded values of a topic, the newest first.
    pub fn values_of(&self, topic: &str) -> impl Iterator<Item = &Kept> {
        let values = self.steps.iter().rev().flat_map(|step| &step.values);
        values.filter(move |kept| kept.info.name == topic)
    }

    /// Memory in use, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything as it was at the last step until `at`; at the first one, if all are later.
    pub fn at(&self, at: Duration) -> Option<Moment> {
        let count = self.steps.partition_point(|step| step.at <= at).max(1);
        let mut moment = self.base.clone();
        self.steps.front()?;
        for step in self.steps.iter().take(count) {
            apply(&mut moment, step);
        }
        Some(moment)
    }
}

fn base_bytes(base: &Moment) -> usize {
    let values: usize = base.values.values().map(|kept| kept.payload.len() + 2 * VALUE_BYTES).sum();
    values + base.team.bytes()
}

fn apply(moment: &mut Moment, step: &Step) {
    (moment.at, moment.wall_ns) = (step.at, step.wall_ns);
    moment.endpoints = step.endpoints.clone();
    moment.all_down_since = step.all_down_since;
    moment.team.apply(&step.team);
    for kept in &step.values {
        moment.values.insert(kept.info.name.clone(), kept.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roverline_protocol::{Delivery, Priority, ScopeSet};

    use super::*;

    fn kept(topic: u8, len: usize, at: Duration, mark: u8) -> Kept {
        let info = TopicInfo {
            id: u32::from(topic),
            name: format!("/t{topic}"),
            type_name: "a/msg/B".to_owned(),
            scopes: ScopeSet::EMPTY,
            priority: Priority::Sensors,
            delivery: Delivery::Latest,
            latched: false,
            encoding: Default::default(),
            history_depth: 1,
        };
        Kept { info: Arc::new(info), payload: vec![mark; len].into(), at, period: None }
    }

    proptest! {
        /// Against a model that keeps everything.
        #[test]
        fn any_moment_is_as_it_was_and_memory_is_bounded(
            steps in prop::collection::vec((1u64..400, prop::collection::vec((0u8..6, 0usize..900), 0..6)), 1..60),
            asked in prop::collection::vec(0u64..9_000, 1..12),
        ) {
            let bound = 24 << 10;
            let mut history = History::bounded(bound);
            let mut all: Vec<Step> = Vec::new();
            let mut at = Duration::from_secs(1_000);
            for (n, (wait_s, values)) in steps.into_iter().enumerate() {
                at += Duration::from_secs(wait_s);
                let mut by_topic: BTreeMap<u8, Kept> = BTreeMap::new();
                for (topic, len) in values {
                    by_topic.insert(topic, kept(topic, len, at, n as u8));
                }
                let values = by_topic.into_values().collect();
                let step = Step { at, wall_ns: at.as_nanos() as i64, values, ..Step::default() };
                history.push(step.clone());
                all.push(step);
                // Only what is needed for the newest step may exceed the bound.
                let (first, last) = history.span().unwrap();
                prop_assert!(history.bytes() <= bound || first == last, "{} bytes", history.bytes());
                prop_assert!(last - first <= SPAN);
                prop_assert_eq!(last, at);
            }
            let (first, last) = history.span().unwrap();
            for s in asked {
                let wanted = Duration::from_secs(1_000 + s).clamp(first, last);
                let moment = history.at(wanted).unwrap();
                let mut expected = Moment::default();
                all.iter().filter(|step| step.at <= wanted).for_each(|step| apply(&mut expected, step));
                prop_assert_eq!(moment, expected);
            }
        }
    }

    #[test]
    fn nothing_is_known_before_the_first_step_and_time_does_not_go_back() {
        let mut history = History::default();
        assert_eq!((history.span(), history.at(Duration::ZERO)), (None, None));
        let step = |s| Step { at: Duration::from_secs(s), ..Step::default() };
        history.push(step(5));
        history.push(step(4));
        assert_eq!(history.span(), Some((Duration::from_secs(5), Duration::from_secs(5))));
        assert_eq!(history.at(Duration::ZERO).unwrap().at, Duration::from_secs(5));
    }
}
