//! The outbox of one session: a bounded queue ordered by priority, which keeps only the newest sample of
//! `latest` topics.
//!
//! A `latest` topic has one slot: a newer sample replaces the queued one and keeps its position. An `every`
//! topic queues; when the queue is full, the oldest sample of the least urgent topic is dropped, counted
//! and reported. Control messages (responses, heartbeats, close) go first. On a budgeted link, frames are
//! sent as the budget allows; while the client is unresponsive, nothing is sent.

mod queue;
mod queued_frame;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use roverline_protocol::Priority;
use roverline_protocol::native::DropCount;
use roverline_protocol::service_level::ServiceLevel;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::connection::budget::Budget;
use crate::connection::delivery_latency::DeliveryLatency;
use crate::connection::frame;
use crate::connection::link_meter::{LinkCounts, LinkMeter, LinkStatus};
use crate::connection::outbox::queue::{PopResult, Queue};
pub use crate::connection::outbox::queued_frame::QueuedFrame;
use crate::trace::sample_trace::DeliveryTrace;

/// The queue between the hub and a session's writer.
#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
    /// Wakes the reader when the writer has ended.
    pub(crate) ended: Notify,
    level: AtomicU8,
    shed: AtomicU64,
    last_activity_ms: AtomicU64,
    expects_liveness: AtomicBool,
    /// When the socket stopped accepting data, in milliseconds (monotonic) plus one; 0 if it is accepting.
    blocked_ms: AtomicU64,
    link: Mutex<LinkMeter>,
    latency: Option<Arc<DeliveryLatency>>,
}

/// Counters of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxStats {
    /// Messages handed to the socket.
    pub sent: u64,
    /// Bytes handed to the socket.
    pub sent_bytes: u64,
    /// Samples dropped because the client was slow or unresponsive; it gets a report of them.
    pub dropped: u64,
    /// Samples not sent because of a service level or a budget; the client knows its level.
    pub shed: u64,
    /// Bytes queued.
    pub queued_bytes: usize,
}

impl Outbox {
    /// Creates an empty outbox.
    pub fn new() -> Arc<Outbox> {
        Arc::default()
    }

