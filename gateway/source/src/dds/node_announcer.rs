//! Announces our own nodes in the ROS graph, so that `ros2 node list` shows the gateway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roverline_protocol::Guid;

use crate::dds::discovery_info::{GidSize, serialize};
use crate::dds::engine::{Participant, Writer};
use crate::dds::names::{GRAPH_TOPIC, GRAPH_TYPE};
use crate::{NodeInfo, Qos, SourceError};

/// Endpoints change in bursts; announcements are limited to one per interval.
const GAP: Duration = Duration::from_millis(500);

/// Publishes our list of nodes. Nothing is published before the size of ids is known: an entry of the
/// wrong size makes the tools of other contexts fail for every node.
pub(super) struct NodeAnnouncer {
    participant: Arc<dyn Participant>,
    nodes: Vec<NodeInfo>,
    size: Option<GidSize>,
    writer: Option<Box<dyn Writer>>,
    last_published: Vec<u8>,
    at: Option<Instant>,
}

impl NodeAnnouncer {
    /// `distro` is `ROS_DISTRO`, empty if unset.
    pub(super) fn new(
        participant: Arc<dyn Participant>,
        nodes: Vec<NodeInfo>,
        distro: &str,
    ) -> NodeAnnouncer {
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
    pub(super) fn announce(&mut self, mut readers: Vec<Guid>, writers: &[Guid]) {
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
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                self.participant.open_writer(&(GRAPH_TOPIC.to_owned(), GRAPH_TYPE.to_owned()), LATCHED)?
            }
        };
        let result = writer
            .write(&message.into(), 0, None)
            .map(drop)
            .map_err(|error| SourceError(format!("the node list was not published: {error}")));
        self.writer = Some(writer);
        result
    }
}

/// The QoS of the graph topic.
const LATCHED: Qos = Qos { reliable: true, transient_local: true };
