//! The source behind the `r2r` feature: one thread that spins a node, polls the graph twice a second, and executes
//! commands in between.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use r2r::QosProfile;
use r2r::qos::{DurabilityPolicy, ReliabilityPolicy};
use roverline_protocol::MessageEncoding;
use roverline_schema::Registry;
use tokio::sync::mpsc;

use crate::clock::unix_ns;
use crate::limits;
use crate::r2r::actions::Actions;
use crate::r2r::calls::Calls;
use crate::r2r::control::{Command, Control, QUEUE_COMMANDS};
use crate::r2r::graph::{self, SeenTopic};
use crate::r2r::numbering::Numbering;
use crate::r2r::publish::{Publishers, profile};
use crate::r2r::services::Services;
use crate::r2r::stamp::header_stamp;
use crate::r2r::{HISTORY_DEPTH, R2rOptions, check_environment};
use crate::{
    Graph, NodeInfo, Qos, RawSample, Sink, Source, SourceControl, SourceError, SourceState, StopFlag,
    TopicDecl, TopicKey, TopicListener,
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
    control: Arc<Control>,
    commands: Receiver<Command>,
    numbers: Option<PathBuf>,
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
        let (sender, commands) = sync_channel(QUEUE_COMMANDS);
        Ok(R2rSource { node, control: Arc::new(Control(sender)), commands, numbers: options.numbers.clone() })
    }
}

