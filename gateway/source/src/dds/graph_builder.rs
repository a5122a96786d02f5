//! Builds the ROS graph from discovered DDS endpoints and announced nodes. Pure, so that nodes that
//! share a participant and applications that announce none are tested without a network.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use roverline_protocol::{Guid, limits};

use crate::dds::discovery_info::NodeEntry;
use crate::dds::engine::prefix;
use crate::dds::names::{GRAPH_TOPIC, ros_service, ros_service_type, ros_topic, ros_type};
use crate::{Graph, GraphService, GraphTopic, NodeInfo};

/// A reader or writer, with DDS names of its topic and type.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) id: Guid,
    pub(super) topic: String,
    pub(super) type_name: String,
}

/// Maps endpoints to the names of their nodes.
pub(super) struct NodeIndex {
    nodes: Vec<NodeInfo>,
    endpoints: HashMap<Guid, String>,
    /// By participant: its node, if it has exactly one.
    only_node: HashMap<[u8; 12], Option<String>>,
}

impl NodeIndex {
    /// Indexes the announcements of all contexts, each with its announcing writer.
    pub(super) fn new<'a>(contexts: impl Iterator<Item = (Guid, &'a [NodeEntry])>) -> NodeIndex {
        let mut index = NodeIndex { nodes: Vec::new(), endpoints: HashMap::new(), only_node: HashMap::new() };
        for (writer, entries) in contexts {
            for entry in entries {
                let name = entry.node.full_name();
                let endpoints = entry.readers.iter().chain(&entry.writers);
                index.endpoints.extend(endpoints.map(|id| (*id, name.clone())));
                let only_node = index.only_node.entry(prefix(writer)).or_insert_with(|| Some(name.clone()));
                if only_node.as_ref() != Some(&name) {
                    *only_node = None;
                }
                index.nodes.push(entry.node.clone());
            }
        }
        index.nodes.sort();
        index.nodes.dedup();
        index.nodes.truncate(limits::NODES);
        index
    }

    fn node_of(&self, id: Guid) -> String {
        let known = self.endpoints.get(&id);
        let known = known.or_else(|| self.only_node.get(&prefix(id)).and_then(Option::as_ref));
        known.cloned().unwrap_or_else(|| {
            let hex: String = prefix(id).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("dds:{hex}")
        })
    }
}

/// The ROS graph of these endpoints.
pub(super) fn graph(index: &NodeIndex, writers: &[Endpoint], readers: &[Endpoint]) -> Graph {
    let mut topics: BTreeMap<(String, String), [BTreeSet<String>; 2]> = BTreeMap::new();
    for (side, endpoints) in [writers, readers].into_iter().enumerate() {
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.topic != GRAPH_TOPIC) {
            let Some(key) = ros_topic(&endpoint.topic).zip(ros_type(&endpoint.type_name)) else { continue };
            if topics.len() < limits::TOPICS || topics.contains_key(&key) {
                topics.entry(key).or_default()[side].insert(index.node_of(endpoint.id));
            }
        }
    }
    let topics = topics.into_iter().map(|((name, type_name), [publishers, subscribers])| GraphTopic {
        name,
        type_name,
        publishers: publishers.into_iter().collect(),
        subscribers: subscribers.into_iter().collect(),
    });
    // The reader of the request topic is the server.
    let mut services: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for endpoint in readers {
        let Some(key) = ros_service(&endpoint.topic).zip(ros_service_type(&endpoint.type_name)) else {
            continue;
        };
        if services.len() < limits::SERVICES || services.contains_key(&key) {
            services.entry(key).or_default().insert(index.node_of(endpoint.id));
        }
    }
    let services = services.into_iter().map(|((name, type_name), providers)| GraphService {
        name,
        type_name,
        providers: providers.into_iter().collect(),
    });
    let (topics, services) = (topics.collect(), services.collect());
    Graph { nodes: index.nodes.clone(), topics, services, more_services: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(participant: u8, entity: u8) -> Guid {
        let mut bytes = [participant; 16];
        bytes[15] = entity;
        Guid(bytes)
    }

    fn entry(name: &str, readers: &[Guid], writers: &[Guid]) -> NodeEntry {
        let node = NodeInfo { namespace: "/a".into(), name: name.into() };
        NodeEntry { node, readers: readers.to_vec(), writers: writers.to_vec() }
    }

    fn endpoint(id: Guid, topic: &str, type_name: &str) -> Endpoint {
        Endpoint { id, topic: topic.into(), type_name: type_name.into() }
    }

    #[test]
    fn endpoints_belong_to_the_node_that_announces_them() {
        let pair = [entry("x", &[id(1, 1)], &[id(1, 2)]), entry("y", &[id(1, 3)], &[])];
        let single = [entry("z", &[], &[])];
        let contexts = [(id(1, 9), &pair[..]), (id(2, 9), &single[..])];
        let index = NodeIndex::new(contexts.into_iter());
        let bool = "std_msgs::msg::dds_::Bool_";
        let trigger = "std_srvs::srv::dds_::Trigger_Request_";
        let goal = "pkg::action::dds_::Walk_SendGoal_Request_";
        let writers = [endpoint(id(1, 2), "rt/b", bool), endpoint(id(2, 7), "rt/b", bool)];
        let readers = [
            endpoint(id(1, 1), "rt/b", bool),
            endpoint(id(1, 8), "rt/b", bool),
            endpoint(id(1, 3), "rq/goRequest", trigger),
            endpoint(id(2, 4), "rq/walk/_action/send_goalRequest", goal),
            endpoint(id(7, 1), "ros_discovery_info", "rmw_dds_common::msg::dds_::ParticipantEntitiesInfo_"),
            endpoint(id(7, 2), "Square", "ShapeType"),
        ];
        let graph = graph(&index, &writers, &readers);
        assert_eq!(graph.nodes.iter().map(NodeInfo::full_name).collect::<Vec<_>>(), ["/a/x", "/a/y", "/a/z"]);
        assert_eq!(graph.topics.len(), 1);
        let topic = graph.topic("/b").unwrap();
        assert_eq!(
            (topic.type_name.as_str(), &topic.publishers[..]),
            ("std_msgs/msg/Bool", &["/a/x".to_owned(), "/a/z".to_owned()][..])
        );
        // If a participant has two nodes, an endpoint that neither announced cannot be attributed.
        assert_eq!(topic.subscribers, ["/a/x", "dds:010101010101010101010101"]);
        assert_eq!(graph.services.len(), 2);
        assert_eq!(graph.service("/go").unwrap().providers, ["/a/y"]);
        let action = graph.service("/walk/_action/send_goal").unwrap();
        assert_eq!(
            (action.type_name.as_str(), &action.providers[0][..]),
            ("pkg/action/Walk_SendGoal", "/a/z")
        );
    }

    #[test]
    fn the_graph_is_bounded() {
        let index = NodeIndex::new(std::iter::empty());
        let many = |prefix: &str, suffix: &str, type_name: &str, count: usize| -> Vec<Endpoint> {
            (0..count).map(|n| endpoint(id(1, 1), &format!("{prefix}/n{n}{suffix}"), type_name)).collect()
        };
        let writers = many("rt", "", "p::msg::dds_::A_", limits::TOPICS + 9);
        let readers = many("rq", "Request", "p::srv::dds_::A_Request_", limits::SERVICES + 9);
        let graph = graph(&index, &writers, &readers);
        assert_eq!((graph.topics.len(), graph.services.len()), (limits::TOPICS, limits::SERVICES));
    }
}
