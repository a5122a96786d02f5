//! The source behind the `r2r` feature: one thread that spins a node, polls the graph twice a second,
//! and publishes in between.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use r2r::QosProfile;
use r2r::qos::{DurabilityPolicy, ReliabilityPolicy};
use roverline_protocol::MessageEncoding;

use crate::r2r::identity::Identities;
use crate::r2r::publish::{PublishQueue, Publishers, QUEUE_MESSAGES, profile};
use crate::r2r::{HISTORY_DEPTH, R2rOptions, check_environment};
use crate::{
    NodeInfo, Publication, Qos, RawSample, Sink, Source, SourceControl, SourceError, SourceState, StopFlag,
    TopicDecl, TopicKey,
};

/// The longest spin without events; a publication waits until it ends.
const SPIN_TIMEOUT: Duration = Duration::from_millis(10);
/// The client library has no graph-change event, so the graph is polled.
const GRAPH_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The maximum number of topics.
const MAX_TOPICS: usize = 1024;

type Messages = Box<dyn Stream<Item = Vec<u8>> + Unpin + Send>;

/// Subscribes to every wanted topic of the graph visible to the sourced ROS 2.
pub struct R2rSource {
    node: r2r::Node,
    queue: Arc<PublishQueue>,
    receiver: Receiver<Publication>,
}

impl R2rSource {
    /// Joins the graph.
    pub fn new(options: &R2rOptions) -> Result<R2rSource, SourceError> {
        check_environment(|name| std::env::var_os(name))?;
        let namespace = if options.namespace.is_empty() { "/" } else { &options.namespace };
        // The library panics when ROS fails to start.
        let node = catch_unwind(|| {
            r2r::Context::create()
                .and_then(|context| r2r::Node::create(context, &options.node_name, namespace))
        })
        .unwrap_or(Err(r2r::Error::RCL_RET_ERROR))
        .map_err(|error| {
            SourceError(format!("ROS 2 does not start: {error}; does `ros2 topic list` work here?"))
        })?;
        let (sender, receiver) = sync_channel(QUEUE_MESSAGES);
        Ok(R2rSource { node, queue: Arc::new(PublishQueue(sender)), receiver })
    }
}

impl Source for R2rSource {
    fn name(&self) -> &'static str {
        "r2r"
    }

    fn control(&self) -> Arc<dyn SourceControl> {
        self.queue.clone()
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: StopFlag) -> Result<(), SourceError> {
        let R2rSource { node, receiver, queue } = *self;
        sink.state(SourceState::Running);
        // Callers keep their own handles and see an error once the receiver is gone.
        drop(queue);
        let mut state = NodeState::new(node, sink);
        catch_unwind(AssertUnwindSafe(|| {
            let mut polled_at: Option<Instant> = None;
            while !stop.is_set() {
                if polled_at.is_none_or(|at| at.elapsed() >= GRAPH_POLL_INTERVAL) {
                    state.poll_graph();
                    polled_at = Some(Instant::now());
                }
                state.node.spin_once(SPIN_TIMEOUT);
                state.drain();
                receiver
                    .try_iter()
                    .take(QUEUE_MESSAGES)
                    .for_each(|publication| state.publishers.publish(&mut state.node, publication));
            }
        }))
        .map_err(|_| SourceError("the ROS client library failed; restart to go on".to_owned()))
    }
}

/// One subscribed topic.
struct Subscription {
    key: TopicKey,
    type_name: String,
    requested: Qos,
    offered: Qos,
    messages: Messages,
    identities: Identities,
}

/// The node with its subscriptions and publishers.
struct NodeState {
    node: r2r::Node,
    sink: Arc<dyn Sink>,
    subscriptions: BTreeMap<String, Subscription>,
    publishers: Publishers,
    /// Topics that could not be subscribed to; each is logged once.
    refused: BTreeSet<String>,
    nodes: BTreeSet<NodeInfo>,
    process: u64,
}

/// The QoS offered by the publishers of one topic.
struct Offer {
    type_name: String,
    weakest: Qos,
    strongest: Qos,
}

impl Offer {
    fn of(type_name: String, publishers: &[Qos]) -> Offer {
        let reliable = publishers.iter().filter(|qos| qos.reliable).count();
        let latched = publishers.iter().filter(|qos| qos.transient_local).count();
        let all = publishers.len();
        Offer {
            type_name,
            weakest: Qos { reliable: reliable == all, transient_local: latched == all },
            strongest: Qos { reliable: reliable > 0, transient_local: latched > 0 },
        }
    }
}

impl NodeState {
    fn new(node: r2r::Node, sink: Arc<dyn Sink>) -> NodeState {
        NodeState {
            node,
            sink,
            subscriptions: BTreeMap::new(),
            publishers: Publishers::default(),
            refused: BTreeSet::new(),
            nodes: BTreeSet::new(),
            process: now_ns() as u64 ^ u64::from(std::process::id()),
        }
    }

