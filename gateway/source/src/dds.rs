//! Live ROS 2 over DDS, without a ROS installation: topics are discovered at run time, and samples
//! cross as raw CDR.
//!
//! A participant has the threads of its DDS engine (receiving, discovery) and three of ours: one waits
//! for samples and discovery events and forwards them, one publishes, since a reliable write may block,
//! and one serves and calls services. A sample's identity is its writer's GUID and sequence number,
//! equal in every process.
//!
//! The thread that waits for samples gives signs of life, which the library's receiving thread and locks can
//! prevent: a packet can occupy them for long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::dds::engine::Participant;
use crate::dds::local_writers::LocalWriters;
use crate::dds::node_announcer::NodeAnnouncer;
use crate::dds::publisher::{PublishQueue, QueueEntry, publish_loop};
use crate::dds::reader_thread::ReaderThread;
use crate::dds::service_broker::{ServiceBroker, ServiceCommand};
use crate::dds::writers::Writers;
pub use crate::dds_options::{DdsEngine, DdsOptions};
use crate::{NodeInfo, Sink, Source, SourceControl, SourceError, SourceState, StopFlag};

mod catalog;
mod discovery_info;
mod engine;
mod first_messages;
mod graph_builder;
mod graph_reporter;
mod history_depth;
mod latched_only;
mod library_watch;
mod local_writers;
mod names;
mod node_announcer;
mod outgoing;
mod publisher;
mod reader;
mod reader_thread;
mod request_correlation;
mod service_broker;
mod service_client;
mod service_server;
mod service_thread;
mod sink;
mod topic_listener;
mod writers;

pub use crate::dds::sink::DdsSink;

/// A writer of a client's topic that is unused for this long is closed.
const WRITER_IDLE_MS: u64 = 600_000;

/// Delay between a failure of the library and the next attempt to publish.
const PUBLISH_RETRY: Duration = Duration::from_millis(100);

impl DdsOptions {
    fn node(&self) -> Vec<NodeInfo> {
        if self.node_name.is_empty() {
            return Vec::new();
        }
        let namespace = if self.namespace.is_empty() { "/" } else { &self.namespace };
        vec![NodeInfo { namespace: namespace.to_owned(), name: self.node_name.clone() }]
    }
}

/// Subscribes to every wanted topic of a DDS domain.
pub struct DdsSource {
    participant: Arc<dyn Participant>,
    announcer: NodeAnnouncer,
    own: Arc<LocalWriters>,
    queue: Arc<PublishQueue>,
    receiver: Receiver<QueueEntry>,
    broker: Arc<ServiceBroker>,
    commands: Receiver<ServiceCommand>,
    reserved_topic: String,
}

impl DdsSource {
    /// Joins the domain.
    pub fn new(options: &DdsOptions) -> Result<DdsSource, SourceError> {
        let participant = engine::join(options)?;
        let announcer = NodeAnnouncer::new(participant.clone(), options.node(), &options.ros_distro);
        let (broker, commands) = ServiceBroker::new();
        let broker = Arc::new(broker);
        let (queue, receiver) = PublishQueue::new(broker.clone());
        let (own, queue) = (Arc::default(), Arc::new(queue));
        let reserved_topic = options.reserved_topic.clone();
        Ok(DdsSource { participant, announcer, own, queue, receiver, broker, commands, reserved_topic })
    }
}

impl Source for DdsSource {
    fn name(&self) -> &'static str {
        "dds"
    }

    fn control(&self) -> Arc<dyn SourceControl> {
        self.queue.clone()
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: StopFlag) -> Result<(), SourceError> {
        let DdsSource { participant, announcer, own, queue, receiver, broker, commands, reserved_topic } =
            *self;
        let idle = Duration::from_millis(WRITER_IDLE_MS);
        let (publishing, published) = (participant.clone(), own.clone());
        let writers = move || {
            let writers = Writers::new(publishing.clone(), published.clone());
            writers.close_after(idle).with_reserved_topic(reserved_topic.clone())
        };
        let (serving, our_own) = (participant.clone(), own.clone());
        let reader = ReaderThread::new(
            participant,
            own,
            announcer,
            (broker.clone(), queue.latched_only()),
            sink.clone(),
        )?;
        sink.state(SourceState::Running);
        let their_queue = &queue;
        let span = tracing::Span::current();
        std::thread::scope(|scope| {
            let publishing = std::thread::Builder::new()
                .name("dds-publish".into())
                .spawn_scoped(scope, {
                    let span = span.clone();
                    move || span.in_scope(|| publish_until_closed(their_queue, &receiver, &writers))
                })
                .map_err(|error| SourceError(format!("cannot start the publishing thread: {error}")));
            let stopping = &stop;
            let serving =
                std::thread::Builder::new().name("dds-services".into()).spawn_scoped(scope, move || {
                    span.in_scope(|| {
                        service_thread::run(&broker, commands, serving.as_ref(), &our_own, stopping)
                    });
                });
            if let Err(error) = serving {
                tracing::warn!("no thread for services: {error}");
            }
            // A bug in the library surfaces as a panic in its next caller. It ends this source with a
            // reason instead of ending a thread unnoticed.
            let result = publishing.and_then(|_| {
                catch_unwind(AssertUnwindSafe(|| reader.run(&stop)))
                    .unwrap_or_else(|_| Err(SourceError("the DDS library failed; restart to go on".into())))
            });
            queue.close();
            result
        })
    }
}

/// Publishes until the queue is closed. A bug in the library costs the message that triggered it and
/// the open writers, but not an emergency stop that follows.
fn publish_until_closed(
    queue: &PublishQueue,
    receiver: &Receiver<QueueEntry>,
    writers: &dyn Fn() -> Writers,
) {
    while catch_unwind(AssertUnwindSafe(|| publish_loop(queue, receiver, writers(), || {}))).is_err() {
        tracing::error!("the DDS library failed while publishing; the writers are opened anew");
        std::thread::sleep(PUBLISH_RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_out_of_range_is_rejected_with_the_range() {
        let options = DdsOptions { domain_id: 233, ..DdsOptions::default() };
        let error = DdsSource::new(&options).err().unwrap().to_string();
        assert!(error.contains("233") && error.contains("232"), "{error}");
    }
}
