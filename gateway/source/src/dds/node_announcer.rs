//! Announces our own nodes in the ROS graph, so that `ros2 node list` shows the gateway.

use std::time::{Duration, Instant};

use rustdds::no_key::DataWriter;
use rustdds::{DomainParticipant, GUID, RTPSEntity, TopicKind};

use crate::dds::discovery_info::{GidSize, serialize};
use crate::dds::names::{GRAPH_TOPIC, GRAPH_TYPE};
use crate::dds::participant::writer_qos;
use crate::dds::raw::{Raw, RawAdapter};
use crate::{NodeInfo, Qos, SourceError};

/// Endpoints change in bursts; announcements are limited to one per interval.
const GAP: Duration = Duration::from_millis(500);

/// Publishes our list of nodes. Nothing is published before the size of ids is known: an entry of the
/// wrong size makes the tools of other contexts fail for every node.
pub(super) struct NodeAnnouncer {
    participant: DomainParticipant,
    nodes: Vec<NodeInfo>,
    size: Option<GidSize>,
    writer: Option<DataWriter<Raw, RawAdapter>>,
    last_published: Vec<u8>,
    at: Option<Instant>,
}

impl NodeAnnouncer {
    /// `distro` is `ROS_DISTRO`, empty if unset.
    pub(super) fn new(participant: DomainParticipant, nodes: Vec<NodeInfo>, distro: &str) -> NodeAnnouncer {
        let size = GidSize::of_distro(distro);
        NodeAnnouncer { participant, nodes, size, writer: None, last_published: Vec::new(), at: None }
    }

    /// Replaces the nodes.
    pub(super) fn set_nodes(&mut self, nodes: Vec<NodeInfo>) {
        self.nodes = nodes;
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// Adopts the id size used by the graph; returns whether it was unknown before.
    pub(super) fn adopt_size(&mut self, size: Option<GidSize>) -> bool {
        let is_new = self.size.is_none() && size.is_some();
        self.size = self.size.or(size);
        is_new
    }

    /// Publishes the entry if it changed.
    pub(super) fn announce(&mut self, mut readers: Vec<GUID>, writers: &[GUID]) {
        let Some(size) = self.size.filter(|_| !self.nodes.is_empty()) else { return };
        if self.at.is_some_and(|at| at.elapsed() < GAP) {
            return;
        }
        readers.sort();
        let message = serialize(size, self.participant.guid(), &self.nodes, &readers, writers);
        if message == self.last_published {
            return;
        }
        self.at = Some(Instant::now());
        match self.write(message.clone()) {
            Ok(()) => self.last_published = message,
            Err(error) => tracing::debug!("{error}"),
        }
    }

    fn write(&mut self, message: Vec<u8>) -> Result<(), SourceError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => open(&self.participant, (GRAPH_TOPIC, GRAPH_TYPE), LATCHED)?,
        };
        let result = writer
            .write(Raw(message.into()), None)
            .map_err(|error| SourceError(format!("the node list was not published: {error}")));
        self.writer = Some(writer);
        result
    }
}

/// The QoS of the graph topic.
const LATCHED: Qos = Qos { reliable: true, transient_local: true };

/// Opens a writer of raw messages; `names` are the DDS names of the topic and the type.
pub(super) fn open(
    participant: &DomainParticipant,
    names: (&str, &str),
    offer: Qos,
) -> Result<DataWriter<Raw, RawAdapter>, SourceError> {
    let qos = writer_qos(offer);
    participant
        .create_topic(names.0.to_owned(), names.1.to_owned(), &qos, TopicKind::NoKey)
        .and_then(|topic| {
            let publisher = participant.create_publisher(&qos)?;
            publisher.create_datawriter_no_key::<Raw, RawAdapter>(&topic, Some(qos))
        })
        .map_err(|error| SourceError(format!("cannot publish {}: {error}", names.0)))
}
