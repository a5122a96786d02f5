//! Background tasks of a session for calls, parameters and files. Each runs on its own, so neither the
//! session nor another one waits; they are bounded in number and end with the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;

use crate::connection::outbox::Outbox;
use crate::dialect::foxglove::error::Limit;
use crate::limits;

/// Queued bytes up to which a foxglove client is sent further topics or a large response.
const FOXGLOVE_WAITING_BYTES: usize = 256 << 10;
/// Bytes of a foxglove client's pending requests; a single one may be larger.
const FOXGLOVE_PENDING_BYTES: usize = 1 << 20;

/// How often a task polls whether the outbox has space for its response.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// If every possible request has a response of this size, the outbox still has space.
const SMALL_BYTES: usize = limits::OUTBOX_CONTROL_BYTES / 4 / limits::CALLS_PER_SESSION;

/// The running tasks of one session.
pub(super) struct BackgroundTasks {
    tasks: JoinSet<()>,
    /// Bytes of the requests that are pending.
    bytes: Arc<AtomicUsize>,
    outbox: Arc<Outbox>,
    /// Large responses are built one at a time.
    large: Arc<Semaphore>,
    /// Requests to several nodes run one at a time.
    nodes: Arc<Semaphore>,
}

/// Sends the responses of a task.
#[derive(Clone)]
pub(super) struct Responder {
    outbox: Arc<Outbox>,
    large: Arc<Semaphore>,
    nodes: Arc<Semaphore>,
}

impl BackgroundTasks {
    pub(super) fn new(outbox: Arc<Outbox>) -> BackgroundTasks {
        let one = || Arc::new(Semaphore::new(1));
        BackgroundTasks { tasks: JoinSet::new(), bytes: Arc::default(), outbox, large: one(), nodes: one() }
    }

    /// Starts a task for a request of this many bytes, unless too much is pending.
    pub(super) fn start<F>(&mut self, bytes: usize, task: impl FnOnce(Responder) -> F) -> Result<(), Limit>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= limits::CALLS_PER_SESSION {
            return Err(Limit::PendingRequests);
        }
        let before = self.bytes.load(Ordering::Relaxed);
        if before > 0 && before + bytes > FOXGLOVE_PENDING_BYTES {
            return Err(Limit::PendingBytes);
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let pending = PendingBytes(self.bytes.clone(), bytes);
        let (outbox, large, nodes) = (self.outbox.clone(), self.large.clone(), self.nodes.clone());
        let task = task(Responder { outbox, large, nodes });
        self.tasks.spawn(async move {
            task.await;
            drop(pending);
        });
        Ok(())
    }
}

/// Subtracts a request's bytes when dropped.
struct PendingBytes(Arc<AtomicUsize>, usize);

impl Drop for PendingBytes {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Responder {
    /// Sends a small response.
    pub(super) fn send(&self, frame: Bytes) {
        self.outbox.control(frame);
    }

    /// Waits until no other request of the session queries many nodes: in parallel, they would use all
    /// the calls that the endpoint may make.
    pub(super) async fn acquire_query_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.nodes.acquire().await.ok()
    }

    /// Sends a response according to its size: a small one does not wait for large ones.
    pub(super) async fn respond(&self, frame: Bytes) {
        match frame.len() <= SMALL_BYTES {
            true => self.send(frame),
            false => self.send_large(async { frame }).await,
        }
    }

    /// Builds and sends a response that may be large, one at a time and only after the client has read
    /// most of the backlog, so that a session holds at most one of them.
    pub(super) async fn send_large(&self, make: impl Future<Output = Bytes>) {
        let Ok(_permit) = self.large.acquire().await else { return };
        self.wait_for_space().await;
        let frame = make.await;
        self.wait_for_space().await;
        self.outbox.control(frame);
    }

    async fn wait_for_space(&self) {
        while !has_space(&self.outbox) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Whether the backlog is small enough for a large response.
pub(super) fn has_space(outbox: &Outbox) -> bool {
    outbox.control_bytes() <= FOXGLOVE_WAITING_BYTES
}

#[cfg(test)]
mod tests {
    use roverline_test_support::wait::poll_async;

    use super::*;

    async fn until(is_so: impl Fn() -> bool) {
        poll_async(Duration::from_secs(20), async || is_so().then_some(())).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn large_answers_wait_for_room_and_for_each_other() {
        let outbox = Outbox::new();
        let mut tasks = BackgroundTasks::new(outbox.clone());
        outbox.control(Bytes::from(vec![0; super::FOXGLOVE_WAITING_BYTES + 1]));
        for _ in 0..3 {
            let large = Bytes::from(vec![0; limits::FOXGLOVE_RESPONSE_BYTES]);
            tasks.start(1, |responder| async move { responder.send_large(async { large }).await }).unwrap();
        }
        // Two at a time would overflow the outbox, and neither would be sent.
        for _ in 0..3 {
            tokio::time::sleep(POLL_INTERVAL * 2).await;
            assert_eq!(outbox.drain_for_test().len(), 1);
            until(|| outbox.control_bytes() > 0).await;
        }
        assert_eq!(outbox.control_bytes(), limits::FOXGLOVE_RESPONSE_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_bounded_and_end_with_the_session() {
        let mut tasks = BackgroundTasks::new(Outbox::new());
        let alive = Arc::new(());
        for _ in 0..limits::CALLS_PER_SESSION {
            let pending = alive.clone();
            let task = |_| async move {
                std::future::pending::<()>().await;
                drop(pending);
            };
            tasks.start(1, task).unwrap();
        }
        assert!(tasks.start(1, |_| async {}).is_err());
        drop(tasks);
        until(|| Arc::strong_count(&alive) == 1).await;
    }
    #[tokio::test(start_paused = true)]
    async fn large_requests_wait_alone() {
        let mut tasks = BackgroundTasks::new(Outbox::new());
        tasks.start(limits::INBOUND_MESSAGE_BYTES, |_| async {}).unwrap();
        assert!(tasks.start(limits::INBOUND_MESSAGE_BYTES, |_| async {}).is_err());
        until(|| tasks.bytes.load(Ordering::Relaxed) == 0).await;
        tasks.start(limits::INBOUND_MESSAGE_BYTES, |_| async {}).unwrap();
    }
}
