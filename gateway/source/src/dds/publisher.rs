//! The way back into DDS: a bounded queue and the thread behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::dds::service_broker::Desk;
use crate::dds::writers::{Outgoing, Writers};
use crate::{Call, Listen, Publication, PublishError, Publisher, Qos, Service};

/// Messages that may wait for the publishing thread.
const QUEUE: usize = 256;
/// The longest pause between two calls of a publishing thread's `tick`.
const TICK: Duration = Duration::from_secs(1);

/// What waits in the queue: a message, or nothing where the thread shall just look up.
pub(super) type Entry = Option<Outgoing>;

/// The sending end, usable from any thread; nothing here blocks.
pub(super) struct Queue {
    sender: SyncSender<Entry>,
    closed: AtomicBool,
    desk: Arc<Desk>,
}

impl Queue {
    /// A queue and the end that [`work`] takes; what is not published is asked at the `desk`.
    pub(super) fn new(desk: Arc<Desk>) -> (Queue, Receiver<Entry>) {
        let (sender, receiver) = sync_channel(QUEUE);
        (Queue { sender, closed: AtomicBool::new(false), desk }, receiver)
    }

    /// Hands a message to the thread.
    pub(super) fn push(&self, message: Outgoing) -> Result<(), PublishError> {
        let stopped = || PublishError::Failed("the source has stopped".to_owned());
        message.check()?;
        if self.closed.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        self.sender.try_send(Some(message)).map_err(|error| match error {
            TrySendError::Full(_) => PublishError::Busy(QUEUE),
            TrySendError::Disconnected(_) => stopped(),
        })
    }

    /// Has the thread look up. Where the queue is full it is about to do so anyway.
    pub(super) fn wake(&self) {
        let _ = self.sender.try_send(None);
    }

    /// Ends the thread; messages that still wait are dropped.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.wake();
    }
}

/// The publishing thread; `tick` is called between messages, every now and then and when woken.
pub(super) fn work(queue: &Queue, receiver: &Receiver<Entry>, mut writers: Writers, mut tick: impl FnMut()) {
    let mut ticked = Instant::now();
    while !queue.closed.load(Ordering::Relaxed) {
        let message = match receiver.recv_timeout(TICK) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let woken = message.is_none();
        message.into_iter().for_each(|message| writers.send(message));
        if woken || ticked.elapsed() >= TICK {
            tick();
            writers.look_after(Instant::now());
            ticked = Instant::now();
        }
    }
}

impl Publisher for Queue {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let Publication { topic, type_name, payload, latched } = publication;
        let qos = Qos { reliable: true, transient_local: latched };
        self.push(Outgoing { topic, type_name, qos, payload: Some(payload), source_time_ns: 0 })
    }

    fn offer(&self, service: Service) -> Result<(), PublishError> {
        self.desk.offer(service)
    }

    fn withdraw(&self, name: &str) {
        self.desk.withdraw(name);
    }

    fn call(&self, call: Call) -> Result<(), PublishError> {
        self.desk.call(call)
    }

    fn listen(&self, listen: Listen) -> Result<(), PublishError> {
        self.desk.listen(listen)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn publication(topic: &str, type_name: &str, payload: &'static [u8]) -> Publication {
        let payload = Bytes::from_static(payload);
        Publication { topic: topic.into(), type_name: type_name.into(), payload, latched: false }
    }

    #[test]
    fn the_queue_is_bounded_and_says_so() {
        let (queue, receiver) = Queue::new(Arc::new(Desk::new().0));
        let good = publication("/stop", "std_msgs/msg/Bool", &[0, 1, 0, 0, 1]);
        for _ in 0..QUEUE {
            queue.publish(good.clone()).unwrap();
        }
        assert_eq!(queue.publish(good.clone()), Err(PublishError::Busy(QUEUE)));
        drop(receiver);
        assert!(matches!(queue.publish(good.clone()), Err(PublishError::Failed(_))));
        queue.close();
        assert!(matches!(queue.publish(good), Err(PublishError::Failed(text)) if text.contains("stopped")));
    }

    #[test]
    fn what_cannot_be_published_is_refused_at_once() {
        let (queue, _receiver) = Queue::new(Arc::new(Desk::new().0));
        for (topic, type_name, payload) in [
            ("stop", "std_msgs/msg/Bool", &[0, 1, 0, 0, 1][..]),
            ("/stop", "Bool", &[0, 1, 0, 0, 1]),
            ("/stop", "std_msgs/msg/Bool", &[0, 0, 0, 0, 1]),
            ("/stop", "std_msgs/msg/Bool", &[]),
        ] {
            let error = queue.publish(publication(topic, type_name, payload).clone()).unwrap_err();
            assert!(matches!(error, PublishError::Failed(_)), "{error}");
        }
    }
}
