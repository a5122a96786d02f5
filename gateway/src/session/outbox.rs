//! What waits for one client: ordered by priority, bounded, newest first where that is allowed.
//!
//! A `latest` topic holds one slot: a newer sample replaces the one that waits, at its place. An
//! `every` topic queues; when the queue is full the oldest sample of the least urgent topic goes,
//! and it is counted and told. Control messages (answers, heartbeats, close) go first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::native::DropCount;
use roverline_protocol::{Priority, limits};
use tokio::sync::Notify;

/// The queue between the hub and a session's writer.
pub struct Outbox {
    state: Mutex<State>,
    wake: Notify,
    /// Wakes whoever reads from the client, when the writer has ended.
    pub(super) ended: Notify,
}

#[derive(Default)]
struct State {
    control: VecDeque<Bytes>,
    control_bytes: usize,
    levels: [VecDeque<Slot>; Priority::ALL.len()],
    latest: HashMap<u32, Bytes>,
    latest_bytes: usize,
    every_frames: usize,
    every_bytes: usize,
    dropped: HashMap<u32, u64>,
    close: Option<Bytes>,
    closing: bool,
    broken: bool,
    sent: u64,
    sent_bytes: u64,
    dropped_total: u64,
}

enum Slot {
    Latest { topic: u32 },
    Every { topic: u32, frame: Bytes, at: Duration },
}

/// Counters of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxStats {
    /// Messages handed to the socket.
    pub sent: u64,
    /// Bytes handed to the socket.
    pub sent_bytes: u64,
    /// Samples dropped because the client was slow.
    pub dropped: u64,
    /// Bytes that wait.
    pub queued_bytes: usize,
}

