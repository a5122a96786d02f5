//! Names in the graph: nodes, topics, services and actions, and their relations.

use std::collections::BTreeMap;
use std::sync::Arc;

use roverline_source::{Graph, GraphService};

use crate::endpoint::Endpoint;

/// The service that identifies an action server.
const SEND_GOAL: &str = "/_action/send_goal";

/// The graph in scope, plus the hub's topics where no graph is known.
pub(super) struct Names {
    graph: Arc<Graph>,
    topics: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn new(endpoint: &Endpoint) -> Names {
        let own = endpoint.hub.topic_infos().into_iter().map(|info| (info.name, info.type_name));
        Names::of(endpoint.graph(), own)
    }

    fn of(graph: Arc<Graph>, own: impl Iterator<Item = (String, String)>) -> Names {
        let known = graph.topics.iter().map(|topic| (topic.name.clone(), topic.type_name.clone()));
        let topics = known.chain(own).filter(|(name, _)| !is_hidden(name)).collect();
        Names { graph, topics }
    }

    /// Names and types as parallel lists.
    pub(super) fn topics(&self) -> (Vec<String>, Vec<String>) {
        self.topics.clone().into_iter().unzip()
    }

    /// A topic's type; empty if there is no such topic.
    pub(super) fn topic_type(&self, topic: &str) -> String {
        self.topics.get(&*slashed(topic)).cloned().unwrap_or_default()
    }

    pub(super) fn topics_of(&self, type_name: &str) -> Vec<&str> {
        self.topics.iter().filter(|(_, of)| *of == type_name).map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn publishers(&self, topic: &str) -> Vec<String> {
        self.graph.topic(&slashed(topic)).map_or_else(Vec::new, |topic| topic.publishers.clone())
    }

    pub(super) fn subscribers(&self, topic: &str) -> Vec<String> {
        self.graph.topic(&slashed(topic)).map_or_else(Vec::new, |topic| topic.subscribers.clone())
    }

    fn seen_services(&self) -> impl Iterator<Item = &GraphService> {
        self.graph.services.iter().filter(|service| !is_hidden(&service.name))
    }

    pub(super) fn services(&self) -> Vec<&str> {
        self.seen_services().map(|service| service.name.as_str()).collect()
    }

    /// A service's type; empty if there is no such service.
    pub(super) fn service_type(&self, service: &str) -> &str {
        self.graph.service(&slashed(service)).map_or("", |service| &service.type_name)
    }

    pub(super) fn services_of(&self, type_name: &str) -> Vec<&str> {
        let of = self.seen_services().filter(|service| service.type_name == type_name);
        of.map(|service| service.name.as_str()).collect()
    }

    /// The providers of the service of this name, or of services of this type: versions of rosapi
    /// differ.
    pub(super) fn providers(&self, service: &str) -> Vec<String> {
        let name = slashed(service);
        let matches = |known: &&GraphService| known.name == *name || known.type_name == service;
        let mut nodes: Vec<String> = self
            .graph
            .services
            .iter()
            .filter(matches)
            .flat_map(|service| service.providers.clone())
            .collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    pub(super) fn nodes(&self) -> Vec<String> {
        let mut nodes: Vec<String> = self.graph.nodes.iter().map(|node| node.full_name()).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// The topics that a node subscribes to and publishes, and the services that it serves.
    pub(super) fn node(&self, node: &str) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
        let node = slashed(node);
        let has = |nodes: &[String]| nodes.iter().any(|known| *known == *node);
        let topics = || self.graph.topics.iter().filter(|topic| !is_hidden(&topic.name));
        let subscribed = topics().filter(|topic| has(&topic.subscribers));
        let published = topics().filter(|topic| has(&topic.publishers));
        let served = self.seen_services().filter(|service| has(&service.providers));
        (
            subscribed.map(|topic| topic.name.as_str()).collect(),
            published.map(|topic| topic.name.as_str()).collect(),
            served.map(|service| service.name.as_str()).collect(),
        )
    }

    pub(super) fn actions(&self) -> Vec<&str> {
        self.graph.services.iter().filter_map(|service| service.name.strip_suffix(SEND_GOAL)).collect()
    }

    /// An action's type; empty if there is no such action.
    pub(super) fn action_type(&self, action: &str) -> &str {
        let service = self.graph.service(&format!("{}{SEND_GOAL}", slashed(action)));
        service.and_then(|service| service.type_name.strip_suffix("_SendGoal")).unwrap_or("")
    }
}

/// Whether ROS tools hide it by default: a segment of its name begins with an underscore.
fn is_hidden(name: &str) -> bool {
    name.split('/').any(|segment| segment.starts_with('_'))
}

fn slashed(name: &str) -> std::borrow::Cow<'_, str> {
    match name.starts_with('/') {
        true => name.into(),
        false => format!("/{name}").into(),
    }
}

#[cfg(test)]
mod tests {
    use roverline_source::{GraphTopic, NodeInfo};

    use super::*;

    fn names() -> Names {
        let service = |name: &str, type_name: &str| GraphService {
            name: name.into(),
            type_name: type_name.into(),
            providers: vec!["/arm".into()],
        };
        let topic = |name: &str| GraphTopic {
            name: name.into(),
            type_name: "std_msgs/msg/Bool".into(),
            publishers: vec!["/arm".into()],
            subscribers: vec!["/ns/eye".into()],
        };
        let graph = Graph {
            nodes: vec![NodeInfo { namespace: "/ns".into(), name: "eye".into() }],
            topics: vec![topic("/a"), topic("/fib/_action/status")],
            services: vec![
                service("/fib/_action/send_goal", "example_interfaces/action/Fibonacci_SendGoal"),
                service("/reset", "std_srvs/srv/Trigger"),
            ],
            more_services: false,
        };
        Names::of(Arc::new(graph), [("/own".to_owned(), "std_msgs/msg/Bool".to_owned())].into_iter())
    }

    #[test]
    fn the_graph_is_described_as_by_rosapi() {
        let names = names();
        assert_eq!(names.topics().0, ["/a", "/own"]);
        assert_eq!(names.topics_of("std_msgs/msg/Bool"), ["/a", "/own"]);
        assert_eq!(
            (names.topic_type("own").as_str(), names.topic_type("/x").as_str()),
            ("std_msgs/msg/Bool", "")
        );
        assert_eq!(
            (names.publishers("/a"), names.subscribers("a")),
            (vec!["/arm".into()], vec!["/ns/eye".into()])
        );
        assert_eq!((names.services(), names.service_type("reset")), (vec!["/reset"], "std_srvs/srv/Trigger"));
        assert_eq!(names.providers("/reset"), ["/arm"]);
        assert_eq!(names.providers("std_srvs/srv/Trigger"), ["/arm"]);
        assert_eq!(names.nodes(), ["/ns/eye"]);
        assert_eq!(names.node("/arm"), (vec![], vec!["/a"], vec!["/reset"]));
        assert_eq!(names.actions(), ["/fib"]);
        assert_eq!(names.action_type("/fib"), "example_interfaces/action/Fibonacci");
    }
}
