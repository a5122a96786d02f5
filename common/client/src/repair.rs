//! Gap repair on the endpoint in use. Samples that should have arrived and did not, because they expired in its outbox,
//! are asked for again; so is the history that a lower service level left out, once the level is full again. The
//! client sends the cursors of the writers concerned and subscribes again, and the endpoint replays what is missing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use roverline_protocol::native::{Cursor, TopicInfo};
use roverline_protocol::resume::Cursors;
use roverline_protocol::service_level::{Allowance, ServiceLevel};
use roverline_protocol::{Guid, Priority};

use crate::limits;

/// Wait this long after a gap: what is missing may still arrive by itself.
const DELAY: Duration = Duration::from_millis(200);
/// Least time between two repairs, first and after repeated ones: on a bad link, replays must not crowd out what
/// is current.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// A gap this long after the last repair has another cause.
const CALM: Duration = Duration::from_secs(10);
/// An endpoint that replays nothing, because of a budget, is not asked again for this long.
const REFUSED: Duration = Duration::from_secs(60);
/// How often a writer's missing samples are asked for.
const ATTEMPTS: u32 = 3;

/// Whether samples that are missing before one that arrived are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// They should have arrived: as soon as possible.
    Lost,
    /// A service level left them out, and they are history: when the level is full again.
    Later,
    /// A service level left them out: never.
    Shed,
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
    /// Writers with missing samples, and how often these were asked for.
    writers: HashMap<Guid, u32>,
    /// When the first of them was found.
    gap_at: Option<Duration>,
    asked_at: Option<Duration>,
    interval: Duration,
}

fn is_full(level: ServiceLevel, topic: &TopicInfo) -> bool {
    level.allowance(topic.scopes, topic.priority) == Allowance::All
}

/// Whether old samples of a topic are worth as much as new ones.
fn is_history(topic: &TopicInfo) -> bool {
    topic.priority <= Priority::Mission
}

impl GapRepair {
    /// The session's service level changed; `known` are the writers that have been heard.
    pub(crate) fn on_level(&mut self, level: ServiceLevel, known: &HashSet<Guid>, now: Duration) {
        if level > self.level {
            self.worst = if self.shed.is_empty() { level } else { self.worst.max(level) };
            self.shed.extend(known);
        }
        self.level = level;
        self.interval = self.interval.min(INTERVAL.1);
        if level == ServiceLevel::Full && !self.later.is_empty() {
            self.writers.extend(self.later.drain().map(|writer| (writer, 0)));
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

    /// Samples of this writer are missing.
    pub(crate) fn on_gap(&mut self, writer: Guid, gap: Gap, now: Duration) {
        if self.writers.len() + self.later.len() >= limits::CURSORS_PER_RESUME {
            return;
        }
        match gap {
            Gap::Shed => {}
            Gap::Later if self.level != ServiceLevel::Full => drop(self.later.insert(writer)),
            Gap::Later | Gap::Lost => {
                self.writers.insert(writer, 0);
                self.gap_at.get_or_insert(now);
            }
        }
    }

    /// Everything missing was asked for by other means: after a switch.
    pub(crate) fn forget(&mut self) {
        self.gap_at = None;
        self.writers.clear();
        self.later.clear();
    }

    /// The endpoint answered with this many samples and numbers that it has no more.
    pub(crate) fn on_answer(&mut self, samples: u64) {
        if samples == 0 {
            self.interval = REFUSED;
        }
    }

    /// The cursors to send now, of the writers with missing samples; they count as asked for.
    pub(crate) fn due(&mut self, cursors: &Cursors, now: Duration) -> Vec<Cursor> {
        let Some(gap_at) = self.gap_at.filter(|&at| now.saturating_sub(at) >= DELAY) else {
            return Vec::new();
        };
        let since = self.asked_at.map(|asked_at| now.saturating_sub(asked_at));
        if since.is_some_and(|since| since < self.interval) {
            return Vec::new();
        }
        let holes: Vec<_> = self.writers.keys().filter_map(|&writer| cursors.before_hole(writer)).collect();
        let is_asked = |writer: &Guid| holes.iter().any(|hole| hole.source == *writer);
        self.writers.retain(|writer, attempts| {
            *attempts += 1;
            *attempts < ATTEMPTS && is_asked(writer)
        });
        if self.writers.is_empty() {
            self.gap_at = None;
        }
        if !holes.is_empty() {
            let calm = self.asked_at.is_none_or(|asked_at| gap_at.saturating_sub(asked_at) >= CALM);
            self.interval = if calm { INTERVAL.0 } else { (self.interval * 2).min(INTERVAL.1) };
            (self.asked_at, self.gap_at) = (Some(now), self.gap_at.map(|_| now));
        }
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
        repair.on_gap(WRITER, Gap::Later, at(1_000));
        assert_eq!(repair.due(&cursors, at(9_000)), [], "not at this level");
        repair.on_level(ServiceLevel::Full, &known, at(9_000));
        assert_eq!(repair.due(&cursors, at(9_200)), [Cursor { source: WRITER, seq: 2 }]);
    }

    #[test]
    fn a_gap_is_asked_for_until_it_is_closed_and_not_for_ever() {
        let (open, closed) = (received(&[1, 4]), received(&[1, 4, 2, 3]));
        let asked = |closed_at: u64| {
            let mut repair = GapRepair::default();
            repair.on_gap(WRITER, Gap::Lost, at(1_000));
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
    fn repairs_are_rare_and_rarer_on_a_link_that_keeps_losing() {
        let (mut repair, cursors) = (GapRepair::default(), received(&[1, 4]));
        let mut asked = Vec::new();
        for now in (0..60_000).step_by(20).map(at) {
            repair.on_gap(WRITER, Gap::Lost, now);
            asked.extend((!repair.due(&cursors, now).is_empty()).then_some(now.as_millis()));
        }
        assert_eq!(asked[..6], [200, 1_200, 3_200, 7_200, 15_200, 23_200]);
        repair.forget();
        assert_eq!(repair.due(&cursors, at(70_000)), []);
        repair.on_gap(WRITER, Gap::Lost, at(90_000));
        assert_eq!(repair.due(&cursors, at(90_200)).len(), 1);
        assert_eq!(repair.due(&cursors, at(91_200)).len(), 1, "it began anew");
        repair.on_answer(0);
        repair.on_gap(WRITER, Gap::Lost, at(100_000));
        assert_eq!(repair.due(&cursors, at(150_000)), [], "the endpoint replays nothing");
        assert_eq!(repair.due(&cursors, at(151_200)).len(), 1);
    }
}
