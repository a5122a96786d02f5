//! The publishing side of a participant: a bounded queue and the thread that drains it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::dds::first_messages::POLL_MS;
use crate::dds::latched_only::LatchedOnly;
use crate::dds::outgoing::Outgoing;
use crate::dds::service_broker::ServiceBroker;
use crate::dds::writers::Writers;
use crate::{Advertisement, Call, Publication, PublishError, Qos, Service, SourceControl, TopicListener};

/// Messages that may wait for the publishing thread.
const QUEUE: usize = 256;
/// The longest interval between two calls of the publishing thread's `tick`.
const TICK: Duration = Duration::from_secs(1);

/// A queue entry: a message, or `None` to wake the thread.
pub(super) type QueueEntry = Option<Outgoing>;

/// The sending end of the queue, usable from any thread. Nothing here blocks.
pub(super) struct PublishQueue {
    sender: SyncSender<QueueEntry>,
    closed: AtomicBool,
    broker: Arc<ServiceBroker>,
    latched_only: Arc<LatchedOnly>,
}

impl PublishQueue {
    /// A queue and the receiving end for [`publish_loop`]; requests other than publications go to the
    /// `broker`.
    pub(super) fn new(broker: Arc<ServiceBroker>) -> (PublishQueue, Receiver<QueueEntry>) {
        let (sender, receiver) = sync_channel(QUEUE);
        let (closed, latched_only) = (AtomicBool::new(false), Arc::default());
        (PublishQueue { sender, closed, broker, latched_only }, receiver)
    }

    /// Queues a message for the thread.
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

    /// Wakes the thread. If the queue is full the thread is about to wake anyway.
    pub(super) fn wake(&self) {
        let _ = self.sender.try_send(None);
    }

    /// The topics to which only latched messages can be published.
    pub(super) fn latched_only(&self) -> Arc<LatchedOnly> {
        self.latched_only.clone()
    }

    /// Ends the thread. Messages still queued are dropped.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.wake();
    }
}

/// The body of the publishing thread. Calls `tick` between messages, at least once per [`TICK`] and
/// when woken.
pub(super) fn publish_loop(
    queue: &PublishQueue,
    receiver: &Receiver<QueueEntry>,
    mut writers: Writers,
    mut tick: impl FnMut(),
) {
    let mut ticked = Instant::now();
    let mut holding = false;
    while !queue.closed.load(Ordering::Relaxed) {
        let timeout = if holding { Duration::from_millis(POLL_MS) } else { TICK };
        let message = match receiver.recv_timeout(timeout) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let woken = matches!(message, Some(None));
        message.flatten().into_iter().for_each(|message| writers.send(message));
        holding = writers.send_held(Instant::now());
        if woken || ticked.elapsed() >= TICK {
            tick();
            writers.close_idle(Instant::now());
            ticked = Instant::now();
        }
    }
}

impl SourceControl for PublishQueue {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let Publication { topic, type_name, payload, latched } = publication;
        self.latched_only.check(&topic, latched)?;
        let qos = Qos { reliable: true, transient_local: latched };
        let (payload, keeper) = (Some(payload), Weak::new());
        self.push(Outgoing { topic, type_name, qos, payload, source_time_ns: 0, keeper })
    }

    fn advertise(&self, advertisement: Advertisement) -> Result<(), PublishError> {
        let Advertisement { topic, type_name, latched, keeper } = advertisement;
        let qos = Qos { reliable: true, transient_local: latched };
        self.push(Outgoing { topic, type_name, qos, payload: None, source_time_ns: 0, keeper })
    }

    fn offer(&self, service: Service) -> Result<(), PublishError> {
        self.broker.offer(service)
    }

    fn withdraw(&self, name: &str) {
        self.broker.withdraw(name);
    }

    fn call(&self, call: Call) -> Result<(), PublishError> {
        self.broker.call(call)
    }

    fn listen(&self, listen: TopicListener) -> Result<(), PublishError> {
        self.broker.listen(listen)
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
    fn a_full_queue_reports_busy() {
        let (queue, receiver) = PublishQueue::new(Arc::new(ServiceBroker::new().0));
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
    fn invalid_publications_are_rejected_at_once() {
        let (queue, _receiver) = PublishQueue::new(Arc::new(ServiceBroker::new().0));
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
