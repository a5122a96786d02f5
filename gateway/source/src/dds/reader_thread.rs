//! The reader thread: waits for samples and discovery events together, and passes both to the sink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roverline_protocol::{Guid, MessageEncoding};

use crate::dds::catalog::{Catalog, Offer, TopicState};
use crate::dds::discovery_info::Nodes;
use crate::dds::engine::Class;
use crate::dds::engine::wait_set::WaitSet;
use crate::dds::engine::{DiscoveryWatch, Participant, Reader, prefix};
use crate::dds::graph_reporter::GraphReporter;
use crate::dds::latched_only::LatchedOnly;
use crate::dds::library_watch::LibraryWatch;
use crate::dds::local_writers::LocalWriters;
use crate::dds::names::{GRAPH_TOPIC, GRAPH_TYPE, dds_topic, dds_type, ros_topic, ros_type};
use crate::dds::node_announcer::NodeAnnouncer;
use crate::dds::reader::Subscription;
use crate::dds::service_broker::ServiceBroker;
use crate::{Sink, SourceError, StopFlag, TopicDecl};

const DISCOVERY: usize = 0;
const GRAPH: usize = 1;
const OWN: usize = 2;
/// The first token of topics; each topic has four.
const FIRST_TOPIC: usize = 4;

/// Announcements of nodes kept until they are taken.
const GRAPH_DEPTH: i32 = 16;
/// The longest wait; bounds how late a stop is noticed.
const TICK: Duration = Duration::from_millis(100);
/// Discovery events come in bursts; the list of writers is read at most this often.
const SCAN_GAP: Duration = Duration::from_millis(10);
/// A full rescan covers changed scopes of the sink and events lost in a burst.
const REFRESH: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(super) struct ReaderThread {
    participant: Arc<dyn Participant>,
    waits: WaitSet,
    discovery: Box<dyn DiscoveryWatch>,
    graph: Box<dyn Reader>,
    sink: Arc<dyn Sink>,
    own: Arc<LocalWriters>,
    announcer: NodeAnnouncer,
    broker: Arc<ServiceBroker>,
    reporter: GraphReporter,
    catalog: Catalog,
    nodes: Nodes,
    /// Subscriptions by slot; the slot determines the tokens.
    slots: Vec<Option<Subscription>>,
    by_name: BTreeMap<String, usize>,
    ready: Vec<(usize, Class)>,
    scan_due: bool,
    scanned: Instant,
}

impl ReaderThread {
    pub(super) fn new(
        participant: Arc<dyn Participant>,
        own: Arc<LocalWriters>,
        announcer: NodeAnnouncer,
        (broker, latched_only): (Arc<ServiceBroker>, Arc<LatchedOnly>),
        sink: Arc<dyn Sink>,
    ) -> Result<ReaderThread, SourceError> {
        let broken = |error: std::io::Error| SourceError(format!("cannot wait for DDS events: {error}"));
        let waits = WaitSet::new().map_err(broken)?;
        let names = (GRAPH_TOPIC.to_owned(), GRAPH_TYPE.to_owned());
        let mut graph = participant.open_reader(&names, Class::Latched, GRAPH_DEPTH)?;
        let discovery = participant.watch(&waits, DISCOVERY)?;
        graph.attach(&waits, GRAPH).map_err(broken)?;
        own.wake_with(waits.trigger(OWN));
        Ok(ReaderThread {
            participant,
            waits,
            discovery,
            graph,
            reporter: GraphReporter::new(sink.clone(), broker.clone(), latched_only),
            sink,
            own,
            announcer,
            broker,
            catalog: Catalog::default(),
            nodes: Nodes::default(),
            slots: Vec::new(),
            by_name: BTreeMap::new(),
            ready: Vec::new(),
            scan_due: true,
            scanned: Instant::now(),
        })
    }

