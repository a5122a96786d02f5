//! What waits for one client: ordered by priority, bounded, newest first where that is allowed.
//!
//! A `latest` topic holds one slot: a newer sample replaces the one that waits, at its place. An
//! `every` topic queues; when the queue is full the oldest sample of the least urgent topic goes,
//! and it is counted and told. Control messages (answers, heartbeats, close) go first. On a budgeted
//! link frames go when they can be paid; while the client is away nothing goes.

mod queue;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::Priority;
use roverline_protocol::native::DropCount;
use roverline_protocol::service_level::ServiceLevel;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::connection::budget::Budget;
use crate::connection::outbox::queue::{Popped, Queue};

/// The queue between the hub and a session's writer.
#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
    /// Wakes whoever reads from the client, when the writer has ended.
    pub(crate) ended: Notify,
    level: AtomicU8,
    shed: AtomicU64,
    heard_ms: AtomicU64,
    answers: AtomicBool,
    /// When the socket stopped taking anything, milliseconds (monotonic) and one; 0: it takes.
    blocked_ms: AtomicU64,
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
    /// Samples not sent because of a service level or a budget.
    pub shed: u64,
    /// Bytes that wait.
    pub queued_bytes: usize,
}

impl Outbox {
    /// An empty one.
    pub fn new() -> Arc<Outbox> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a control message. A client that lets megabytes of answers pile up is ended.
    pub fn control(&self, frame: Bytes) {
        self.lock().control(frame);
        self.wake.notify_one();
    }

    /// Queues a ping, unless one waits. It counts as no message.
    pub(crate) fn ping(&self, frame: Bytes) {
        self.lock().ping = Some(frame);
        self.wake.notify_one();
    }

    /// Queues a sample of a `latest` topic at the time `at` (monotonic): it takes the place of one
    /// that waits.
    pub fn latest(&self, topic: u32, priority: Priority, frame: Bytes, at: Duration) {
        self.lock().latest(topic, priority, frame, at);
        self.wake.notify_one();
    }

    /// Queues a sample of an `every` topic at the time `at` (monotonic).
    pub fn every(&self, topic: u32, priority: Priority, frame: Bytes, at: Duration) {
        self.lock().every(topic, priority, frame, at);
        self.wake.notify_one();
    }

    /// Of an `every` topic no more than so many may wait: the oldest go.
    pub fn keep_newest(&self, topic: u32, priority: Priority, most: usize) {
        self.lock().keep_newest(topic, priority, most);
    }

    /// Counts a sample that cannot be sent at all.
    pub fn refuse(&self, topic: u32) {
        self.lock().count_drop(topic);
    }

    /// Counts a sample that the session's service level does not let through.
    pub fn count_shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// What the session gets now.
    pub fn level(&self) -> ServiceLevel {
        let level = self.level.load(Ordering::Relaxed);
        ServiceLevel::ALL.get(usize::from(level)).copied().unwrap_or_default()
    }

