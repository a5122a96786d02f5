//! The draining thread: waits for samples and for discovery at once, and hands both to the sink.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustdds::mio1::event::Source as _;
use rustdds::mio1::{Events, Interest, Poll, Token};
use rustdds::{
    DomainParticipant, DomainParticipantStatusEvent, DomainParticipantStatusListener, GUID, RTPSEntity,
    StatusEvented, Subscriber,
};

use crate::dds::catalog::{Catalog, Class, Offer, TopicState};
use crate::dds::discovery_info::Nodes;
use crate::dds::graph_reporter::Teller;
use crate::dds::names::{GRAPH_TOPIC, GRAPH_TYPE, dds_topic, dds_type, ros_topic, ros_type};
use crate::dds::node_announcer::Announcer;
use crate::dds::participant::{offered, reader_qos};
use crate::dds::reader::{RawReader, Subscription, create, take};
use crate::dds::service_broker::Desk;
use crate::dds::writers::Own;
use crate::{Sink, SourceError, Stop, TopicDecl};

const STATUS: Token = Token(0);
const GRAPH: Token = Token(1);
const OWN: Token = Token(2);
/// Topics take tokens from here on, four each.
const FIRST_TOPIC: usize = 4;

/// The longest wait: how soon a stop is noticed.
const TICK: Duration = Duration::from_millis(100);
/// Discovery comes in bursts; the list of writers is read at most this often.
const SCAN_GAP: Duration = Duration::from_millis(10);
/// What a sink wants may change, and an event may have been lost in a burst.
const REFRESH: Duration = Duration::from_secs(1);

/// Everything the thread owns.
pub(super) struct Drain {
    participant: DomainParticipant,
    subscriber: Subscriber,
    poll: Poll,
    status: DomainParticipantStatusListener,
    graph: RawReader,
    sink: Arc<dyn Sink>,
    own: Arc<Own>,
    announcer: Announcer,
    desk: Arc<Desk>,
    teller: Teller,
    catalog: Catalog,
    nodes: Nodes,
    /// Subscriptions by slot; a slot decides the tokens.
    slots: Vec<Option<Subscription>>,
    by_name: BTreeMap<String, usize>,
    ready: Vec<(usize, Class)>,
    scan_due: bool,
    scanned: Instant,
}