    /// Reads the graph and reconciles the subscriptions with it.
    fn poll_graph(&mut self) {
        let mut nodes = BTreeSet::new();
        let offers = match self.offers(&mut nodes) {
            Ok(offers) => offers,
            Err(error) => {
                tracing::debug!("the ROS graph could not be read: {error}");
                return;
            }
        };
        let gone: Vec<String> = self
            .subscriptions
            .iter()
            .filter(|(name, subscription)| {
                offers.get(*name).is_none_or(|offer| {
                    offer.type_name != subscription.type_name || !self.sink.wants(name, &offer.type_name)
                })
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(subscription) = self.subscriptions.remove(&name) {
                self.sink.topic_down(subscription.key);
            }
        }
        for (name, offer) in offers {
            if self.sink.wants(&name, &offer.type_name) {
                self.reconcile_topic(name, &offer);
            }
        }
        if nodes != self.nodes {
            self.sink.graph(crate::Graph::of_nodes(nodes.iter().cloned().collect()));
            self.nodes = nodes;
        }
    }

    /// Every topic with a publisher. The library does not list nodes; they are collected from their
    /// publishers, and every ordinary node publishes its log and parameter events.
    fn offers(&self, nodes: &mut BTreeSet<NodeInfo>) -> r2r::Result<BTreeMap<String, Offer>> {
        let mut offers = BTreeMap::new();
        for (name, mut types) in self.node.get_topic_names_and_types()?.into_iter().take(MAX_TOPICS) {
            types.sort();
            let publishers = self.node.get_publishers_info_by_topic(&name, false)?;
            let before = self.subscriptions.get(&name).map(|subscription| subscription.type_name.clone());
            let type_name = before.filter(|t| types.contains(t)).or_else(|| types.first().cloned());
            for publisher in &publishers {
                if !publisher.node_name.is_empty() && !publisher.node_name.starts_with("_NODE_") {
                    let (namespace, name) = (publisher.node_namespace.clone(), publisher.node_name.clone());
                    nodes.insert(NodeInfo { namespace, name });
                }
            }
            let fitting = publishers.iter().filter(|p| Some(&p.topic_type) == type_name.as_ref());
            let qos: Vec<Qos> = fitting.map(|publisher| offered(&publisher.qos_profile)).collect();
            if let Some(type_name) = type_name.filter(|_| !qos.is_empty()) {
                offers.insert(name, Offer::of(type_name, &qos));
            }
        }
        Ok(offers)
    }

    /// Subscribes with a QoS that every publisher matches; resubscribes when the weakest offer changes.
    fn reconcile_topic(&mut self, name: String, offer: &Offer) {
        let known = self.subscriptions.get(&name);
        if known.is_some_and(|known| known.requested == offer.weakest && known.offered == offer.strongest) {
            return;
        }
        let type_name = offer.type_name.clone();
        let decl = TopicDecl {
            name: name.clone(),
            type_name: type_name.clone(),
            qos: offer.strongest,
            encoding: MessageEncoding::Cdr,
            history_depth: 1,
            schema: None,
            route: None,
        };
        let Some(key) = self.sink.topic_up(decl) else { return };
        let identities = match self.subscriptions.remove(&name) {
            Some(known) if known.requested == offer.weakest => {
                self.subscriptions.insert(name, Subscription { key, offered: offer.strongest, ..known });
                return;
            }
            Some(known) => known.identities,
            None => Identities::new(&name, self.process),
        };
        match self.node.subscribe_raw(&name, &type_name, profile(offer.weakest, HISTORY_DEPTH)) {
            Ok(messages) => {
                let (requested, offered, messages) = (offer.weakest, offer.strongest, Box::new(messages));
                let subscription = Subscription { key, type_name, requested, offered, messages, identities };
                self.subscriptions.insert(name, subscription);
            }
            Err(error) => {
                self.sink.topic_down(key);
                if self.refused.len() < MAX_TOPICS && self.refused.insert(name.clone()) {
                    tracing::warn!(
                        "{name} is not forwarded: {error}; was {type_name} installed, and not filtered out by \
                         IDL_PACKAGE_FILTER, when this was built?"
                    );
                }
            }
        }
    }

    fn drain(&mut self) {
        for subscription in self.subscriptions.values_mut() {
            while let Some(Some(message)) = subscription.messages.next().now_or_never() {
                let now = now_ns();
                let (id, source_time_ns) = subscription.identities.of(&message, now);
                let payload = Bytes::from(message);
                let sample = RawSample { id, source_time_ns, receive_time_ns: now, payload };
                self.sink.sample(subscription.key, sample);
            }
        }
    }
}

fn offered(profile: &QosProfile) -> Qos {
    Qos {
        reliable: profile.reliability == ReliabilityPolicy::Reliable,
        transient_local: profile.durability == DurabilityPolicy::TransientLocal,
    }
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64)
}
