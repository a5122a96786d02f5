//! The outbox's frame queue: sending order, replacement, expiry and drops.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::Priority;
use roverline_protocol::budget::Urgency;

use crate::connection::budget::Budget;
use crate::connection::outbox::queued_frame::QueuedFrame;
use crate::limits;

/// On a budgeted link, a sample that waited this long is replaced by a newer one of its topic.
const BUDGET_WAIT_MS: u64 = 200;

/// Queued frames by priority, with their accounting.
#[derive(Default)]
pub(crate) struct Queue {
    /// Whether a ping is queued.
    pub(crate) ping: bool,
    /// The session's bandwidth budget.
    pub(crate) budget: Option<Budget>,
    /// Whether the client is unresponsive.
    pub(crate) paused: bool,
    /// The close frame, until it is taken.
    pub(crate) close: Option<Bytes>,
    /// Whether samples are no longer accepted.
    pub(crate) closing: bool,
    /// Whether the client let too many responses pile up.
    pub(crate) broken: bool,
    /// Messages taken.
    pub(crate) sent: u64,
    /// Bytes taken.
    pub(crate) sent_bytes: u64,
    /// Dropped samples per topic, not yet reported.
    pub(crate) dropped: HashMap<u32, u64>,
    /// Samples dropped in total.
    pub(crate) dropped_total: u64,
    /// Those of the dropped samples that expired or did not fit although the client was responsive: the link is
    /// too slow, and the service level falls.
    pub(crate) lost: u64,
    /// Samples not sent because of the budget.
    pub(crate) shed: u64,
    control: VecDeque<Bytes>,
    control_bytes: usize,
    levels: [VecDeque<Slot>; Priority::ALL.len()],
    latest: HashMap<u32, QueuedFrame>,
    latest_bytes: usize,
    every_frames: usize,
    every_bytes: usize,
}

enum Slot {
    Latest { topic: u32, at: Duration },
    Every { topic: u32, frame: QueuedFrame, at: Duration },
}

impl Slot {
    fn at(&self) -> Duration {
        match self {
            Slot::Latest { at, .. } | Slot::Every { at, .. } => *at,
        }
    }
}

/// The result of [`Queue::pop`].
pub(crate) enum PopResult {
    /// The most urgent frame; of a sample also its priority and when it was queued. A sample of a `latest` topic takes
    /// over the time of the one that it replaces.
    Frame(QueuedFrame, Option<(Priority, Duration)>),
    /// A frame is queued, and the budget allows it after this time.
    Later(Duration),
    /// The queue is empty.
    Nothing,
}

const MAX_AGE: Duration = Duration::from_millis(limits::OUTBOX_MAX_AGE_MS);
const BUDGET_WAIT: Duration = Duration::from_millis(BUDGET_WAIT_MS);

/// Whether samples of this level expire: after an interruption a client needs current values. Emergency,
/// safety, state and mission samples are history and are retained.
fn expires(level: usize) -> bool {
    level > Priority::Mission as usize
}

impl Queue {
    /// Bytes of queued control messages.
    pub(crate) fn control_bytes(&self) -> usize {
        self.control_bytes
    }

    /// Bytes queued.
    pub(crate) fn bytes(&self) -> usize {
        self.control_bytes + self.every_bytes + self.latest_bytes
    }

    /// Whether all control messages were taken.
    pub(crate) fn control_flushed(&self) -> bool {
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
    fn is_too_large(&mut self, priority: Priority, frame: &QueuedFrame) -> bool {
        let Some(budget) = &self.budget else { return false };
        let too_large = expires(priority as usize) && frame.len() > budget.frame_bytes();
        self.shed += u64::from(too_large);
        too_large
    }

    pub(crate) fn latest(&mut self, topic: u32, priority: Priority, frame: QueuedFrame, at: Duration) {
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

    pub(crate) fn every(&mut self, topic: u32, priority: Priority, frame: QueuedFrame, at: Duration) {
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
        // Code 1006 means that no close frame was received; it is never sent (RFC 6455, section 7.4.1).
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

    /// How long the oldest frame of at least this priority has waited.
    pub(crate) fn oldest_wait(&self, least: Priority, now: Duration) -> Duration {
        let levels = self.levels.iter().take(least as usize + 1);
        let oldest = levels.filter_map(|level| level.front().map(Slot::at)).min();
        oldest.map_or(Duration::ZERO, |at| now.saturating_sub(at))
    }

    /// Takes the most urgent frame if the budget allows it.
    pub(crate) fn pop(&mut self, now: Duration) -> PopResult {
        if let Some(frame) = self.control.front() {
            let length = frame.len();
            if let Some(wait) = self.charge(length, Urgency::Vital, now) {
                return PopResult::Later(wait);
            }
            self.control_bytes -= length;
            let frame = self.control.pop_front();
            return frame.map_or(PopResult::Nothing, |frame| PopResult::Frame(frame.into(), None));
        }
        for priority in self.order(now) {
            let level = priority as usize;
            while self.drop_expired_front(level, now) {}
            let at = self.levels[level].front().map(Slot::at);
            let length = match self.levels[level].front() {
                None => continue,
                Some(Slot::Every { frame, .. }) => frame.len(),
                Some(Slot::Latest { topic, .. }) => self.latest.get(topic).map_or(0, QueuedFrame::len),
            };
            // A less urgent frame does not overtake.
            if let Some(wait) = self.charge(length, Urgency::of(priority), now) {
                return PopResult::Later(wait);
            }
            if let Some(frame) = self.take_front(level) {
                return PopResult::Frame(frame, at.map(|at| (priority, at)));
            }
        }
        if let Some(budget) = &mut self.budget {
            budget.idle();
        }
        PopResult::Nothing
    }

    /// The order in which the levels are served: by priority. Under a budget, the longest-waiting level of
    /// safety, state and mission moves to the front of these three once it has waited too long: a stream of
    /// state samples must not starve the mission.
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

    /// Charges a frame of this length to the budget, or returns how long to wait.
    fn charge(&mut self, length: usize, urgency: Urgency, now: Duration) -> Option<Duration> {
        self.budget.as_mut().and_then(|budget| budget.charge(length, urgency, now))
    }

    fn take_front(&mut self, level: usize) -> Option<QueuedFrame> {
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

    /// Drops the front sample of a level if it has expired, or if the budget is better spent on a newer
    /// sample of its topic. Returns whether one was dropped.
    fn drop_expired_front(&mut self, level: usize, now: Duration) -> bool {
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
                // While the client is unresponsive, drops do not indicate a slow link.
                self.lost += u64::from(!self.paused);
            }
            return;
        }
    }

    /// Called when the client responds again: of old samples, keeps the last few of every history topic and
    /// none of a stream.
    pub(crate) fn expire_stale(&mut self, now: Duration) {
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
                    // Its sample may be newer than its position, so its waiting time starts now.
                    Slot::Latest { topic, .. } => newest_first.push_front(Slot::Latest { topic, at: now }),
                    slot @ Slot::Every { .. } => newest_first.push_front(slot),
                }
            }
            self.levels[level] = newest_first;
        }
    }
}
