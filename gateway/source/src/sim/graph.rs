//! The rover's ROS graph: publishers, subscribers and services by node.

use crate::sim::services::{NAVIGATION, SERVICES};
use crate::sim::topics::{Content, HEARTBEATS, TABLE, nodes_alive};
use crate::{Graph, GraphService, GraphTopic, Service};

/// The gateway's node, for services that clients serve.
const GATEWAY: &str = "/roverline_gateway";

fn publisher(content: Content) -> &'static str {
    match content {
        Content::Imu => "/imu_driver",
        Content::Gps => "/gps_driver",
        Content::Scan => "/lidar_driver",
        Content::Camera => "/camera_front",
        Content::Odometry | Content::Transforms | Content::StaticTransforms => "/localization",
        Content::Command | Content::Mode | Content::Enabled => NAVIGATION,
        Content::MissionName | Content::MissionStatus | Content::Samples | Content::MissionTime => {
            "/mission_manager"
        }
        Content::EmergencyStop | Content::BoundaryViolation | Content::Diagnostics | Content::Led => {
            "/safety_monitor"
        }
        Content::Joints | Content::Battery | Content::MotorTemperature(_) => "/drive",
        Content::Heartbeat(_) => "",
    }
}

fn subscribers(content: Content) -> &'static [&'static str] {
    match content {
        Content::Command => &["/drive"],
        Content::EmergencyStop => &["/arm", "/drive"],
        Content::Imu | Content::Gps => &["/localization"],
        Content::Odometry => &["/mission_manager", "/navigation", "/safety_monitor"],
        Content::Scan | Content::MissionName => &["/navigation"],
        Content::Heartbeat(_) => &["/safety_monitor"],
        _ => &[],
    }
}

/// The graph, with or without the node that the fault kills; `offered` are the services of clients.
pub(super) fn graph(all_alive: bool, offered: &[Service]) -> Graph {
    let mut nodes = nodes_alive(all_alive);
    nodes.sort();
    let alive = |name: &String| name == GATEWAY || nodes.iter().any(|node| node.full_name() == *name);
    let mut topics: Vec<GraphTopic> = Vec::new();
    for topic in TABLE.iter() {
        let publisher = match topic.content {
            Content::Heartbeat(node) => format!("/{}", HEARTBEATS[node]),
            content => publisher(content).to_owned(),
        };
        let subscribers = subscribers(topic.content).iter().map(|name| (*name).to_owned());
        topics.push(GraphTopic {
            name: topic.name.clone(),
            type_name: topic.type_name.to_owned(),
            publishers: Some(publisher).into_iter().filter(alive).collect(),
            subscribers: subscribers.filter(alive).collect(),
        });
    }
    topics.sort();
    let own = SERVICES.iter().map(|(name, type_name, node)| (*name, *type_name, *node));
    let others = offered.iter().map(|one| (one.name.as_str(), one.type_name.as_str(), GATEWAY));
    let mut services: Vec<GraphService> = own
        .chain(others)
        .map(|(name, type_name, node)| GraphService {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            providers: vec![node.to_owned()],
        })
        .collect();
    services.sort();
    Graph { nodes, topics, services, more_services: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_its_publisher_and_everything_is_sorted() {
        let graph = graph(true, &[]);
        assert!(graph.topics.iter().all(|topic| topic.publishers.len() == 1));
        assert!(graph.topics.iter().all(|topic| topic.subscribers.is_sorted()));
        assert!(graph.topics.is_sorted() && graph.services.is_sorted() && graph.nodes.is_sorted());
        assert_eq!(graph.topic("/cmd_vel").unwrap().subscribers, ["/drive"]);
        assert_eq!(graph.service("/autonomy/enable").unwrap().type_name, "std_srvs/srv/SetBool");
        let without = super::graph(false, &[]);
        assert!(without.topic("/heartbeat/arm").unwrap().publishers.is_empty());
    }
}