    /// Creates an empty outbox whose samples are timed.
    pub fn timed(latency: Arc<DeliveryLatency>) -> Arc<Outbox> {
        Arc::new(Outbox { latency: Some(latency), ..Outbox::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Queues a control message. A client that lets megabytes of responses pile up is disconnected.
    pub fn control(&self, frame: Bytes) {
        self.lock().control(frame);
        self.wake.notify_one();
    }

    /// Queues a ping, replacing a queued one. Pings are not counted as messages.
    pub(crate) fn ping(&self) {
        self.lock().ping = true;
        self.wake.notify_one();
    }

    /// Records a pong of the client.
    pub(crate) fn pong(&self, payload: &[u8], now: Duration) {
        self.link.lock().pong(payload, now);
    }

    /// Records a message of the client.
    pub(crate) fn received(&self, bytes: usize) {
        self.link.lock().received(bytes);
    }

    /// Measures the link since the last call; once a second.
    pub(crate) fn measure_link(&self, now: Duration) {
        let sent_bytes = self.lock().sent_bytes;
        self.link.lock().measure(sent_bytes, now);
    }

    /// What happened on the link since the last call.
    pub(crate) fn take_link_counts(&self) -> LinkCounts {
        self.link.lock().take_counts()
    }

    /// The client's link now.
    pub(crate) fn link_status(&self) -> LinkStatus {
        self.link.lock().status()
    }

    /// Records how long the socket took for a batch.
    pub(super) fn record_write(&self, took: Duration) {
        if let Some(latency) = &self.latency {
            latency.record_socket(took);
        }
    }

    /// Queues a sample of a `latest` topic at the time `at` (monotonic), replacing the queued one.
    pub fn latest(&self, topic: u32, priority: Priority, frame: impl Into<QueuedFrame>, at: Duration) {
        self.lock().latest(topic, priority, frame.into(), at);
        self.wake.notify_one();
    }

    /// Queues a sample of an `every` topic at the time `at` (monotonic).
    pub fn every(&self, topic: u32, priority: Priority, frame: impl Into<QueuedFrame>, at: Duration) {
        self.lock().every(topic, priority, frame.into(), at);
        self.wake.notify_one();
    }

    /// Drops the oldest samples of an `every` topic beyond the newest `most`.
    pub fn keep_newest(&self, topic: u32, priority: Priority, most: usize) {
        self.lock().keep_newest(topic, priority, most);
    }

    /// Counts a sample that is too large to be sent.
    pub fn count_oversized(&self, topic: u32) {
        self.lock().count_drop(topic);
    }

    /// Counts a sample that the session's service level excludes.
    pub fn count_shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// The session's service level.
    pub fn level(&self) -> ServiceLevel {
        let level = self.level.load(Ordering::Relaxed);
        ServiceLevel::ALL.get(usize::from(level)).copied().unwrap_or_default()
    }

    /// Sets the session's service level.
    pub fn set_level(&self, level: ServiceLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Sets or removes the session's budget.
    pub(crate) fn set_budget(&self, budget: Option<Budget>) {
        self.lock().budget = budget;
        self.wake.notify_one();
    }

    /// Whether the session has a budget.
    pub(crate) fn has_budget(&self) -> bool {
        self.lock().budget.is_some()
    }

    /// Records activity of the client at `now` (monotonic).
    pub(crate) fn note_activity(&self, now: Duration) {
        self.last_activity_ms.store(now.as_millis() as u64, Ordering::Relaxed);
    }

    /// Enables the liveness check: the client sends messages on its own or answers pings.
    pub fn expect_liveness(&self) {
        self.expects_liveness.store(true, Ordering::Relaxed);
    }

    /// How long the client has been silent; zero for a client without liveness check.
    pub(crate) fn idle_for(&self, now: Duration) -> Duration {
        match self.expects_liveness.load(Ordering::Relaxed) {
            true => now.saturating_sub(Duration::from_millis(self.last_activity_ms.load(Ordering::Relaxed))),
            false => Duration::ZERO,
        }
    }

    /// Pauses or resumes sending. While the client is unresponsive, the newest samples wait here and not in
    /// the network. Returns whether the state changed.
    pub(crate) fn pause(&self, paused: bool, now: Duration) -> bool {
        let mut queue = self.lock();
        if queue.paused == paused {
            return false;
        }
        queue.paused = paused;
        if !paused {
            queue.expire_stale(now);
            drop(queue);
            self.wake.notify_one();
        }
        true
    }

    /// Whether sending is paused because the client is unresponsive.
    pub fn is_paused(&self) -> bool {
        self.lock().paused
    }

    /// Records since when the socket accepts no data; `None` when it accepts again.
    pub(crate) fn set_blocked_since(&self, since: Option<Duration>) {
        self.blocked_ms.store(since.map_or(0, |at| at.as_millis() as u64 + 1), Ordering::Relaxed);
    }

    /// Returns how long the oldest frame has waited, here or for the socket, and how many samples were lost
    /// to waiting. Under a budget only urgent frames count, because a budget makes the others wait by
    /// design.
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

    /// Stops accepting samples: the queued control messages are sent, then the close frame.
    pub fn close(&self, code: u16, reason: &str) {
        self.lock().close(code, reason);
        self.wake.notify_one();
    }

    /// Queues bytes from the WebSocket library (pong, close echo) unchanged.
    pub(crate) fn raw_control(&self, bytes: &[u8]) {
        self.control(Bytes::copy_from_slice(bytes));
    }

    /// Whether a close was requested.
    pub fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Returns the counts of samples dropped since the last call, to be reported to the client.
    pub fn take_drops(&self) -> Vec<DropCount> {
        let mut drops: Vec<_> =
            self.lock().dropped.drain().map(|(id, count)| DropCount { id, count }).collect();
        drops.sort_by_key(|drop| drop.id);
        drops
    }

    /// Takes all queued frames in sending order.
    #[cfg(test)]
    pub(crate) fn drain_for_test(&self) -> Vec<Bytes> {
        let mut batch = Batch::default();
        loop {
            let before = batch.frames.len();
            self.try_take(&mut batch, usize::MAX, roverline_source::clock::monotonic());
            if batch.frames.len() == before {
                return batch.frames;
            }
        }
    }

    /// Bytes of queued control messages.
    pub fn control_bytes(&self) -> usize {
        self.lock().control_bytes()
    }

    /// The session's counters.
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

    /// Waits for frames, then moves up to `max_bytes` of them into `batch`, most urgent first. Returns what
    /// to do after writing them.
    pub(crate) async fn take(&self, batch: &mut Batch, max_bytes: usize) -> NextStep {
        let mut wait = None;
        loop {
            // Every push stores a permit, and so does a take that leaves frames behind.
            match wait {
                None => self.wake.notified().await,
                // Until the budget allows the next frame, or a more urgent one is queued.
                Some(wait) => drop(timeout(wait, self.wake.notified()).await),
            }
            let next;
            (next, wait) = self.try_take(batch, max_bytes, roverline_source::clock::monotonic());
            if !batch.frames.is_empty() || next != NextStep::Continue {
                return next;
            }
        }
    }

    fn try_take(&self, batch: &mut Batch, max_bytes: usize, now: Duration) -> (NextStep, Option<Duration>) {
        let mut queue = self.lock();
        if queue.broken {
            return (NextStep::Abort, None);
        }
        let (mut bytes, mut wait) = (0, None);
        // Pings are not counted as sent messages.
        if std::mem::take(&mut queue.ping) {
            batch.frames.push(frame::ping(self.link.lock().ping_sent(now)));
        }
        let pings = batch.frames.len();
        while !queue.paused || queue.closing {
            if bytes >= max_bytes || batch.frames.len() >= 64 {
                self.wake.notify_one();
                break;
            }
            match queue.pop(now) {
                PopResult::Frame(frame, queued) => {
                    if let (Some(latency), Some((priority, at))) = (&self.latency, queued) {
                        latency.record_outbox(priority, now.saturating_sub(at));
                    }
                    bytes += frame.bytes.len();
                    batch.push(frame, now);
                }
                PopResult::Later(later) => {
                    wait = Some(later);
                    if !batch.frames.is_empty() {
                        self.wake.notify_one();
                    }
                    break;
                }
                PopResult::Nothing => break,
            }
        }
        queue.sent += (batch.frames.len() - pings) as u64;
        queue.sent_bytes += bytes as u64;
        if queue.closing && queue.control_flushed() {
            batch.frames.extend(queue.close.take());
            return (NextStep::Close, None);
        }
        (NextStep::Continue, wait)
    }
}

/// Frames on their way to the socket.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The frames, in sending order.
    pub(crate) frames: Vec<Bytes>,
    /// The traced deliveries among them.
    traced: Vec<Arc<DeliveryTrace>>,
}

impl Batch {
    fn push(&mut self, frame: QueuedFrame, now: Duration) {
        self.frames.push(frame.bytes);
        if let Some(trace) = frame.trace {
            trace.taken(now);
            self.traced.push(trace);
        }
    }

    /// Empties the batch after the socket has taken all of it; `now` is read only if one of its frames is traced.
    pub(crate) fn written(&mut self, now: impl Fn() -> Duration) {
        self.frames.clear();
        self.traced.drain(..).for_each(|trace| trace.written(now()));
    }
}

/// The writer's next step after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Take the next batch.
    Continue,
    /// The batch ended with the close frame.
    Close,
    /// The client misbehaved: disconnect without a close frame.
    Abort,
}
