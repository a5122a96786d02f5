//! The ROS graph: which nodes there are, and what each of them publishes, subscribes and serves.

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

/// A topic that somebody publishes or subscribes. Nodes are named in full, sorted, each once; an
/// application that announces no node is named by its DDS participant: `dds:` and its GUID prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GraphTopic {
    /// The ROS name.
    pub name: String,
    /// The ROS type.
    pub type_name: String,
    /// Who publishes it.
    pub publishers: Vec<String>,
    /// Who subscribes it.
    pub subscribers: Vec<String>,
}

/// A service that somebody serves; `providers` as in [`GraphTopic`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GraphService {
    /// The ROS name.
    pub name: String,
    /// The ROS type: `std_srvs/srv/Trigger`.
    pub type_name: String,
    /// Who serves it.
    pub providers: Vec<String>,
}

/// The graph at one moment; every list is sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// The nodes that announce themselves.
    pub nodes: Vec<NodeInfo>,
    /// The topics, hidden ones included (those with a segment that begins with `_`).
    pub topics: Vec<GraphTopic>,
    /// The services, those of actions included (`…/_action/send_goal`).
    pub services: Vec<GraphService>,
}

impl Graph {
    /// A graph of which only the nodes are known.
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
