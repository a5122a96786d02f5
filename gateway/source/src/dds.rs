//! Live ROS 2 over DDS, with no ROS installed: topics are discovered at run time, samples come and
//! go as raw CDR.
//!
//! A participant has two threads of the DDS library (receiving, discovery) and two of ours: one
//! waits for samples and discovery events and hands them on, one publishes, since a reliable write
//! may block. A sample's identity is its writer's GUID and sequence number, alike in every process.
//!
//! The library logs through `log` under the targets `rustdds` and below it.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use roverline_protocol::limits;
use rustdds::DomainParticipant;

use crate::dds::node_announcer::Announcer;
use crate::dds::publisher::{Entry, Queue, work};
use crate::dds::reader_thread::Drain;
use crate::dds::service_broker::{Desk, Order};
use crate::dds::writers::{Own, Writers};
use crate::{NodeInfo, Publisher, Sink, Source, SourceError, SourceState, Stop};

mod catalog;
mod discovery_info;
mod graph_builder;
mod graph_reporter;
mod history_depth;
mod names;
mod node_announcer;
mod participant;
mod publisher;
mod raw;
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

/// Between a failure of the library and the next attempt to publish.
const PUBLISH_RETRY: Duration = Duration::from_millis(100);

/// How to take part in DDS.
#[derive(Clone, Debug, Default)]
pub struct DdsOptions {
    /// `ROS_DOMAIN_ID`; 0 to 232.
    pub domain_id: u16,
    /// The name under which the gateway appears in the ROS graph; empty: it does not.
    pub node_name: String,
    /// The namespace of that node; empty means `/`.
    pub namespace: String,
    /// `ROS_DISTRO`, empty where it is not set: decides the form of our entry in the ROS graph. Where
    /// it is empty, the form that others use is taken over once heard.
    pub ros_distro: String,
    /// Talk to this computer only (`ROS_LOCALHOST_ONLY`).
    pub localhost_only: bool,
    /// Announce and listen on the interfaces with these addresses only; empty: on all.
    pub networks: Vec<IpAddr>,
    /// The emergency stop's topic, for which there is always room among what is published.
    pub vital_topic: String,
}

impl DdsOptions {
    fn node(&self) -> Vec<NodeInfo> {
        if self.node_name.is_empty() {
            return Vec::new();
        }
        let namespace = if self.namespace.is_empty() { "/" } else { &self.namespace };
        vec![NodeInfo { namespace: namespace.to_owned(), name: self.node_name.clone() }]
    }
}

/// Reads every wanted topic of a DDS domain.
pub struct DdsSource {
    participant: DomainParticipant,
    announcer: Announcer,
    own: Arc<Own>,
    queue: Arc<Queue>,
    receiver: Receiver<Entry>,
    desk: Arc<Desk>,
    orders: Receiver<Order>,
    vital_topic: String,
}

impl DdsSource {
    /// Joins the domain.
    pub fn new(options: &DdsOptions) -> Result<DdsSource, SourceError> {
        let participant = participant::join(options)?;
        let announcer = Announcer::new(participant.clone(), options.node(), &options.ros_distro);
        let (desk, orders) = Desk::new();
        let desk = Arc::new(desk);
        let (queue, receiver) = Queue::new(desk.clone());
        let (own, queue) = (Arc::default(), Arc::new(queue));
        let vital_topic = options.vital_topic.clone();
        Ok(DdsSource { participant, announcer, own, queue, receiver, desk, orders, vital_topic })
    }
}

impl Source for DdsSource {
    fn name(&self) -> &'static str {
        "dds"
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        self.queue.clone()
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: Stop) -> Result<(), SourceError> {
        let DdsSource { participant, announcer, own, queue, receiver, desk, orders, vital_topic } = *self;
        let idle = Duration::from_millis(limits::WRITER_IDLE_MS);
        let (publishing, published) = (participant.clone(), own.clone());
        let writers = move || {
            let writers = Writers::new(publishing.clone(), published.clone());
            writers.close_after(idle).reserving(vital_topic.clone())
        };
        let (serving, our_own) = (participant.clone(), own.clone());
        let drain = Drain::new(participant, own, announcer, desk.clone(), sink.clone())?;
        sink.state(SourceState::Running);
        let their_queue = &queue;
        std::thread::scope(|scope| {
            let publishing = std::thread::Builder::new()
                .name("dds-publish".into())
                .spawn_scoped(scope, move || publish_on(their_queue, &receiver, &writers))
                .map_err(|error| SourceError(format!("cannot start the publishing thread: {error}")));
            let stopping = &stop;
            let serving =
                std::thread::Builder::new().name("dds-services".into()).spawn_scoped(scope, move || {
                    service_thread::work(&desk, orders, &serving, &our_own, stopping)
                });
            if let Err(error) = serving {
                tracing::warn!("no thread for services: {error}");
            }
            // The library answers a bug of its own with a panic in whoever calls it next: that ends
            // this source with a reason instead of a thread that nobody misses.
            let result = publishing.and_then(|_| {
                catch_unwind(AssertUnwindSafe(|| drain.run(&stop)))
                    .unwrap_or_else(|_| Err(SourceError("the DDS library failed; restart to go on".into())))
            });
            queue.close();
            result
        })
    }
}

/// Publishes until the queue is closed. A bug of the library costs the message at which it showed and
/// the open writers, not the emergency stop after it.
fn publish_on(queue: &Queue, receiver: &Receiver<Entry>, writers: &dyn Fn() -> Writers) {
    while catch_unwind(AssertUnwindSafe(|| work(queue, receiver, writers(), || {}))).is_err() {
        tracing::error!("the DDS library failed while publishing; the writers are opened anew");
        std::thread::sleep(PUBLISH_RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_out_of_range_is_refused_in_words() {
        let options = DdsOptions { domain_id: 233, ..DdsOptions::default() };
        let error = DdsSource::new(&options).err().unwrap().to_string();
        assert!(error.contains("233") && error.contains("232"), "{error}");
    }
}
