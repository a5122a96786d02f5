//! Reports the ROS graph to the sink when it changes, rate-limited.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roverline_protocol::Guid;

use crate::dds::discovery_info::{NodeEntry, Nodes};
use crate::dds::engine::{Discovered, Participant, prefix};
use crate::dds::graph_builder::{Endpoint, NodeIndex, graph};
use crate::dds::latched_only::LatchedOnly;
use crate::dds::local_writers::LocalWriters;
use crate::dds::names::{dds_topic, dds_type, service};
use crate::dds::node_announcer::NodeAnnouncer;
use crate::dds::service_broker::ServiceBroker;
use crate::{Graph, Sink};

/// Nodes appear and disappear in bursts, and each has about a dozen endpoints.
const GAP: Duration = Duration::from_millis(200);

/// The last reported graph, and whether it may have changed since.
pub(super) struct GraphReporter {
    sink: Arc<dyn Sink>,
    broker: Arc<ServiceBroker>,
    latched_only: Arc<LatchedOnly>,
    last_reported: Graph,
    due: bool,
    at: Option<Instant>,
}

impl GraphReporter {
    pub(super) fn new(
        sink: Arc<dyn Sink>,
        broker: Arc<ServiceBroker>,
        latched_only: Arc<LatchedOnly>,
    ) -> GraphReporter {
        GraphReporter { sink, broker, latched_only, last_reported: Graph::default(), due: true, at: None }
    }

    /// Marks the graph as possibly changed.
    pub(super) fn mark_due(&mut self) {
        self.due = true;
    }

    /// The time until the next report is due, if one is pending.
    pub(super) fn wait(&self) -> Option<Duration> {
        let since = self.at.map_or(GAP, |at| at.elapsed());
        self.due.then(|| GAP.saturating_sub(since))
    }

    pub(super) fn is_due(&self) -> bool {
        self.wait() == Some(Duration::ZERO)
    }

    /// Builds the graph and reports it if it changed. Discovery does not list our own endpoints, so
    /// they are added here.
    pub(super) fn report(
        &mut self,
        participant: &dyn Participant,
        nodes: &Nodes,
        announcer: &NodeAnnouncer,
        own: &LocalWriters,
        mut readers: Vec<Endpoint>,
    ) {
        self.due = false;
        self.at = Some(Instant::now());
        let discovered = participant.readers();
        self.latched_only.update(&discovered, &own.offers());
        readers.extend(discovered.into_iter().map(endpoint));
        // Our open services, listed as other participants see them; local callers need them as well.
        let ours = participant.guid();
        readers.extend(self.broker.open_services().into_iter().filter_map(|open| {
            let [(topic, type_name), _] = service(&open.name, &open.type_name)?;
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
        writers.extend(participant.writers().into_iter().map(endpoint));
        let own_nodes = own_entries(announcer, ours, &readers, &writers);
        let contexts = nodes.contexts().chain(std::iter::once((ours, own_nodes.as_slice())));
        let now = graph(&NodeIndex::new(contexts), &writers, &readers);
        if now != self.last_reported || !self.broker.has_graph() {
            self.broker.set_graph_services(&now);
            self.last_reported = now.clone();
            self.sink.graph(now);
        }
    }
}

fn endpoint(Discovered { id, topic, type_name, .. }: Discovered) -> Endpoint {
    Endpoint { id, topic, type_name }
}

/// Our own announcement, whether or not it is published. The first node gets all endpoints.
fn own_entries(
    announcer: &NodeAnnouncer,
    ours: Guid,
    readers: &[Endpoint],
    writers: &[Endpoint],
) -> Vec<NodeEntry> {
    let of_us = |endpoints: &[Endpoint]| {
        endpoints.iter().map(|one| one.id).filter(|id| prefix(*id) == prefix(ours)).collect::<Vec<Guid>>()
    };
    let (readers, writers) = (of_us(readers), of_us(writers));
    let entries = announcer.nodes().iter().enumerate().map(|(at, node)| NodeEntry {
        node: node.clone(),
        readers: if at == 0 { readers.clone() } else { Vec::new() },
        writers: if at == 0 { writers.clone() } else { Vec::new() },
    });
    entries.collect()
}
