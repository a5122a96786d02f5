//! The frames themselves: in which order they go, and which do not.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::budget::Urgency;
use roverline_protocol::{Priority, limits};

use crate::connection::budget::Budget;

/// Frames in order, with what is known of them.
#[derive(Default)]
pub(crate) struct Queue {
    /// A ping that waits.
    pub(crate) ping: Option<Bytes>,
    /// What the link may carry.
    pub(crate) budget: Option<Budget>,
    /// The client is away.
    pub(crate) paused: bool,
    /// The close frame, until it is taken.
    pub(crate) close: Option<Bytes>,
    /// No more samples.
    pub(crate) closing: bool,
    /// The client let answers pile up.
    pub(crate) broken: bool,
    /// Messages taken.
    pub(crate) sent: u64,
    /// Bytes taken.
    pub(crate) sent_bytes: u64,
    /// Samples dropped, not yet told.
    pub(crate) dropped: HashMap<u32, u64>,
    /// Samples dropped.
    pub(crate) dropped_total: u64,
    /// Samples that expired or did not fit: the link is too slow.
    pub(crate) lost: u64,
    /// Samples not sent because of the budget.
    pub(crate) shed: u64,
    control: VecDeque<Bytes>,
    control_bytes: usize,
    levels: [VecDeque<Slot>; Priority::ALL.len()],
    latest: HashMap<u32, Bytes>,
    latest_bytes: usize,
    every_frames: usize,
    every_bytes: usize,
}

enum Slot {
    Latest { topic: u32, at: Duration },
    Every { topic: u32, frame: Bytes, at: Duration },
}

impl Slot {
    fn at(&self) -> Duration {
        match self {
            Slot::Latest { at, .. } | Slot::Every { at, .. } => *at,
        }
    }
}

/// What a look at the queue gives.
pub(crate) enum Popped {
    /// The most urgent frame.
    Frame(Bytes),
    /// There is one, and the budget lets it go after this time.
    Later(Duration),
    /// There is none.
    Nothing,
}

const MAX_AGE: Duration = Duration::from_millis(limits::OUTBOX_MAX_AGE_MS);
const BUDGET_WAIT: Duration = Duration::from_millis(limits::BUDGET_WAIT_MS);

/// Whether samples of this level are worthless when they are old: a client that thaws wants what is
/// now. Emergency, safety, state and mission are history and stay.
fn expires(level: usize) -> bool {
    level > Priority::Mission as usize
}

impl Queue {
    /// Bytes of control messages that wait.
    pub(crate) fn control_bytes(&self) -> usize {
        self.control_bytes
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.control_bytes + self.every_bytes + self.latest_bytes
    }

    /// Whether all control messages are out.
    pub(crate) fn is_spoken(&self) -> bool {
        self.control.is_empty()
    }

    pub(crate) fn control(&mut self, frame: Bytes) {
        if self.closing {
            return;
        }
        if self.control_bytes + frame.len() > limits::OUTBOX_CONTROL_BYTES {
            self.broken = true;
        } else {
            self.control_bytes += frame.len();
            self.control.push_back(frame);
        }
    }

    /// Whether a sample would occupy a budgeted link for too long.
    fn is_too_large(&mut self, priority: Priority, frame: &Bytes) -> bool {
        let Some(budget) = &self.budget else { return false };
        let too_large = expires(priority as usize) && frame.len() > budget.frame_bytes();
        self.shed += u64::from(too_large);
        too_large
    }

    pub(crate) fn latest(&mut self, topic: u32, priority: Priority, frame: Bytes, at: Duration) {
        if self.closing || self.is_too_large(priority, &frame) {
            return;
        }
        self.latest_bytes += frame.len();
        match self.latest.insert(topic, frame) {
            Some(old) => {
                self.latest_bytes -= old.len();
                self.count_drop(topic);
            }
            None => self.levels[priority as usize].push_back(Slot::Latest { topic, at }),
        }
    }