impl Outbox {
    /// An empty one.
    pub fn new() -> Arc<Outbox> {
        Arc::new(Outbox { state: Mutex::default(), wake: Notify::new(), ended: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a control message. A client that lets megabytes of answers pile up is ended.
    pub fn control(&self, frame: Bytes) {
        let mut state = self.lock();
        if state.closing {
            return;
        }
        if state.control_bytes + frame.len() > limits::OUTBOX_CONTROL_BYTES {
            state.broken = true;
        } else {
            state.control_bytes += frame.len();
            state.control.push_back(frame);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Queues a sample of a `latest` topic: it takes the place of one that waits.
    pub fn latest(&self, topic: u32, priority: Priority, frame: Bytes) {
        let mut state = self.lock();
        if state.closing {
            return;
        }
        state.latest_bytes += frame.len();
        match state.latest.insert(topic, frame) {
            Some(old) => {
                state.latest_bytes -= old.len();
                state.count_drop(topic);
            }
            None => state.levels[priority as usize].push_back(Slot::Latest { topic }),
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Queues a sample of an `every` topic at the time `at` (monotonic).
    pub fn every(&self, topic: u32, priority: Priority, frame: Bytes, at: Duration) {
        let mut state = self.lock();
        if state.closing {
            return;
        }
        state.every_frames += 1;
        state.every_bytes += frame.len();
        state.levels[priority as usize].push_back(Slot::Every { topic, frame, at });
        while state.every_frames > limits::OUTBOX_EVERY_FRAMES
            || (state.every_bytes > limits::OUTBOX_EVERY_BYTES && state.every_frames > 1)
        {
            state.shed_one();
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Counts a sample that cannot be sent at all.
    pub fn refuse(&self, topic: u32) {
        self.lock().count_drop(topic);
    }

    /// No more samples: what was queued as control goes out, then the close frame.
    pub fn close(&self, code: u16, reason: &str) {
        let mut state = self.lock();
        if !state.closing {
            state.closing = true;
            // 1006 says that there was no close frame; it is never sent (RFC 6455, section 7.4.1).
            state.close = (code != 1006).then(|| crate::dialect::frame::close(code, reason));
            state.levels.iter_mut().for_each(VecDeque::clear);
            state.latest.clear();
            (state.every_frames, state.every_bytes, state.latest_bytes) = (0, 0, 0);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Bytes from the WebSocket library (pong, close echo), sent as they are.
    pub(super) fn raw_control(&self, bytes: &[u8]) {
        self.control(Bytes::copy_from_slice(bytes));
    }

    /// Whether a close has been asked for.
    pub fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Takes the counts of dropped samples since the last call, for telling the client.
    pub fn take_drops(&self) -> Vec<DropCount> {
        let mut drops: Vec<_> =
            self.lock().dropped.drain().map(|(id, count)| DropCount { id, count }).collect();
        drops.sort_by_key(|drop| drop.id);
        drops
    }

    /// Takes everything that waits, in the order of sending.
    #[cfg(test)]
    pub(crate) fn drain_for_test(&self) -> Vec<Bytes> {
        let mut batch = Vec::new();
        loop {
            let before = batch.len();
            self.try_take(&mut batch, usize::MAX, crate::clock::monotonic());
            if batch.len() == before {
                return batch;
            }
        }
    }

    /// Counters.
    pub fn stats(&self) -> OutboxStats {
        let state = self.lock();
        OutboxStats {
            sent: state.sent,
            sent_bytes: state.sent_bytes,
            dropped: state.dropped_total,
            queued_bytes: state.control_bytes + state.every_bytes + state.latest_bytes,
        }
    }

    /// Waits for frames, then moves up to `max_bytes` of them into `batch`, most urgent first.
    /// Returns what to do after writing them.
    pub(super) async fn take(&self, batch: &mut Vec<Bytes>, max_bytes: usize) -> After {
        loop {
            // Whoever adds something leaves a permit, and so does a take that leaves something.
            self.wake.notified().await;
            let after = self.try_take(batch, max_bytes, crate::clock::monotonic());
            if !batch.is_empty() || after != After::Continue {
                return after;
            }
        }
    }

    fn try_take(&self, batch: &mut Vec<Bytes>, max_bytes: usize, now: Duration) -> After {
        let mut state = self.lock();
        if state.broken {
            return After::Abort;
        }
        let mut bytes = 0;
        loop {
            if bytes >= max_bytes || batch.len() >= 64 {
                self.wake.notify_one();
                break;
            }
            let Some(frame) = state.pop(now) else { break };
            bytes += frame.len();
            batch.push(frame);
        }
        state.sent += batch.len() as u64;
        state.sent_bytes += bytes as u64;
        if state.closing && state.control.is_empty() {
            batch.extend(state.close.take());
            return After::Close;
        }
        After::Continue
    }
}

/// What the writer does after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Take the next.
    Continue,
    /// That was the close frame.
    Close,
    /// The client misbehaved: no more words.
    Abort,
}

impl State {
    fn pop(&mut self, now: Duration) -> Option<Bytes> {
        if let Some(frame) = self.control.pop_front() {
            self.control_bytes -= frame.len();
            return Some(frame);
        }
        for level in 0..self.levels.len() {
            while let Some(slot) = self.levels[level].pop_front() {
                match slot {
                    Slot::Latest { topic } => {
                        if let Some(frame) = self.latest.remove(&topic) {
                            self.latest_bytes -= frame.len();
                            return Some(frame);
                        }
                    }
                    Slot::Every { topic, frame, at } => {
                        self.every_frames -= 1;
                        self.every_bytes -= frame.len();
                        if expires(level) && now.saturating_sub(at) > MAX_AGE {
                            self.count_drop(topic);
                        } else {
                            return Some(frame);
                        }
                    }
                }
            }
        }
        None
    }

    /// Drops the oldest `every` sample of the least urgent level that has one.
    fn shed_one(&mut self) {
        for level in (0..self.levels.len()).rev() {
            let Some(at) = self.levels[level].iter().position(|slot| matches!(slot, Slot::Every { .. }))
            else {
                continue;
            };
            if let Some(Slot::Every { topic, frame, .. }) = self.levels[level].remove(at) {
                self.every_frames -= 1;
                self.every_bytes -= frame.len();
                self.count_drop(topic);
            }
            return;
        }
    }

    fn count_drop(&mut self, topic: u32) {
        *self.dropped.entry(topic).or_default() += 1;
        self.dropped_total += 1;
    }
}

const MAX_AGE: Duration = Duration::from_millis(limits::OUTBOX_MAX_AGE_MS);

/// Whether samples of this level are worthless when they are old: a client that thaws wants what is
/// now. Emergency, safety, state and mission are history and stay.
fn expires(level: usize) -> bool {
    level > Priority::Mission as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(n: u8) -> Bytes {
        Bytes::from(vec![n; 4])
    }

    fn drain(outbox: &Outbox) -> Vec<u8> {
        let mut batch = Vec::new();
        outbox.try_take(&mut batch, usize::MAX, Duration::ZERO);
        batch.iter().map(|frame| frame[0]).collect()
    }

    #[test]
    fn urgent_first_and_newest_wins() {
        let outbox = Outbox::new();
        outbox.every(1, Priority::Sensors, frame(1), Duration::ZERO);
        outbox.latest(2, Priority::Vital, frame(2));
        outbox.latest(2, Priority::Vital, frame(3));
        outbox.every(3, Priority::Emergency, frame(4), Duration::ZERO);
        outbox.control(frame(5));
        assert_eq!(drain(&outbox), [5, 4, 3, 1]);
        assert_eq!(outbox.take_drops(), [DropCount { id: 2, count: 1 }]);
        assert_eq!(outbox.stats().queued_bytes, 0);
    }

    #[test]
    fn a_full_queue_sheds_the_oldest_of_the_least_urgent() {
        let outbox = Outbox::new();
        outbox.every(9, Priority::Emergency, frame(9), Duration::ZERO);
        for n in 0..limits::OUTBOX_EVERY_FRAMES {
            outbox.every(1, Priority::Sensors, frame(n as u8), Duration::ZERO);
        }
        assert_eq!(outbox.stats().dropped, 1);
        assert_eq!(drain(&outbox)[..2], [9, 1]);
    }

    #[tokio::test]
    async fn what_a_take_leaves_is_taken_next() {
        let outbox = Outbox::new();
        (0..100).for_each(|n| outbox.every(1, Priority::Mission, frame(n), Duration::ZERO));
        let mut batch = Vec::new();
        for expected in [5, 5, 64, 26] {
            batch.clear();
            let max_bytes = if expected == 5 { 20 } else { usize::MAX };
            assert_eq!(outbox.take(&mut batch, max_bytes).await, After::Continue);
            assert_eq!(batch.len(), expected);
        }
    }

    #[test]
    fn old_streams_expire_and_old_history_stays() {
        let outbox = Outbox::new();
        outbox.every(1, Priority::Sensors, frame(1), Duration::ZERO);
        outbox.every(2, Priority::Mission, frame(2), Duration::ZERO);
        let mut batch = Vec::new();
        let later = MAX_AGE + Duration::from_millis(1);
        outbox.try_take(&mut batch, usize::MAX, later);
        assert_eq!(batch, [frame(2)]);
        assert_eq!(outbox.stats().dropped, 1);
    }

    #[test]
    fn close_is_the_last_word_and_a_hoarder_is_cut_off() {
        let outbox = Outbox::new();
        outbox.every(1, Priority::Sensors, frame(1), Duration::ZERO);
        outbox.control(frame(2));
        outbox.close(1001, "bye");
        outbox.control(frame(3));
        let mut batch = Vec::new();
        assert_eq!(outbox.try_take(&mut batch, usize::MAX, Duration::ZERO), After::Close);
        assert_eq!((batch.len(), batch[0][0], batch[1][0]), (2, 2, 0x88));
        let outbox = Outbox::new();
        outbox.control(Bytes::from(vec![0; limits::OUTBOX_CONTROL_BYTES + 1]));
        assert_eq!(outbox.try_take(&mut Vec::new(), 1, Duration::ZERO), After::Abort);
    }

    proptest! {
        #[test]
        fn bytes_are_accounted_for(ops in prop::collection::vec((0u8..3, 0u32..4, 0usize..6, 0usize..5000), 0..400)) {
            let outbox = Outbox::new();
            for (op, topic, level, size) in ops {
                let frame = Bytes::from(vec![0; size]);
                match op {
                    0 => outbox.latest(topic, Priority::ALL[level], frame),
                    1 => outbox.every(topic + 10, Priority::ALL[level], frame, Duration::ZERO),
                    _ => { outbox.try_take(&mut Vec::new(), size, Duration::ZERO); }
                }
                prop_assert!(outbox.stats().queued_bytes <= limits::OUTBOX_EVERY_BYTES + 4 * 5000);
            }
            while !drain_all(&outbox).is_empty() {}
            prop_assert_eq!(outbox.stats().queued_bytes, 0);
        }
    }

    fn drain_all(outbox: &Outbox) -> Vec<Bytes> {
        let mut batch = Vec::new();
        outbox.try_take(&mut batch, usize::MAX, Duration::ZERO);
        batch
    }
}
