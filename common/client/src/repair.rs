//! Gap repair on the endpoint in use. Samples that should have arrived and did not, because they expired in its outbox,
//! are asked for again; so is the history that a lower service level left out, once the level is full again. The
//! client sends the cursors of the writers concerned and subscribes again, and the endpoint replays a part of what is
//! missing, oldest first; the client then asks for the rest.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use roverline_protocol::native::{Cursor, Gap as MissingSamples, TopicInfo};
use roverline_protocol::resume::Cursors;
use roverline_protocol::service_level::{Allowance, ServiceLevel};
use roverline_protocol::{Guid, Priority};

use crate::limits;

/// Wait this long after a gap: what is missing may still arrive by itself.
const DELAY: Duration = Duration::from_millis(200);
/// Least time between two repairs while they bring something: together with what an endpoint replays at a time, this
/// bounds their share of the link.
const NEXT_PART: Duration = Duration::from_millis(500);
/// Least time between two repairs, first and after repeated ones without an answer.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// Pause after a repair that brought nothing, and after one that the link could not carry.
const PAUSE: Duration = Duration::from_secs(60);
/// A service level that falls this soon after a repair falls because of it.
const CAUSED: Duration = Duration::from_secs(5);
/// Maximum number of requests for the same sample.
const ATTEMPTS: u32 = 3;

/// Treatment of the samples that are missing before one that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// They should have arrived: requested as soon as possible.
    Lost,
    /// A service level left them out, and they are history: requested when the level is full again.
    Later,
    /// A service level left them out: not requested from this endpoint.
    Shed,
}

/// The requests for a writer's missing samples.
#[derive(Clone, Copy, Debug, Default)]
struct Attempt {
    cursor: u64,
    times: u32,
}

/// Which gaps of a session are to be repaired, and when. Times are monotonic.
#[derive(Debug, Default)]
pub(crate) struct GapRepair {
    level: ServiceLevel,
    /// The worst level since the writers of `shed` were last heard at one that delivers all of their samples.
    worst: ServiceLevel,
    shed: HashSet<Guid>,
    /// Writers whose history is asked for when the level is full again.
    later: HashSet<Guid>,
    /// Writers with missing samples.
    writers: HashMap<Guid, Attempt>,
    /// Up to these numbers nothing is asked for: the endpoint has it no more, or left it out.
    floors: HashMap<Guid, u64>,
    /// When the first gap was found.
    gap_at: Option<Duration>,
    asked_at: Option<Duration>,
    interval: Duration,
    /// Ids of the `subscribe` messages of the last repair that have not been answered.
    pending: HashSet<u64>,
    /// The next `resumed` belongs to one of them.
    is_answer: bool,
    /// Samples and unfillable gaps in the answers so far.
    brought: u64,
}

fn is_full(level: ServiceLevel, topic: &TopicInfo) -> bool {
    level.allowance(topic.scopes, topic.priority) == Allowance::All
}

/// State, mission and more urgent topics: their old samples matter as much as the new ones.
fn is_history(topic: &TopicInfo) -> bool {
    topic.priority <= Priority::Mission
}

impl GapRepair {
    /// The session's service level changed; `known` are the writers that have been heard.
    pub(crate) fn on_level(&mut self, level: ServiceLevel, known: &HashSet<Guid>, now: Duration) {
        if level > self.level {
            self.worst = if self.shed.is_empty() { level } else { self.worst.max(level) };
            self.shed.extend(known);
            if self.asked_at.is_some_and(|asked_at| now.saturating_sub(asked_at) < CAUSED) {
                self.interval = PAUSE;
            }
        }
        self.level = level;
        if level == ServiceLevel::Full && !self.later.is_empty() {
            self.writers.extend(self.later.drain().map(|writer| (writer, Attempt::default())));
            self.gap_at.get_or_insert(now);
        }
    }

    /// Records a sample of this writer, with a gap before it or not; says what becomes of the gap.
    pub(crate) fn on_sample(&mut self, writer: Guid, topic: &TopicInfo) -> Gap {
        let held_back =
            !is_full(self.level, topic) || (self.shed.remove(&writer) && !is_full(self.worst, topic));
        match (held_back, is_history(topic)) {
            (false, _) => Gap::Lost,
            (true, true) => Gap::Later,
            (true, false) => Gap::Shed,
        }
    }

    /// Samples of this writer are missing before the number `seq`.
    pub(crate) fn on_gap(&mut self, writer: Guid, seq: u64, gap: Gap, now: Duration) {
        let kept = self.writers.len() + self.later.len() + self.floors.len();
        if kept >= limits::CURSORS_PER_RESUME {
            return;
        }
        match gap {
            Gap::Shed => drop(self.floors.insert(writer, seq.saturating_sub(1))),
            Gap::Later if self.level != ServiceLevel::Full => drop(self.later.insert(writer)),
            Gap::Later | Gap::Lost => {
                self.writers.entry(writer).or_default();
                self.gap_at.get_or_insert(now);
            }
        }
    }

