//! Publishes a source into DDS: a sink that makes the built-in rover or a recording appear in the ROS
//! graph like any robot.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::dds::local_writers::LocalWriters;
use crate::dds::node_announcer::NodeAnnouncer;
use crate::dds::outgoing::Outgoing;
use crate::dds::publisher::{PublishQueue, publish_loop};
use crate::dds::service_broker::ServiceBroker;
use crate::dds::writers::Writers;
use crate::dds::{DdsOptions, engine};
use crate::{Graph, NodeInfo, Qos, RawSample, Sink, SourceError, SourceState, TopicDecl, TopicKey};

/// The maximum number of published topics.
const MAX_TOPICS: usize = 256;

/// Publishes every topic and sample that it receives; latched topics are offered as transient local.
/// Dropping it leaves the domain.
pub struct DdsSink {
    queue: Arc<PublishQueue>,
    topics: Mutex<Vec<(String, String, Qos)>>,
    nodes: Arc<Mutex<Option<Vec<NodeInfo>>>>,
    dropped: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

impl DdsSink {
    /// Joins the domain. Nodes are announced only if `options.ros_distro` names the distribution, since
    /// this side reads nothing from the graph that could tell.
    pub fn new(options: &DdsOptions) -> Result<DdsSink, SourceError> {
        let participant = engine::join(options)?;
        let own = Arc::new(LocalWriters::default());
        let writers = Writers::new(participant.clone(), own.clone());
        let mut announcer = NodeAnnouncer::new(participant, options.node(), &options.ros_distro);
        // This side serves and calls nothing: with the receiver dropped, the broker reports that the
        // source has stopped.
        let (queue, receiver) = PublishQueue::new(Arc::new(ServiceBroker::new().0));
        let queue = Arc::new(queue);
        let nodes: Arc<Mutex<Option<Vec<NodeInfo>>>> = Arc::default();
        let (their_queue, their_nodes) = (queue.clone(), nodes.clone());
        let thread = std::thread::Builder::new()
            .name("dds-publish".into())
            .spawn(move || {
                publish_loop(&their_queue, &receiver, writers, || {
                    if let Some(nodes) = their_nodes.lock().take() {
                        announcer.set_nodes(nodes);
                    }
                    announcer.announce(Vec::new(), &own.ids());
                });
            })
            .map_err(|error| SourceError(format!("cannot start the publishing thread: {error}")))?;
        let topics = Mutex::default();
        Ok(DdsSink { queue, topics, nodes, dropped: AtomicU64::new(0), thread: Some(thread) })
    }

    /// The number of samples dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn push(&self, topic: (String, String, Qos), sample: Option<RawSample>) -> bool {
        let (topic, type_name, qos) = topic;
        let source_time_ns = sample.as_ref().map_or(0, |sample| sample.source_time_ns);
        let payload = sample.map(|sample| sample.payload);
        let sent =
            self.queue.push(Outgoing { topic, type_name, qos, payload, source_time_ns, keeper: Weak::new() });
        if let Err(error) = &sent {
            tracing::debug!("not published: {error}");
        }
        sent.is_ok()
    }
}

impl Drop for DdsSink {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Sink for DdsSink {
    fn wants(&self, _name: &str, _type_name: &str) -> bool {
        true
    }

    fn topic_up(&self, decl: TopicDecl) -> Option<TopicKey> {
        let topic = (decl.name, decl.type_name, decl.qos);
        let key = {
            let mut topics = self.topics.lock();
            match topics.iter().position(|known| known.0 == topic.0) {
                Some(index) => {
                    topics[index] = topic.clone();
                    index
                }
                None if topics.len() < MAX_TOPICS => {
                    topics.push(topic.clone());
                    topics.len() - 1
                }
                None => return None,
            }
        };
        self.push(topic, None).then_some(TopicKey(key as u32))
    }

    /// The writer stays open: when the source plays again, its subscribers are still matched.
    fn topic_down(&self, _key: TopicKey) {}

    fn sample(&self, key: TopicKey, sample: RawSample) {
        let topic = {
            let topics = self.topics.lock();
            topics.get(key.0 as usize).cloned()
        };
        if !topic.is_some_and(|topic| self.push(topic, Some(sample))) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn graph(&self, Graph { nodes, .. }: Graph) {
        *self.nodes.lock() = Some(nodes);
        self.queue.wake();
    }

    fn state(&self, state: SourceState) {
        tracing::debug!(?state, "the source being published");
    }

    fn has_listener(&self) -> bool {
        true
    }
}
