//! Nodes and services of the ROS graph, as far as this endpoint serves them.

use std::collections::BTreeMap;

use roverline_protocol::api::{NamedType, NodeEntry, NodeList, ServiceEntry, ServiceList};
use roverline_source::Graph;

use crate::api::query::Paging;
use crate::endpoint::Endpoint;

/// One page of the nodes.
pub(crate) fn nodes(endpoint: &Endpoint, paging: &Paging) -> NodeList {
    let (nodes, total, next) = paging.part(by_node(&endpoint.graph()), |node| &node.name);
    NodeList { nodes, total, next }
}

/// One page of the services.
pub(crate) fn services(endpoint: &Endpoint, paging: &Paging) -> ServiceList {
    let graph = endpoint.graph();
    let all = graph.services.iter().cloned().map(|service| ServiceEntry {
        name: service.name,
        type_name: service.type_name,
        providers: service.providers,
    });
    let (services, total, next) = paging.part(all.collect(), |service| &service.name);
    ServiceList { services, total, next }
}

fn by_node(graph: &Graph) -> Vec<NodeEntry> {
    let node = |name: String| {
        let (publishes, subscribes, serves) = (Vec::new(), Vec::new(), Vec::new());
        (name.clone(), NodeEntry { name, publishes, subscribes, serves })
    };
    let mut nodes: BTreeMap<_, _> = graph.nodes.iter().map(|info| node(info.full_name())).collect();
    let mut add =
        |owners: &[String], list: fn(&mut NodeEntry) -> &mut Vec<NamedType>, name: &str, kind: &str| {
            for owner in owners {
                // Applications that announce no node are not listed.
                if let Some(node) = nodes.get_mut(owner) {
                    list(node).push(NamedType { name: name.to_owned(), type_name: kind.to_owned() });
                }
            }
        };
    for topic in &graph.topics {
        add(&topic.publishers, |node| &mut node.publishes, &topic.name, &topic.type_name);
        add(&topic.subscribers, |node| &mut node.subscribes, &topic.name, &topic.type_name);
    }
    for service in &graph.services {
        add(&service.providers, |node| &mut node.serves, &service.name, &service.type_name);
    }
    nodes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use roverline_source::{GraphService, GraphTopic, NodeInfo};

    use super::*;

    #[test]
    fn a_node_is_shown_with_what_it_does() {
        let node = |namespace: &str, name: &str| NodeInfo { namespace: namespace.into(), name: name.into() };
        let graph = Graph {
            nodes: vec![node("/", "imu"), node("/nav", "planner"), node("/", "imu")],
            topics: vec![GraphTopic {
                name: "/imu/data".into(),
                type_name: "sensor_msgs/msg/Imu".into(),
                publishers: vec!["/imu".into(), "dds:0102".into()],
                subscribers: vec!["/nav/planner".into()],
            }],
            services: vec![GraphService {
                name: "/imu/reset".into(),
                type_name: "std_srvs/srv/Trigger".into(),
                providers: vec!["/imu".into()],
            }],
            more_services: false,
        };
        let nodes = by_node(&graph);
        let named = |list: &[NamedType]| list.iter().map(|named| named.name.clone()).collect::<Vec<_>>();
        assert_eq!(nodes.len(), 2, "{nodes:?}");
        assert_eq!(
            (named(&nodes[0].publishes), named(&nodes[0].serves)),
            (vec!["/imu/data".into()], vec!["/imu/reset".into()])
        );
        assert_eq!(
            (nodes[1].name.as_str(), named(&nodes[1].subscribes)),
            ("/nav/planner", vec!["/imu/data".into()])
        );
    }
}