    /// Changes what the session gets.
    pub fn set_level(&self, level: ServiceLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Puts the session on a budget, or takes it off.
    pub(crate) fn set_budget(&self, budget: Option<Budget>) {
        self.lock().budget = budget;
        self.wake.notify_one();
    }

    /// The client gave a sign of life at `now` (monotonic).
    pub(crate) fn heard(&self, now: Duration) {
        self.heard_ms.store(now.as_millis() as u64, Ordering::Relaxed);
    }

    /// The client gives signs of life by itself, or answers pings: from now on its silence counts.
    pub fn answers(&self) {
        self.answers.store(true, Ordering::Relaxed);
    }

    /// For how long the client gave no sign of life; zero for one that never does.
    pub(crate) fn silence(&self, now: Duration) -> Duration {
        match self.answers.load(Ordering::Relaxed) {
            true => now.saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))),
            false => Duration::ZERO,
        }
    }

    /// Stops and starts sending: while the client is away, what is newest waits here and not in the
    /// network. Returns whether that is a change.
    pub(crate) fn pause(&self, paused: bool, now: Duration) -> bool {
        let mut queue = self.lock();
        if queue.paused == paused {
            return false;
        }
        queue.paused = paused;
        if !paused {
            queue.forget_the_old(now);
            drop(queue);
            self.wake.notify_one();
        }
        true
    }

    /// Whether nothing is sent because the client is away.
    pub fn is_paused(&self) -> bool {
        self.lock().paused
    }

    /// The socket takes nothing any more, or again.
    pub(crate) fn blocked(&self, since: Option<Duration>) {
        self.blocked_ms.store(since.map_or(0, |at| at.as_millis() as u64 + 1), Ordering::Relaxed);
    }

    /// How long the oldest frame has waited, here or for the socket, and how many samples have been
    /// lost to waiting so far. Under a budget only what is urgent counts: that the rest waits and is
    /// shed is what a budget is for, and says nothing of the link.
    pub(crate) fn measure(&self, now: Duration) -> (Duration, u64) {
        let queue = self.lock();
        let blocked = match self.blocked_ms.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            ms => now.saturating_sub(Duration::from_millis(ms - 1)),
        };
        match queue.budget.is_some() {
            true => (queue.oldest_wait(Priority::Mission, now).max(blocked), 0),
            false => (queue.oldest_wait(Priority::Sensors, now).max(blocked), queue.lost),
        }
    }

    /// No more samples: what was queued as control goes out, then the close frame.
    pub fn close(&self, code: u16, reason: &str) {
        self.lock().close(code, reason);
        self.wake.notify_one();
    }

    /// Bytes from the WebSocket library (pong, close echo), sent as they are.
    pub(crate) fn raw_control(&self, bytes: &[u8]) {
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
            self.try_take(&mut batch, usize::MAX, roverline_source::clock::monotonic());
            if batch.len() == before {
                return batch;
            }
        }
    }

    /// Bytes of control messages that wait.
    pub fn control_bytes(&self) -> usize {
        self.lock().control_bytes()
    }

    /// Counters.
    pub fn stats(&self) -> OutboxStats {
        let queue = self.lock();
        OutboxStats {
            sent: queue.sent,
            sent_bytes: queue.sent_bytes,
            dropped: queue.dropped_total,
            shed: queue.shed + self.shed.load(Ordering::Relaxed),
            queued_bytes: queue.bytes(),
        }
    }

    /// Waits for frames, then moves up to `max_bytes` of them into `batch`, most urgent first.
    /// Returns what to do after writing them.
    pub(crate) async fn take(&self, batch: &mut Vec<Bytes>, max_bytes: usize) -> After {
        let mut nap = None;
        loop {
            // Whoever adds something leaves a permit, and so does a take that leaves something.
            match nap {
                None => self.wake.notified().await,
                // Until the next frame can be paid, or a more urgent one comes.
                Some(nap) => drop(timeout(nap, self.wake.notified()).await),
            }
            let after;
            (after, nap) = self.try_take(batch, max_bytes, roverline_source::clock::monotonic());
            if !batch.is_empty() || after != After::Continue {
                return after;
            }
        }
    }

    fn try_take(&self, batch: &mut Vec<Bytes>, max_bytes: usize, now: Duration) -> (After, Option<Duration>) {
        let mut queue = self.lock();
        if queue.broken {
            return (After::Abort, None);
        }
        let (mut bytes, mut nap) = (0, None);
        // Whoever waits for a pong does not count pings as messages.
        batch.extend(queue.ping.take());
        let pings = batch.len();
        while !queue.paused || queue.closing {
            if bytes >= max_bytes || batch.len() >= 64 {
                self.wake.notify_one();
                break;
            }
            match queue.pop(now) {
                Popped::Frame(frame) => {
                    bytes += frame.len();
                    batch.push(frame);
                }
                Popped::Later(wait) => {
                    nap = Some(wait);
                    if !batch.is_empty() {
                        self.wake.notify_one();
                    }
                    break;
                }
                Popped::Nothing => break,
            }
        }
        queue.sent += (batch.len() - pings) as u64;
        queue.sent_bytes += bytes as u64;
        if queue.closing && queue.is_spoken() {
            batch.extend(queue.close.take());
            return (After::Close, None);
        }
        (After::Continue, nap)
    }
}

/// What the writer does after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Take the next.
    Continue,
    /// That was the close frame.
    Close,
    /// The client misbehaved: no more words.
    Abort,
}