    pub(crate) fn every(&mut self, topic: u32, priority: Priority, frame: Bytes, at: Duration) {
        if self.closing || self.is_too_large(priority, &frame) {
            return;
        }
        self.every_frames += 1;
        self.every_bytes += frame.len();
        self.levels[priority as usize].push_back(Slot::Every { topic, frame, at });
        while self.every_frames > limits::OUTBOX_EVERY_FRAMES
            || (self.every_bytes > limits::OUTBOX_EVERY_BYTES && self.every_frames > 1)
        {
            self.drop_one();
        }
    }

    pub(crate) fn keep_newest(&mut self, topic: u32, priority: Priority, most: usize) {
        let level = priority as usize;
        let is_same = |slot: &Slot| matches!(slot, Slot::Every { topic: other, .. } if *other == topic);
        let mut waiting = self.levels[level].iter().filter(|slot| is_same(slot)).count();
        while waiting > most
            && let Some(at) = self.levels[level].iter().position(is_same)
            && let Some(Slot::Every { frame, .. }) = self.levels[level].remove(at)
        {
            waiting -= 1;
            self.every_frames -= 1;
            self.every_bytes -= frame.len();
            self.count_drop(topic);
        }
    }

    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        if self.closing {
            return;
        }
        self.closing = true;
        // 1006 says that there was no close frame; it is never sent (RFC 6455, section 7.4.1).
        self.close = (code != 1006).then(|| crate::connection::frame::close(code, reason));
        self.levels.iter_mut().for_each(VecDeque::clear);
        self.latest.clear();
        self.budget = None;
        (self.every_frames, self.every_bytes, self.latest_bytes) = (0, 0, 0);
    }

    pub(crate) fn count_drop(&mut self, topic: u32) {
        *self.dropped.entry(topic).or_default() += 1;
        self.dropped_total += 1;
    }

    /// How long the frame has waited that waits longest.
    pub(crate) fn oldest_wait(&self, least: Priority, now: Duration) -> Duration {
        let levels = self.levels.iter().take(least as usize + 1);
        let oldest = levels.filter_map(|level| level.front().map(Slot::at)).min();
        oldest.map_or(Duration::ZERO, |at| now.saturating_sub(at))
    }

    /// Takes the most urgent frame, if the budget allows.
    pub(crate) fn pop(&mut self, now: Duration) -> Popped {
        if let Some(frame) = self.control.front() {
            let length = frame.len();
            if let Some(wait) = self.pay(length, Urgency::Vital, now) {
                return Popped::Later(wait);
            }
            self.control_bytes -= length;
            return self.control.pop_front().map_or(Popped::Nothing, Popped::Frame);
        }
        for priority in self.order(now) {
            let level = priority as usize;
            while self.skip_the_useless(level, now) {}
            let length = match self.levels[level].front() {
                None => continue,
                Some(Slot::Every { frame, .. }) => frame.len(),
                Some(Slot::Latest { topic, .. }) => self.latest.get(topic).map_or(0, Bytes::len),
            };
            // What is less urgent does not overtake.
            if let Some(wait) = self.pay(length, Urgency::of(priority), now) {
                return Popped::Later(wait);
            }
            if let Some(frame) = self.take_front(level) {
                return Popped::Frame(frame);
            }
        }
        if let Some(budget) = &mut self.budget {
            budget.idle();
        }
        Popped::Nothing
    }

    /// In which order levels are served: by priority. Under a budget, of safety, state and mission the
    /// one that has waited too long comes before the others of them: a stream of state that takes
    /// all there is must not starve the mission.
    fn order(&self, now: Duration) -> [Priority; Priority::ALL.len()] {
        let mut order = Priority::ALL;
        let urgent = Priority::Safety as usize..=Priority::Mission as usize;
        let waited = |level: usize| {
            let front = self.levels[level].front().map(Slot::at);
            front.map(|at| now.saturating_sub(at)).filter(|waited| *waited > BUDGET_WAIT / 2)
        };
        if self.budget.is_some()
            && let Some((_, level)) = urgent.filter_map(|level| Some((waited(level)?, level))).max()
        {
            order[Priority::Safety as usize..=level].rotate_right(1);
        }
        order
    }

    /// Pays for a frame of this length, or says when that can be.
    fn pay(&mut self, length: usize, urgency: Urgency, now: Duration) -> Option<Duration> {
        self.budget.as_mut().and_then(|budget| budget.pay(length, urgency, now))
    }

    fn take_front(&mut self, level: usize) -> Option<Bytes> {
        match self.levels[level].pop_front()? {
            Slot::Latest { topic, .. } => {
                let frame = self.latest.remove(&topic)?;
                self.latest_bytes -= frame.len();
                Some(frame)
            }
            Slot::Every { frame, .. } => {
                self.every_frames -= 1;
                self.every_bytes -= frame.len();
                Some(frame)
            }
        }
    }

    /// Drops the first sample of a level if it is too old, or if the budget has a newer one to spend
    /// its bytes on; whether there was one.
    fn skip_the_useless(&mut self, level: usize, now: Duration) -> bool {
        let Some(Slot::Every { topic, at, .. }) = self.levels[level].front() else { return false };
        let (topic, age) = (*topic, now.saturating_sub(*at));
        if expires(level) && age > MAX_AGE {
            self.take_front(level);
            self.count_drop(topic);
            self.lost += 1;
            return true;
        }
        let is_same = |slot: &Slot| matches!(slot, Slot::Every { topic: other, .. } if *other == topic);
        let gives_way = self.budget.is_some()
            && level > Priority::Emergency as usize
            && age > BUDGET_WAIT
            && self.levels[level].iter().skip(1).any(is_same);
        if gives_way {
            self.take_front(level);
            self.shed += 1;
        }
        gives_way
    }

    /// Drops the oldest `every` sample of the least urgent level that has one.
    fn drop_one(&mut self) {
        for level in (0..self.levels.len()).rev() {
            let Some(at) = self.levels[level].iter().position(|slot| matches!(slot, Slot::Every { .. }))
            else {
                continue;
            };
            if let Some(Slot::Every { topic, frame, .. }) = self.levels[level].remove(at) {
                self.every_frames -= 1;
                self.every_bytes -= frame.len();
                self.count_drop(topic);
                // A client that is away says nothing about its link.
                self.lost += u64::from(!self.paused);
            }
            return;
        }
    }

    /// The client is back: of what is old it gets the last few of every topic that is history, and
    /// nothing of what streams.
    pub(crate) fn forget_the_old(&mut self, now: Duration) {
        for level in 0..self.levels.len() {
            let mut kept: HashMap<u32, usize> = HashMap::new();
            let room = if expires(level) { 0 } else { limits::AWAY_SAMPLES_PER_TOPIC };
            let mut slots: VecDeque<Slot> = std::mem::take(&mut self.levels[level]);
            let mut newest_first = VecDeque::with_capacity(slots.len());
            while let Some(slot) = slots.pop_back() {
                match slot {
                    Slot::Every { topic, frame, at } if now.saturating_sub(at) > MAX_AGE => {
                        let count = kept.entry(topic).or_default();
                        *count += 1;
                        if *count > room {
                            self.every_frames -= 1;
                            self.every_bytes -= frame.len();
                            self.count_drop(topic);
                        } else {
                            newest_first.push_front(Slot::Every { topic, frame, at });
                        }
                    }
                    // Its sample may be newer than its place: it waits from now on.
                    Slot::Latest { topic, .. } => newest_first.push_front(Slot::Latest { topic, at: now }),
                    slot @ Slot::Every { .. } => newest_first.push_front(slot),
                }
            }
            self.levels[level] = newest_first;
        }
    }
}