impl Source for R2rSource {
    fn name(&self) -> &'static str {
        "r2r"
    }

    fn control(&self) -> Arc<dyn SourceControl> {
        self.control.clone()
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: StopFlag) -> Result<(), SourceError> {
        let R2rSource { node, control, commands, numbers } = *self;
        sink.state(SourceState::Running);
        // Callers keep their own handles and see an error once the receiver is gone.
        drop(control);
        let mut state = NodeState::new(node, sink, numbers);
        catch_unwind(AssertUnwindSafe(|| {
            let mut polled_at: Option<Instant> = None;
            while !stop.is_set() {
                if polled_at.is_none_or(|at| at.elapsed() >= GRAPH_POLL_INTERVAL) {
                    state.poll_graph();
                    polled_at = Some(Instant::now());
                }
                state.node.spin_once(SPIN_TIMEOUT);
                state.sink.alive();
                state.drain();
                commands.try_iter().take(QUEUE_COMMANDS).for_each(|command| state.execute(command));
                state.poll();
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
    numbering: Numbering,
}

/// A subscription that bypasses the hub.
struct Listening {
    messages: Messages,
    samples: mpsc::Sender<RawSample>,
    numbering: Numbering,
}

/// The node with its subscriptions and publishers.
struct NodeState {
    node: r2r::Node,
    sink: Arc<dyn Sink>,
    subscriptions: BTreeMap<String, Subscription>,
    publishers: Publishers,
    calls: Calls,
    actions: Actions,
    services: Services,
    listening: Vec<Listening>,
    /// Topics that could not be subscribed to; each is logged once.
    refused: BTreeSet<String>,
    graph: Graph,
    /// The folder of the numbers that the endpoints share.
    numbers: Option<PathBuf>,
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
    fn new(node: r2r::Node, sink: Arc<dyn Sink>, numbers: Option<PathBuf>) -> NodeState {
        let registry = match std::env::var_os("AMENT_PREFIX_PATH") {
            Some(path) => Registry::with_ament(&path),
            None => Registry::bundled(),
        };
        NodeState {
            node,
            sink,
            subscriptions: BTreeMap::new(),
            publishers: Publishers::default(),
            calls: Calls::new(registry.clone()),
            actions: Actions::new(registry.clone()),
            services: Services::new(registry),
            listening: Vec::new(),
            refused: BTreeSet::new(),
            graph: Graph::default(),
            numbers,
        }
    }

    fn execute(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Publish(publication) => self.publishers.publish(&mut self.node, publication),
            Command::Advertise(advertisement) => self.publishers.advertise(&mut self.node, &advertisement),
            Command::Call(call) => {
                if let Some(call) = self.actions.take(&mut self.node, call, now) {
                    self.calls.submit(&mut self.node, call, now);
                }
            }
            Command::Offer(service) => self.services.offer(&mut self.node, service),
            Command::Withdraw(name) => self.services.withdraw(&name),
            Command::Listen(listener) => {
                if let Some(listener) = self.actions.listen(listener) {
                    self.listen(listener);
                }
            }
        }
    }

    fn poll(&mut self) {
        let now = Instant::now();
        self.calls.poll(now);
        self.actions.poll(now);
        self.services.poll();
        self.listening.retain_mut(Listening::pass);
    }

    fn listen(&mut self, listener: TopicListener) {
        let TopicListener { topic, type_name, latched, samples } = listener;
        if self.listening.len() >= limits::LISTENERS {
            return tracing::warn!(
                "{topic} is not listened to: {} subscriptions are open",
                limits::LISTENERS
            );
        }
        let qos = Qos { reliable: true, transient_local: latched };
        match self.node.subscribe_raw(&topic, &type_name, profile(qos, HISTORY_DEPTH)) {
            Ok(messages) => {
                let numbering = Numbering::new(&topic, None);
                self.listening.push(Listening { messages: Box::new(messages), samples, numbering });
            }
            Err(error) => tracing::warn!("{topic} is not listened to: {error}"),
        }
    }

    /// Reads the graph and reconciles the subscriptions with it.
    fn poll_graph(&mut self) {
        let mut topics = Vec::new();
        let offers = match self.offers(&mut topics) {
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
        let graph = graph::of(&topics);
        if graph != self.graph {
            self.sink.graph(graph.clone());
            self.graph = graph;
        }
    }

    /// What the publishers of each topic offer. The library does not list nodes; they are collected from their
    /// publishers, and every ordinary node publishes its log and parameter events. `topics` receives all topics, also
    /// those that are only subscribed to.
    fn offers(&self, topics: &mut Vec<SeenTopic>) -> r2r::Result<BTreeMap<String, Offer>> {
        let mut offers = BTreeMap::new();
        for (name, mut types) in self.node.get_topic_names_and_types()?.into_iter().take(MAX_TOPICS) {
            types.sort();
            let publishers = self.node.get_publishers_info_by_topic(&name, false)?;
            let before = self.subscriptions.get(&name).map(|subscription| subscription.type_name.clone());
            let type_name = before.filter(|t| types.contains(t)).or_else(|| types.first().cloned());
            if let Some(type_name) = type_name.clone() {
                let nodes = publishers.iter().filter_map(|one| node_of(&one.node_namespace, &one.node_name));
                let publishers = nodes.collect();
                topics.push(SeenTopic { name: name.clone(), type_name, publishers });
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
        let numbering = match self.subscriptions.remove(&name) {
            Some(known) if known.requested == offer.weakest => {
                self.subscriptions.insert(name, Subscription { key, offered: offer.strongest, ..known });
                return;
            }
            Some(known) => known.numbering,
            None => Numbering::new(&name, self.numbers.as_deref()),
        };
        match self.node.subscribe_raw(&name, &type_name, profile(offer.weakest, HISTORY_DEPTH)) {
            Ok(messages) => {
                let (requested, offered, messages) = (offer.weakest, offer.strongest, Box::new(messages));
                let subscription = Subscription { key, type_name, requested, offered, messages, numbering };
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
                let sample =
                    raw_sample(&mut subscription.numbering, message, subscription.offered.transient_local);
                self.sink.sample(subscription.key, sample);
            }
        }
    }
}

impl Listening {
    /// Passes on what has arrived; `false` if the receiver is gone.
    fn pass(&mut self) -> bool {
        while let Some(Some(message)) = self.messages.next().now_or_never() {
            // A full channel drops the sample.
            drop(self.samples.try_send(raw_sample(&mut self.numbering, message, false)));
        }
        !self.samples.is_closed()
    }
}

fn raw_sample(numbering: &mut Numbering, message: Vec<u8>, latched: bool) -> RawSample {
    let now = unix_ns();
    let id = numbering.identify(&message, now, latched);
    let source_time_ns = header_stamp(&message).unwrap_or(0);
    RawSample { id, source_time_ns, receive_time_ns: now, payload: Bytes::from(message) }
}

/// The node of a publisher, if it is known yet.
fn node_of(node_namespace: &str, node_name: &str) -> Option<NodeInfo> {
    let known = !node_name.is_empty() && !node_name.starts_with("_NODE_");
    let (namespace, name) = (node_namespace.to_owned(), node_name.to_owned());
    known.then_some(NodeInfo { namespace, name })
}

fn offered(profile: &QosProfile) -> Qos {
    Qos {
        reliable: profile.reliability == ReliabilityPolicy::Reliable,
        transient_local: profile.durability == DurabilityPolicy::TransientLocal,
    }
}