impl Drain {
    pub(super) fn new(
        participant: DomainParticipant,
        own: Arc<Own>,
        announcer: Announcer,
        desk: Arc<Desk>,
        sink: Arc<dyn Sink>,
    ) -> Result<Drain, SourceError> {
        let broken = |error: std::io::Error| SourceError(format!("cannot wait for DDS events: {error}"));
        let qos = reader_qos(Class::Latched, 16);
        let subscriber = participant
            .create_subscriber(&qos)
            .map_err(|error| SourceError(format!("cannot subscribe in DDS: {error}")))?;
        let names = (GRAPH_TOPIC.to_owned(), GRAPH_TYPE.to_owned());
        let mut graph = create(&participant, &subscriber, &names, Class::Latched, 16)?;
        let poll = Poll::new().map_err(broken)?;
        let mut status = participant.status_listener();
        status.register(poll.registry(), STATUS, Interest::READABLE).map_err(broken)?;
        graph.register(poll.registry(), GRAPH, Interest::READABLE).map_err(broken)?;
        own.wake_with(rustdds::mio1::Waker::new(poll.registry(), OWN).map_err(broken)?);
        Ok(Drain {
            participant,
            subscriber,
            poll,
            status,
            graph,
            teller: Teller::new(sink.clone(), desk.clone()),
            sink,
            own,
            announcer,
            desk,
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
    pub(super) fn run(mut self, stop: &Stop) -> Result<(), SourceError> {
        let mut events = Events::with_capacity(256);
        while !stop.is_set() {
            match self.poll.poll(&mut events, Some(self.timeout())) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(SourceError(format!("waiting for DDS events failed: {error}")));
                }
                _ => {}
            }
            for event in events.iter() {
                self.note(event.token());
            }
            self.drain_ready();
            self.scan_if_due();
            self.tell_graph();
        }
        Ok(())
    }

    fn timeout(&self) -> Duration {
        if !self.ready.is_empty() {
            Duration::ZERO
        } else if self.scan_due {
            SCAN_GAP.saturating_sub(self.scanned.elapsed())
        } else {
            self.teller.wait().map_or(TICK, |wait| wait.min(TICK))
        }
    }

    fn note(&mut self, token: Token) {
        match token {
            STATUS => self.hear_status(),
            GRAPH => self.hear_graph(),
            Token(index) if index < FIRST_TOPIC => self.hear_own(),
            Token(index) => {
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

    /// Discovery's events only say that something changed; the list of writers says what.
    fn hear_status(&mut self) {
        while let Some(event) = self.status.try_recv_status() {
            if let DomainParticipantStatusEvent::RemoteWriterQosIncompatible {
                remote_writer,
                requested_qos,
                offered_qos,
                ..
            } = &event
            {
                tracing::warn!(
                    ?remote_writer,
                    ?requested_qos,
                    ?offered_qos,
                    "a publisher cannot be heard: its QoS does not fit"
                );
            }
            self.scan_due = true;
        }
        self.teller.due();
    }

    fn hear_graph(&mut self) {
        let mut changed = false;
        let own = self.participant.guid().prefix;
        let nodes = &mut self.nodes;
        while take(&self.graph, |change| {
            // Our own announcement comes back; what it says is added where the graph is told.
            if change.writer_guid.prefix != own {
                changed |= nodes.announced(change.writer_guid, &change.sample.0);
            }
        }) {}
        if changed {
            self.teller.due();
        }
        self.scan_due |= self.announcer.heard(self.nodes.heard);
    }

    /// What our own writers wrote, under topics that are declared first.
    fn hear_own(&mut self) {
        let (changed, echo) = self.own.news();
        if changed {
            self.scan();
            self.teller.due();
        }
        for (topic, sample) in echo {
            self.desk.hear(&topic, &sample);
            let slot = self.by_name.get(&topic).copied();
            if let Some(subscription) = slot.and_then(|slot| self.slots[slot].as_ref()) {
                self.sink.sample(subscription.key, sample);
            }
        }
    }

    fn tell_graph(&mut self) {
        if self.teller.is_due() {
            let readers = self.slots.iter().flatten();
            let readers = readers.flat_map(|topic| topic.reader_endpoints()).collect();
            self.teller.tell(&self.participant, &self.nodes, &self.announcer, &self.own, readers);
        }
    }

    fn drain_ready(&mut self) {
        for (slot, class) in std::mem::take(&mut self.ready) {
            let Some(Some(subscription)) = self.slots.get_mut(slot) else { continue };
            if subscription.drain(class, &self.participant, self.sink.as_ref()) {
                self.ready.push((slot, class));
            }
            if subscription.asks() {
                // A writer's first sample can be here before the news of the writer; the list of
                // writers has it by now.
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
            self.teller.due();
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
        for writer in self.participant.discovered_writers() {
            let data = &writer.publication_topic_data;
            if data.topic_name == GRAPH_TOPIC {
                graph_writers.push(data.key);
            } else if let (Some(topic), Some(type_name)) =
                (ros_topic(&data.topic_name), ros_type(&data.type_name))
            {
                offers.push(Offer { writer: data.key, topic, type_name, qos: offered(&data.qos()) });
            }
        }
        self.catalog.update(offers);
        self.follow();
        if self.nodes.keep_only(|writer: &GUID| graph_writers.contains(writer)) {
            self.teller.due();
        }
        let (served_readers, served_writers) = self.desk.served();
        let mut readers: Vec<GUID> = self.slots.iter().flatten().flat_map(Subscription::reader_ids).collect();
        readers.extend(served_readers);
        let mut writers = self.own.ids();
        writers.extend(served_writers);
        self.announcer.announce(readers, &writers);
    }

    /// Makes the subscriptions fit the catalog and the sink's wishes.
    fn follow(&mut self) {
        for (name, slot) in std::mem::take(&mut self.by_name) {
            let wanted = self.catalog.topics.get(&name).filter(|topic| {
                self.sink.wants(&name, &topic.type_name)
                    && self.slots[slot].as_ref().is_some_and(|s| s.type_name == topic.type_name)
            });
            if wanted.is_some() {
                self.by_name.insert(name, slot);
            } else {
                self.leave(slot);
            }
        }
        let topics = std::mem::take(&mut self.catalog.topics);
        for (name, topic) in &topics {
            self.fit(name, topic);
        }
        self.catalog.topics = topics;
    }

    fn leave(&mut self, slot: usize) {
        let Some(mut subscription) = self.slots[slot].take() else { return };
        for class in subscription.classes() {
            while subscription.drain(class, &self.participant, self.sink.as_ref()) {}
            subscription.release(class, self.sink.as_ref());
        }
        self.sink.topic_down(subscription.key);
    }

    fn fit(&mut self, name: &str, topic: &TopicState) {
        let slot = match self.by_name.get(name) {
            Some(slot) => *slot,
            None if self.sink.wants(name, &topic.type_name) => match self.enter(name, topic) {
                Some(slot) => slot,
                None => return,
            },
            None => return,
        };
        let Some(subscription) = &mut self.slots[slot] else { return };
        if subscription.qos != topic.qos() {
            subscription.qos = topic.qos();
            self.sink.topic_up(declaration(name, topic));
        }
        let registry = (self.poll.registry(), FIRST_TOPIC + 4 * slot);
        if let Err(error) = subscription.fit(topic, &self.participant, &self.subscriber, registry) {
            tracing::warn!("{error}");
        }
    }

    /// Declares a topic to the sink and gives it a slot.
    fn enter(&mut self, name: &str, topic: &TopicState) -> Option<usize> {
        let names = (dds_topic(name)?, dds_type(&topic.type_name)?);
        let key = self.sink.topic_up(declaration(name, topic))?;
        let subscription = Subscription::new(key, topic.type_name.clone(), topic.qos(), names);
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
        schema: None,
        route: None,
    }
}
