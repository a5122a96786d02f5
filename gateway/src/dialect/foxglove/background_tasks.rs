//! What takes its time: calls, parameters, files. Each is a task of its own, so that neither the
//! session nor anybody else waits; they are bounded in number, and end with the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;

use crate::connection::outbox::Outbox;

/// How often a task looks whether there is room for its answer.
const LOOK: Duration = Duration::from_millis(20);

/// As many answers of this size as there may be requests leave room in an outbox.
const SMALL_BYTES: usize = limits::OUTBOX_CONTROL_BYTES / 4 / limits::CALLS_PER_SESSION;

/// The running tasks of one session.
pub(super) struct Errands {
    tasks: JoinSet<()>,
    /// What the requests hold that wait for their answers.
    bytes: Arc<AtomicUsize>,
    outbox: Arc<Outbox>,
    /// Answers that may be large are made one at a time.
    turn: Arc<Semaphore>,
    /// Several nodes are asked for one request at a time.
    nodes: Arc<Semaphore>,
}

/// Where a task puts its answer.
#[derive(Clone)]
pub(super) struct Desk {
    outbox: Arc<Outbox>,
    turn: Arc<Semaphore>,
    nodes: Arc<Semaphore>,
}

impl Errands {
    pub(super) fn new(outbox: Arc<Outbox>) -> Errands {
        let one = || Arc::new(Semaphore::new(1));
        Errands { tasks: JoinSet::new(), bytes: Arc::default(), outbox, turn: one(), nodes: one() }
    }

    /// Starts a task for a request of so many bytes, unless too much is under way.
    pub(super) fn start<F>(&mut self, bytes: usize, task: impl FnOnce(Desk) -> F) -> Result<(), String>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= limits::CALLS_PER_SESSION {
            return Err(format!("{} requests wait for their answers already", limits::CALLS_PER_SESSION));
        }
        let before = self.bytes.load(Ordering::Relaxed);
        if before > 0 && before + bytes > limits::FOXGLOVE_PENDING_BYTES {
            return Err("large requests wait for their answers already".to_owned());
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let held = Held(self.bytes.clone(), bytes);
        let (outbox, turn, nodes) = (self.outbox.clone(), self.turn.clone(), self.nodes.clone());
        let task = task(Desk { outbox, turn, nodes });
        self.tasks.spawn(async move {
            task.await;
            drop(held);
        });
        Ok(())
    }
}

/// Gives back what a request held.
struct Held(Arc<AtomicUsize>, usize);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Desk {
    /// Hands over an answer that is small.
    pub(super) fn say(&self, frame: Bytes) {
        self.outbox.control(frame);
    }

    /// Waits for the session's turn to ask many nodes: side by side, its requests would take all the
    /// calls that the endpoint may make.
    pub(super) async fn turn_to_ask(&self) -> Option<SemaphorePermit<'_>> {
        self.nodes.acquire().await.ok()
    }

    /// Hands over an answer in the way that its size asks for: a small one does not wait for files.
    pub(super) async fn answer(&self, frame: Bytes) {
        match frame.len() <= SMALL_BYTES {
            true => self.say(frame),
            false => self.hand_over(async { frame }).await,
        }
    }

    /// Makes an answer that may be large, and hands it over: when the client has taken most of what
    /// came before, and one after the other, so that one session holds one of them at most.
    pub(super) async fn hand_over(&self, make: impl Future<Output = Bytes>) {
        let Ok(_turn) = self.turn.acquire().await else { return };
        self.room().await;
        let frame = make.await;
        self.room().await;
        self.outbox.control(frame);
    }

    async fn room(&self) {
        while !has_room(&self.outbox) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Whether so little waits that a large answer may be added.
pub(super) fn has_room(outbox: &Outbox) -> bool {
    outbox.control_bytes() <= limits::FOXGLOVE_WAITING_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap();
    }

    #[tokio::test]
    async fn large_answers_wait_for_room_and_for_each_other() {
        let outbox = Outbox::new();
        let mut errands = Errands::new(outbox.clone());
        outbox.control(Bytes::from(vec![0; limits::FOXGLOVE_WAITING_BYTES + 1]));
        for _ in 0..3 {
            let large = Bytes::from(vec![0; limits::FOXGLOVE_ANSWER_BYTES]);
            errands.start(1, |desk| async move { desk.hand_over(async { large }).await }).unwrap();
        }
        // Two at a time, and the outbox would break: neither would come out.
        for _ in 0..3 {
            tokio::time::sleep(LOOK * 2).await;
            assert_eq!(outbox.drain_for_test().len(), 1);
            until(|| outbox.control_bytes() > 0).await;
        }
        assert_eq!(outbox.control_bytes(), limits::FOXGLOVE_ANSWER_BYTES);
    }

    #[tokio::test]
    async fn they_are_bounded_and_end_with_the_session() {
        let mut errands = Errands::new(Outbox::new());
        let alive = Arc::new(());
        for _ in 0..limits::CALLS_PER_SESSION {
            let held = alive.clone();
            let task = |_| async move {
                std::future::pending::<()>().await;
                drop(held);
            };
            errands.start(1, task).unwrap();
        }
        assert!(errands.start(1, |_| async {}).is_err());
        drop(errands);
        until(|| Arc::strong_count(&alive) == 1).await;
    }
    #[tokio::test]
    async fn large_requests_wait_alone() {
        let mut errands = Errands::new(Outbox::new());
        errands.start(limits::INBOUND_MESSAGE_BYTES, |_| async {}).unwrap();
        assert!(errands.start(limits::INBOUND_MESSAGE_BYTES, |_| async {}).is_err());
        until(|| errands.bytes.load(Ordering::Relaxed) == 0).await;
        errands.start(limits::INBOUND_MESSAGE_BYTES, |_| async {}).unwrap();
    }
}
