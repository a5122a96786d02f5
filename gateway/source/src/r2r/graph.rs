//! The graph as far as the client library shows it: topics with their types and publishers. Nodes, actions and parameter
//! services are concluded from the topics that belong to them; other services and subscribers stay unknown.

use std::collections::BTreeSet;

use crate::{Graph, GraphService, GraphTopic, NodeInfo};

/// A node that publishes this has the services of its parameters.
const PARAMETER_EVENTS: &str = "rcl_interfaces/msg/ParameterEvent";
const PARAMETER_SERVICES: [(&str, &str); 6] = [
    ("describe_parameters", "rcl_interfaces/srv/DescribeParameters"),
    ("get_parameter_types", "rcl_interfaces/srv/GetParameterTypes"),
    ("get_parameters", "rcl_interfaces/srv/GetParameters"),
    ("list_parameters", "rcl_interfaces/srv/ListParameters"),
    ("set_parameters", "rcl_interfaces/srv/SetParameters"),
    ("set_parameters_atomically", "rcl_interfaces/srv/SetParametersAtomically"),
];
const FEEDBACK: &str = "/_action/feedback";
const FEEDBACK_TYPE: &str = "_FeedbackMessage";

/// A topic and the nodes that publish it.
pub(super) struct SeenTopic {
    pub(super) name: String,
    pub(super) type_name: String,
    pub(super) publishers: BTreeSet<NodeInfo>,
}

/// The graph of these topics.
pub(super) fn of(topics: &[SeenTopic]) -> Graph {
    let nodes: BTreeSet<&NodeInfo> = topics.iter().flat_map(|topic| &topic.publishers).collect();
    let mut services: Vec<GraphService> = topics.iter().flat_map(services).collect();
    services.sort();
    services.dedup();
    let mut listed: Vec<GraphTopic> = topics.iter().map(listed).collect();
    listed.sort();
    Graph { nodes: nodes.into_iter().cloned().collect(), topics: listed, services, more_services: true }
}

fn names(topic: &SeenTopic) -> Vec<String> {
    let mut names: Vec<String> = topic.publishers.iter().map(NodeInfo::full_name).collect();
    names.sort();
    names
}

fn listed(topic: &SeenTopic) -> GraphTopic {
    let (name, type_name) = (topic.name.clone(), topic.type_name.clone());
    GraphTopic { name, type_name, publishers: names(topic), subscribers: Vec::new() }
}

fn services(topic: &SeenTopic) -> Vec<GraphService> {
    if topic.type_name == PARAMETER_EVENTS {
        return topic.publishers.iter().flat_map(parameter_services).collect();
    }
    let action = topic.name.strip_suffix(FEEDBACK).zip(topic.type_name.strip_suffix(FEEDBACK_TYPE));
    let Some((action, type_name)) = action.filter(|_| !topic.publishers.is_empty()) else {
        return Vec::new();
    };
    let (name, type_name) = (format!("{action}/_action/send_goal"), format!("{type_name}_SendGoal"));
    vec![GraphService { name, type_name, providers: names(topic) }]
}

fn parameter_services(node: &NodeInfo) -> Vec<GraphService> {
    let node = node.full_name();
    let service = |(name, type_name): (&str, &str)| GraphService {
        name: format!("{node}/{name}"),
        type_name: type_name.to_owned(),
        providers: vec![node.clone()],
    };
    PARAMETER_SERVICES.map(service).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, type_name: &str, nodes: &[&str]) -> SeenTopic {
        let node = |name: &&str| NodeInfo { namespace: "/".to_owned(), name: (*name).to_owned() };
        let publishers = nodes.iter().map(node).collect();
        SeenTopic { name: name.to_owned(), type_name: type_name.to_owned(), publishers }
    }

    #[test]
    fn actions_and_parameters_are_concluded_from_their_topics() {
        let graph = of(&[
            topic("/turn/_action/feedback", "own/action/Turn_FeedbackMessage", &["robot"]),
            topic("/gone/_action/feedback", "own/action/Turn_FeedbackMessage", &[]),
            topic("/parameter_events", PARAMETER_EVENTS, &["robot", "arm"]),
            topic("/cmd_vel", "geometry_msgs/msg/Twist", &[]),
        ]);
        let nodes: Vec<String> = graph.nodes.iter().map(NodeInfo::full_name).collect();
        assert_eq!(nodes, ["/arm", "/robot"]);
        assert_eq!(graph.service("/turn/_action/send_goal").unwrap().type_name, "own/action/Turn_SendGoal");
        assert!(graph.service("/gone/_action/send_goal").is_none());
        assert_eq!(graph.service("/arm/list_parameters").unwrap().providers, ["/arm"]);
        assert_eq!(graph.services.len(), 13);
        assert_eq!(graph.topic("/cmd_vel").unwrap().publishers, Vec::<String>::new(), "only subscribed to");
        assert!(graph.services.is_sorted() && graph.topics.is_sorted());
    }
}
