//! Metrics of the nodes of the ROS graph: when they were last seen, and the age of their heartbeats.

use roverline_source::clock::monotonic;

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Exposition;

/// Adds the nodes to the page.
pub(super) fn render(page: &mut Exposition, endpoint: &Endpoint) {
    let present = endpoint.node_ages.present();
    page.one("gauge", "roverline_nodes", "Nodes in the ROS graph.", present as f64);
    let (nodes, left_out) = endpoint.node_ages.documents(monotonic());
    let name = "roverline_node_last_seen_seconds";
    page.family(
        "gauge",
        name,
        "Since a node was last in the ROS graph: 0 while it is, absent after an hour.",
    );
    for node in &nodes {
        page.sample(name, &[("node", &node.name)], node.last_seen_s);
    }
    let what = "Nodes that have no series of their own because there are too many.";
    page.one("gauge", "roverline_nodes_without_series", what, left_out as f64);
    let name = "roverline_node_heartbeat_age_seconds";
    page.family("gauge", name, "Since the newest heartbeat of a node; absent before the first.");
    for beat in endpoint.heartbeats() {
        let Some(age_s) = beat.age_s else { continue };
        page.sample(name, &[("node", &beat.node), ("topic", &beat.topic)], age_s);
    }
}