    /// Runs until `stop` is set.
    pub(super) fn run(mut self, stop: &StopFlag) -> Result<(), SourceError> {
        let mut ready = Vec::new();
        let mut watch = LibraryWatch::new(self.participant.receiving_threads(), Instant::now());
        while !stop.is_set() {
            if !watch.is_stuck(Instant::now()) {
                self.sink.alive();
            }
            self.waits
                .wait(self.timeout(), &mut ready)
                .map_err(|error| SourceError(format!("waiting for DDS events failed: {error}")))?;
            for token in &ready {
                // Discovery can have a thread of its own, so its events say nothing about the receiving one.
                if ![OWN, DISCOVERY].contains(token) {
                    watch.delivered();
                }
                self.on_event(*token);
            }
            self.drain_ready();
            self.scan_if_due();
            self.report_graph_if_due();
        }
        Ok(())
    }

    fn timeout(&self) -> Duration {
        if !self.ready.is_empty() {
            Duration::ZERO
        } else if self.scan_due {
            SCAN_GAP.saturating_sub(self.scanned.elapsed())
        } else {
            self.reporter.wait().map_or(TICK, |wait| wait.min(TICK))
        }
    }

    fn on_event(&mut self, token: usize) {
        match token {
            DISCOVERY => self.on_discovery(),
            GRAPH => self.on_graph(),
            index if index < FIRST_TOPIC => self.on_own_writers(),
            index => {
                let class = match index % 4 {
                    0 => Class::BestEffort,
                    1 => Class::Reliable,
                    _ => Class::Latched,
                };
                let ready = (index / 4 - 1, class);
                if !self.ready.contains(&ready) {
                    self.ready.push(ready);
                }
            }
        }
    }

    /// Discovery events only say that something changed; the list of writers has the details.
    fn on_discovery(&mut self) {
        self.scan_due |= self.discovery.drain();
        self.reporter.mark_due();
    }

    fn on_graph(&mut self) {
        let mut changed = false;
        let own = prefix(self.participant.guid());
        let nodes = &mut self.nodes;
        while self.graph.take(&mut |sample| {
            // Our own announcement comes back; the graph reporter adds its contents itself.
            if prefix(sample.identity.writer) != own {
                changed |= nodes.update(sample.identity.writer, &sample.payload);
            }
        }) {}
        if changed {
            self.reporter.mark_due();
        }
        self.scan_due |= self.announcer.adopt_size(self.nodes.last_size);
    }

    /// Delivers what our own writers wrote, after declaring their topics.
    fn on_own_writers(&mut self) {
        let (changed, echo) = self.own.take_changes();
        if changed {
            self.scan();
            self.reporter.mark_due();
        }
        for (topic, sample) in echo {
            self.broker.deliver_local(&topic, &sample);
            let slot = self.by_name.get(&topic).copied();
            if let Some(subscription) = slot.and_then(|slot| self.slots[slot].as_ref()) {
                self.sink.sample(subscription.key, sample);
            }
        }
    }

    fn report_graph_if_due(&mut self) {
        if self.reporter.is_due() {
            let readers = self.slots.iter().flatten();
            let readers = readers.flat_map(|topic| topic.reader_endpoints()).collect();
            self.reporter.report(self.participant.as_ref(), &self.nodes, &self.announcer, &self.own, readers);
        }
    }

    fn drain_ready(&mut self) {
        for (slot, class) in std::mem::take(&mut self.ready) {
            let Some(Some(subscription)) = self.slots.get_mut(slot) else { continue };
            if subscription.drain(class, self.sink.as_ref()) {
                self.ready.push((slot, class));
            }
            if subscription.needs_rescan() {
                // A writer's first sample can arrive before its discovery event, but by now the list of
                // writers includes it.
                self.scan();
                if let Some(Some(subscription)) = self.slots.get_mut(slot) {
                    subscription.release(class, self.sink.as_ref());
                }
            }
        }
    }

    fn scan_if_due(&mut self) {
        let since = self.scanned.elapsed();
        if since >= REFRESH {
            self.reporter.mark_due();
        }
        if (self.scan_due && since >= SCAN_GAP) || since >= REFRESH {
            self.scan();
        }
    }