    /// Everything missing was asked for by other means: after a switch.
    pub(crate) fn forget(&mut self) {
        self.gap_at = None;
        self.writers.clear();
        self.later.clear();
        self.pending.clear();
        self.is_answer = false;
    }

    /// A repair was sent as these `subscribe` messages.
    pub(crate) fn sent(&mut self, ids: HashSet<u64>) {
        (self.pending, self.is_answer, self.brought) = (ids, false, 0);
    }

    /// The endpoint answered a `subscribe`; its `resumed` is the next one of the session.
    pub(crate) fn on_subscribed(&mut self, id: Option<u64>) {
        self.is_answer = id.is_some_and(|id| self.pending.remove(&id));
    }

    /// Takes a `resumed` if it belongs to a repair; returns whether it does.
    pub(crate) fn on_resumed(&mut self, replayed: u64, gaps: &[MissingSamples]) -> bool {
        if !std::mem::take(&mut self.is_answer) {
            return false;
        }
        self.brought = self.brought.saturating_add(replayed).saturating_add(gaps.len() as u64);
        for gap in gaps.iter().filter(|gap| self.writers.contains_key(&gap.source)) {
            let floor = self.floors.entry(gap.source).or_default();
            *floor = (*floor).max(gap.before.saturating_sub(1));
        }
        if self.pending.is_empty() {
            self.interval = if self.brought == 0 { PAUSE } else { NEXT_PART };
        }
        true
    }

    /// The cursors to send now, of the writers with missing samples; they count as asked for.
    pub(crate) fn due(&mut self, cursors: &Cursors, now: Duration) -> Vec<Cursor> {
        let waited = self.gap_at.is_some_and(|at| now.saturating_sub(at) >= DELAY);
        let since = self.asked_at.map(|asked_at| now.saturating_sub(asked_at));
        if !waited || since.is_some_and(|since| since < self.interval) {
            return Vec::new();
        }
        let mut holes = Vec::new();
        self.writers.retain(|&writer, asked| {
            let floor = self.floors.get(&writer).copied().unwrap_or_default();
            let Some(hole) = cursors.before_hole(writer, floor) else { return false };
            let is_same = asked.times > 0 && asked.cursor == hole.seq;
            *asked = Attempt { cursor: hole.seq, times: if is_same { asked.times + 1 } else { 1 } };
            if asked.times <= ATTEMPTS {
                holes.push(hole);
            }
            asked.times <= ATTEMPTS
        });
        if holes.is_empty() {
            self.gap_at = None;
            return holes;
        }
        // Until the answer is there.
        self.interval = (self.interval * 2).clamp(INTERVAL.0, INTERVAL.1);
        (self.asked_at, self.gap_at) = (Some(now), Some(now));
        holes
    }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::{Delivery, SampleId, Scope, ScopeSet};

    use super::*;

    const WRITER: Guid = Guid([1; 16]);

    fn topic(scope: Scope, priority: Priority) -> TopicInfo {
        TopicInfo {
            id: 1,
            name: "/a".to_owned(),
            type_name: "a/msg/A".to_owned(),
            scopes: ScopeSet::of(&[scope]),
            priority,
            delivery: Delivery::Every,
            latched: false,
            encoding: Default::default(),
            history_depth: 1,
        }
    }

    fn received(numbers: &[u64]) -> Cursors {
        let mut cursors = Cursors::default();
        for &seq in numbers {
            cursors.record(SampleId { source: WRITER, seq }, Duration::ZERO);
        }
        cursors
    }

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const fn cursor(seq: u64) -> Cursor {
        Cursor { source: WRITER, seq }
    }

    /// The endpoint answers a repair.
    fn answer(repair: &mut GapRepair, replayed: u64, gaps: &[MissingSamples]) {
        repair.sent(HashSet::from([7, 8]));
        for id in [7, 8] {
            repair.on_subscribed(Some(id));
            assert!(repair.on_resumed(if id == 8 { replayed } else { 0 }, gaps));
        }
    }

