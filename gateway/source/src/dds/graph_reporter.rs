//! Tells the sink of the ROS graph: when it changed, and not too often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustdds::{DomainParticipant, GUID, RTPSEntity};

use crate::dds::discovery_info::{NodeEntry, Nodes};
use crate::dds::graph_builder::{Endpoint, Owners, graph};
use crate::dds::names::{dds_topic, dds_type, service};
use crate::dds::node_announcer::Announcer;
use crate::dds::service_broker::Desk;
use crate::dds::writers::Own;
use crate::{Graph, Sink};

/// Nodes come and go in bursts, and each brings a dozen endpoints.
const GAP: Duration = Duration::from_millis(200);

/// What was told last, and whether that may have changed.
pub(super) struct Teller {
    sink: Arc<dyn Sink>,
    desk: Arc<Desk>,
    told: Graph,
    due: bool,
    at: Option<Instant>,
}

impl Teller {
    pub(super) fn new(sink: Arc<dyn Sink>, desk: Arc<Desk>) -> Teller {
        Teller { sink, desk, told: Graph::default(), due: true, at: None }
    }

    /// The graph may have changed.
    pub(super) fn due(&mut self) {
        self.due = true;
    }

    /// How long it is until the graph is looked at, if it is to be.
    pub(super) fn wait(&self) -> Option<Duration> {
        let since = self.at.map_or(GAP, |at| at.elapsed());
        self.due.then(|| GAP.saturating_sub(since))
    }

    pub(super) fn is_due(&self) -> bool {
        self.wait() == Some(Duration::ZERO)
    }

    /// Looks at the graph, and tells what changed. Discovery does not list our own endpoints: they
    /// are added here.
    pub(super) fn tell(
        &mut self,
        participant: &DomainParticipant,
        nodes: &Nodes,
        announcer: &Announcer,
        own: &Own,
        mut readers: Vec<Endpoint>,
    ) {
        self.due = false;
        self.at = Some(Instant::now());
        readers.extend(participant.discovered_readers().into_iter().map(|reader| Endpoint {
            id: reader.subscription_topic_data.key(),
            type_name: reader.subscription_topic_data.type_name().clone(),
            topic: reader.subscription_topic_data.topic_name,
        }));
        // Of our services, what the graph of the others shows as well as what callers must know.
        let ours = participant.guid();
        readers.extend(self.desk.open_services().into_iter().filter_map(|known| {
            let [(topic, type_name), _] = service(&known.name, &known.type_name)?;
            Some(Endpoint { id: ours, topic, type_name })
        }));
        let mut writers: Vec<Endpoint> = own
            .offers()
            .into_iter()
            .filter_map(|offer| {
                let (topic, type_name) = dds_topic(&offer.topic).zip(dds_type(&offer.type_name))?;
                Some(Endpoint { id: offer.writer, topic, type_name })
            })
            .collect();
        writers.extend(participant.discovered_writers().into_iter().map(|writer| Endpoint {
            id: writer.publication_topic_data.key,
            topic: writer.publication_topic_data.topic_name,
            type_name: writer.publication_topic_data.type_name,
        }));
        let own_nodes = own_entries(announcer, ours, &readers, &writers);
        let contexts = nodes.contexts().chain(std::iter::once((ours, own_nodes.as_slice())));
        let now = graph(&Owners::new(contexts), &writers, &readers);
        if now != self.told || !self.desk.knows() {
            self.desk.set_known(&now);
            self.told = now.clone();
            self.sink.graph(now);
        }
    }
}

/// Our own announcement, whether or not it is published: the first node has all endpoints.
fn own_entries(
    announcer: &Announcer,
    ours: GUID,
    readers: &[Endpoint],
    writers: &[Endpoint],
) -> Vec<NodeEntry> {
    let of_us = |endpoints: &[Endpoint]| {
        endpoints.iter().map(|one| one.id).filter(|id| id.prefix == ours.prefix).collect::<Vec<GUID>>()
    };
    let (readers, writers) = (of_us(readers), of_us(writers));
    let entries = announcer.nodes().iter().enumerate().map(|(at, node)| NodeEntry {
        node: node.clone(),
        readers: if at == 0 { readers.clone() } else { Vec::new() },
        writers: if at == 0 { writers.clone() } else { Vec::new() },
    });
    entries.collect()
}