    fn scan(&mut self) {
        self.scan_due = false;
        self.scanned = Instant::now();
        let mut graph_writers = Vec::new();
        let mut offers = self.own.offers();
        for writer in self.participant.writers() {
            if writer.topic == GRAPH_TOPIC {
                graph_writers.push(writer.id);
            } else if let (Some(topic), Some(type_name)) =
                (ros_topic(&writer.topic), ros_type(&writer.type_name))
            {
                let history_depth = writer.history_depth.unwrap_or(1);
                offers.push(Offer { writer: writer.id, topic, type_name, qos: writer.qos, history_depth });
            }
        }
        self.catalog.update(offers);
        self.reconcile();
        if self.nodes.retain_writers(|writer: &Guid| graph_writers.contains(writer)) {
            self.reporter.mark_due();
        }
        let (served_readers, served_writers) = self.broker.served();
        let mut readers: Vec<Guid> = self.slots.iter().flatten().flat_map(Subscription::reader_ids).collect();
        readers.extend(served_readers);
        let mut writers = self.own.ids();
        writers.extend(served_writers);
        self.announcer.announce(readers, &writers);
    }

    /// Reconciles the subscriptions with the catalog and with what the sink wants.
    fn reconcile(&mut self) {
        for (name, slot) in std::mem::take(&mut self.by_name) {
            let wanted = self.catalog.topics.get(&name).filter(|topic| {
                self.sink.wants(&name, &topic.type_name)
                    && self.slots[slot].as_ref().is_some_and(|s| s.type_name == topic.type_name)
            });
            if wanted.is_some() {
                self.by_name.insert(name, slot);
            } else {
                self.close_subscription(slot);
            }
        }
        let topics = std::mem::take(&mut self.catalog.topics);
        for (name, topic) in &topics {
            self.update_subscription(name, topic);
        }
        self.catalog.topics = topics;
    }

    fn close_subscription(&mut self, slot: usize) {
        let Some(mut subscription) = self.slots[slot].take() else { return };
        for class in subscription.classes() {
            while subscription.drain(class, self.sink.as_ref()) {}
            subscription.release(class, self.sink.as_ref());
        }
        self.sink.topic_down(subscription.key);
    }

    fn update_subscription(&mut self, name: &str, topic: &TopicState) {
        let slot = match self.by_name.get(name) {
            Some(slot) => *slot,
            None if self.sink.wants(name, &topic.type_name) => match self.open_subscription(name, topic) {
                Some(slot) => slot,
                None => return,
            },
            None => return,
        };
        let Some(subscription) = &mut self.slots[slot] else { return };
        let declared = (topic.qos(), topic.history_depth);
        if (subscription.qos, subscription.history_depth) != declared {
            (subscription.qos, subscription.history_depth) = declared;
            self.sink.topic_up(declaration(name, topic));
        }
        let waits = (&self.waits, FIRST_TOPIC + 4 * slot);
        if let Err(error) = subscription.update_readers(topic, self.participant.as_ref(), waits) {
            tracing::warn!("{error}");
        }
    }

    /// Declares a topic to the sink and assigns a slot.
    fn open_subscription(&mut self, name: &str, topic: &TopicState) -> Option<usize> {
        let names = (dds_topic(name)?, dds_type(&topic.type_name)?);
        let key = self.sink.topic_up(declaration(name, topic))?;
        let mut subscription = Subscription::new(key, topic.type_name.clone(), topic.qos(), names);
        subscription.history_depth = topic.history_depth;
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.slots.len());
        match free {
            Some(slot) => self.slots[slot] = Some(subscription),
            None => self.slots.push(Some(subscription)),
        }
        self.by_name.insert(name.to_owned(), slot);
        Some(slot)
    }
}

fn declaration(name: &str, topic: &TopicState) -> TopicDecl {
    TopicDecl {
        name: name.to_owned(),
        type_name: topic.type_name.clone(),
        qos: topic.qos(),
        encoding: MessageEncoding::Cdr,
        history_depth: topic.history_depth,
        schema: None,
        route: None,
    }
}