    #[test]
    fn what_a_level_leaves_out_is_asked_for_later_or_never() {
        let sensor = topic(Scope::Sensors, Priority::Sensors);
        let (odom, stop) =
            (topic(Scope::Location, Priority::State), topic(Scope::Emergency, Priority::State));
        let (mut repair, known) = (GapRepair::default(), HashSet::from([WRITER]));
        assert_eq!(repair.on_sample(WRITER, &sensor), Gap::Lost);
        repair.on_level(ServiceLevel::Mission, &known, at(0));
        assert_eq!(repair.on_sample(WRITER, &sensor), Gap::Shed);
        assert_eq!(repair.on_sample(WRITER, &odom), Gap::Later);
        assert_eq!(repair.on_sample(WRITER, &stop), Gap::Lost, "this level delivers it in full");
        repair.on_level(ServiceLevel::Critical, &known, at(0));
        repair.on_level(ServiceLevel::Full, &known, at(0));
        assert_eq!(repair.on_sample(WRITER, &sensor), Gap::Shed, "the first after the level rose");
        assert_eq!(repair.on_sample(WRITER, &sensor), Gap::Lost);
        let cursors = received(&[1, 2, 5, 6]);
        repair.on_level(ServiceLevel::Reduced, &known, at(0));
        repair.on_gap(WRITER, 5, Gap::Later, at(1_000));
        assert_eq!(repair.due(&cursors, at(9_000)), [], "not at this level");
        repair.on_level(ServiceLevel::Full, &known, at(9_000));
        assert_eq!(repair.due(&cursors, at(9_200)), [cursor(2)]);
        // Sensor samples that a level left out are not requested along with a later one that was lost.
        let mut repair = GapRepair::default();
        repair.on_gap(WRITER, 5, Gap::Shed, at(0));
        assert_eq!(repair.due(&cursors, at(1_000)), []);
        repair.on_gap(WRITER, 9, Gap::Lost, at(1_000));
        assert_eq!(repair.due(&received(&[1, 2, 5, 6, 9]), at(2_000)), [cursor(6)]);
    }

    #[test]
    fn a_gap_is_asked_for_until_it_is_closed_and_not_for_ever() {
        let (open, closed) = (received(&[1, 4]), received(&[1, 4, 2, 3]));
        let asked = |closed_at: u64| {
            let mut repair = GapRepair::default();
            repair.on_gap(WRITER, 4, Gap::Lost, at(1_000));
            let is_due = |now: &u64| {
                let cursors = if *now < closed_at { &open } else { &closed };
                !repair.due(cursors, at(*now)).is_empty()
            };
            (0..60_000).step_by(20).filter(is_due).collect::<Vec<_>>()
        };
        assert_eq!(asked(0), [0; 0]);
        assert_eq!(asked(1_300), [1_200]);
        assert_eq!(asked(u64::MAX), [1_200, 2_200, 4_200]);
    }

    #[test]
    fn the_parts_follow_each_other_and_what_is_gone_is_not_asked_for() {
        let mut repair = GapRepair::default();
        repair.on_gap(WRITER, 40, Gap::Lost, at(0));
        assert_eq!(repair.due(&received(&[1, 40]), at(200)), [cursor(1)]);
        let gone = MissingSamples { topic: 1, source: WRITER, after: 1, before: 10 };
        answer(&mut repair, 10, &[gone]);
        // 10 to 19 arrived.
        let cursors = received(&[&[1, 40][..], &(10..20).collect::<Vec<_>>()].concat());
        assert_eq!(repair.due(&cursors, at(600)), []);
        assert_eq!(repair.due(&cursors, at(700)), [cursor(19)]);
        answer(&mut repair, 20, &[]);
        let all = received(&[&[1, 40][..], &(10..40).collect::<Vec<_>>()].concat());
        assert_eq!(repair.due(&all, at(1_300)), []);
        assert_eq!(all.snapshot(), [cursor(1)], "another endpoint may have the others");
        assert!(!repair.on_resumed(5, &[]), "of a later subscription");
    }

    #[test]
    fn repairs_pause_where_they_bring_nothing_or_are_too_much() {
        let cursors = received(&[1, 4]);
        let begun = || {
            let mut repair = GapRepair::default();
            repair.on_gap(WRITER, 4, Gap::Lost, at(0));
            assert_eq!(repair.due(&cursors, at(200)), [cursor(1)]);
            repair
        };
        let mut repair = begun();
        answer(&mut repair, 0, &[]);
        assert_eq!(repair.due(&cursors, at(60_000)), []);
        assert_eq!(repair.due(&cursors, at(60_200)), [cursor(1)]);
        let (mut repair, known) = (begun(), HashSet::from([WRITER]));
        answer(&mut repair, 2, &[]);
        repair.on_level(ServiceLevel::Reduced, &known, at(3_000));
        repair.on_level(ServiceLevel::Full, &known, at(9_000));
        assert_eq!(repair.due(&cursors, at(60_000)), [], "the link could not carry it");
        repair.forget();
        assert_eq!(repair.due(&cursors, at(99_000)), []);
    }
}
