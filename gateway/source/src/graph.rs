//! The ROS graph: its nodes, topics and services.

/// A node of the ROS graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeInfo {
    /// `/` or `/ns`.
    pub namespace: String,
    /// The node's name.
    pub name: String,
}

impl NodeInfo {
    /// `/ns/name`.
    pub fn full_name(&self) -> String {
        match self.namespace.as_str() {
            "" | "/" => format!("/{}", self.name),
            namespace => format!("{namespace}/{}", self.name),
        }
    }
}

/// A topic with at least one publisher or subscriber. Nodes are listed once each, by full name, sorted.
/// An application that announces no node is listed by its DDS participant: `dds:` and the GUID prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GraphTopic {
    /// The ROS name.
    pub name: String,
    /// The ROS type.
    pub type_name: String,
    /// The publishing nodes.
    pub publishers: Vec<String>,
    /// The subscribing nodes.
    pub subscribers: Vec<String>,
}

/// A service with at least one server; `providers` are listed as in [`GraphTopic`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GraphService {
    /// The ROS name.
    pub name: String,
    /// The ROS type: `std_srvs/srv/Trigger`.
    pub type_name: String,
    /// The serving nodes.
    pub providers: Vec<String>,
}

/// A snapshot of the graph. Every list is sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// The announced nodes.
    pub nodes: Vec<NodeInfo>,
    /// The topics, including hidden ones (with a segment that begins with `_`).
    pub topics: Vec<GraphTopic>,
    /// The services, including those of actions (`…/_action/send_goal`).
    pub services: Vec<GraphService>,
    /// The source sees only some of the services that there are.
    pub more_services: bool,
}

impl Graph {
    /// A graph with nodes only.
    pub fn of_nodes(nodes: Vec<NodeInfo>) -> Graph {
        Graph { nodes, ..Graph::default() }
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&GraphService> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&GraphTopic> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}
