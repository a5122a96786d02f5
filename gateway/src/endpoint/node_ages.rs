//! When the nodes of the ROS graph were last seen, and how old their heartbeats are. Bounded: anybody in the graph can
//! invent nodes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::api::metrics::{HeartbeatDocument, NodeAgeDocument};
use roverline_source::Graph;
use roverline_source::clock::monotonic;

use crate::endpoint::Endpoint;
use crate::hub::Topic;

/// Nodes that are remembered after they have left the graph.
const GONE_NODES: usize = 256;
/// A node that has left the graph is forgotten after this time.
const FORGET_MS: u64 = 3_600_000;
/// Nodes with series of their own in `/metrics`, and in `/api/v2/metrics`.
const LISTED_NODES: usize = 64;
/// Of these, nodes that have left the graph.
const LISTED_GONE_NODES: usize = 16;
/// Heartbeat topics with series of their own.
const HEARTBEAT_TOPICS: usize = 64;
/// The last or the one but last part of a heartbeat topic's name.
const HEARTBEAT: &str = "heartbeat";

/// The nodes that were seen.
#[derive(Default)]
pub struct NodeAges(Mutex<SeenNodes>);

#[derive(Default)]
struct SeenNodes {
    present: Vec<String>,
    /// When these left the graph (monotonic).
    gone: HashMap<String, Duration>,
}

impl NodeAges {
    /// The graph has changed.
    fn observe(&self, graph: &Graph, now: Duration) {
        let mut names: Vec<String> = graph.nodes.iter().map(|node| node.full_name()).collect();
        names.sort();
        names.dedup();
        let mut seen = self.0.lock();
        let SeenNodes { present, gone } = &mut *seen;
        gone.retain(|name, _| names.binary_search(name).is_err());
        for name in std::mem::take(present) {
            if names.binary_search(&name).is_err() {
                gone.insert(name, now);
            }
        }
        *present = names;
        if gone.len() > GONE_NODES {
            let mut times: Vec<Duration> = gone.values().copied().collect();
            times.sort_unstable();
            // Those that left at the same moment go together.
            let oldest_kept = times[times.len() - GONE_NODES];
            gone.retain(|_, left_at| *left_at >= oldest_kept);
            let extra: Vec<String> = gone.keys().skip(GONE_NODES).cloned().collect();
            gone.retain(|name, _| !extra.contains(name));
        }
    }

    /// The nodes: those that have left the graph first, the last one first, then by name; and how many were left out.
    pub(crate) fn documents(&self, now: Duration) -> (Vec<NodeAgeDocument>, usize) {
        let mut seen = self.0.lock();
        seen.gone.retain(|_, left_at| now.saturating_sub(*left_at) < Duration::from_millis(FORGET_MS));
        let mut gone: Vec<(&String, Duration)> = seen.gone.iter().map(|(name, at)| (name, *at)).collect();
        gone.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let all = gone.len() + seen.present.len();
        let gone = gone.into_iter().take(LISTED_GONE_NODES).map(|(name, left_at)| NodeAgeDocument {
            name: name.clone(),
            present: false,
            last_seen_s: now.saturating_sub(left_at).as_secs_f64(),
        });
        let present = seen.present.iter().map(|name| NodeAgeDocument {
            name: name.clone(),
            present: true,
            last_seen_s: 0.0,
        });
        let listed: Vec<_> = gone.chain(present).take(LISTED_NODES).collect();
        let left_out = all - listed.len();
        (listed, left_out)
    }

    /// Nodes in the graph now.
    pub(crate) fn present(&self) -> usize {
        self.0.lock().present.len()
    }
}

/// Follows the graph forever.
pub async fn observe_nodes(endpoint: Arc<Endpoint>) {
    let mut changes = endpoint.hub.graph();
    loop {
        let graph = changes.borrow_and_update().clone();
        endpoint.node_ages.observe(&graph, monotonic());
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Endpoint {
    /// The heartbeat topics, the most urgent first, each with its node; at most a bounded number.
    pub(crate) fn heartbeats(&self) -> Vec<HeartbeatDocument> {
        let (now, graph) = (monotonic(), self.graph());
        let mut topics: Vec<(String, Option<f64>)> = self.hub.with_topics(|topics| {
            let age_s = |topic: &Topic| Some(now.saturating_sub(topic.meter.newest()?).as_secs_f64());
            let beats = topics.filter(|topic| named_node(&topic.info.name).is_some());
            beats.map(|topic| (topic.info.name.clone(), age_s(topic))).collect()
        });
        topics.sort_by(|a, b| a.0.cmp(&b.0));
        topics.truncate(HEARTBEAT_TOPICS);
        let node = |topic: &str| {
            // With several publishers the graph does not say whose heartbeat it is.
            let publishers = graph.topic(topic).map(|topic| topic.publishers.as_slice()).unwrap_or_default();
            match publishers {
                [node] => node.clone(),
                _ => named_node(topic).unwrap_or_default(),
            }
        };
        let document =
            |(topic, age_s): (String, Option<f64>)| HeartbeatDocument { node: node(&topic), topic, age_s };
        topics.into_iter().map(document).collect()
    }
}

/// What the name of a heartbeat topic says about its node: `/drive` for `/drive/heartbeat` and `/heartbeat/drive`, `/` for
/// `/heartbeat`; `None` for any other topic.
fn named_node(topic: &str) -> Option<String> {
    let parts: Vec<&str> = topic.split('/').filter(|part| !part.is_empty()).collect();
    let node = match parts.as_slice() {
        [node @ .., HEARTBEAT] => node.join("/"),
        [namespace @ .., HEARTBEAT, node] => [namespace, &[*node]].concat().join("/"),
        _ => return None,
    };
    Some(format!("/{node}"))
}

#[cfg(test)]
mod tests {
    use roverline_source::NodeInfo;

    use super::*;

    fn graph(names: impl Iterator<Item = String>) -> Graph {
        Graph::of_nodes(names.map(|name| NodeInfo { namespace: "/".to_owned(), name }).collect())
    }

    #[test]
    fn a_node_that_left_is_shown_with_its_age_until_it_returns_or_is_forgotten() {
        let (ages, s) = (NodeAges::default(), Duration::from_secs);
        let names = |names: &[&str]| graph(names.iter().map(|name| (*name).to_owned()));
        ages.observe(&names(&["drive", "arm"]), s(10));
        ages.observe(&names(&["drive"]), s(20));
        let shown = |now| {
            let (nodes, left_out) = ages.documents(now);
            assert_eq!(left_out, 0);
            nodes.into_iter().map(|node| (node.name, node.present, node.last_seen_s)).collect::<Vec<_>>()
        };
        let drive = ("/drive".to_owned(), true, 0.0);
        assert_eq!(shown(s(25)), [("/arm".to_owned(), false, 5.0), drive.clone()]);
        ages.observe(&names(&["arm", "drive"]), s(30));
        assert_eq!(shown(s(31)), [("/arm".to_owned(), true, 0.0), drive.clone()]);
        ages.observe(&names(&["drive"]), s(40));
        assert_eq!(shown(s(40) + Duration::from_millis(FORGET_MS)), [drive]);
    }

    #[test]
    fn ten_thousand_nodes_are_bounded() {
        let ages = NodeAges::default();
        let all = |from: usize| graph((from..from + 10_000).map(|n| format!("n\u{1}\"{n}")));
        ages.observe(&all(0), Duration::from_secs(1));
        assert_eq!((ages.present(), ages.documents(Duration::from_secs(1)).0.len()), (10_000, LISTED_NODES));
        ages.observe(&all(10_000), Duration::from_secs(2));
        assert!(ages.0.lock().gone.len() <= GONE_NODES);
        let (nodes, left_out) = ages.documents(Duration::from_secs(3));
        assert_eq!(nodes.iter().filter(|node| !node.present).count(), LISTED_GONE_NODES);
        assert_eq!((nodes.len(), left_out), (LISTED_NODES, GONE_NODES + 10_000 - LISTED_NODES));
    }

    #[test]
    fn heartbeats_name_their_nodes() {
        for (topic, node) in [
            ("/heartbeat", Some("/")),
            ("/drive/heartbeat", Some("/drive")),
            ("/a/drive/heartbeat", Some("/a/drive")),
            ("/heartbeat/drive", Some("/drive")),
            ("/a/heartbeat/drive", Some("/a/drive")),
            ("/heartbeat_rate", None),
            ("/heartbeat/drive/rate", None),
            ("", None),
        ] {
            assert_eq!(named_node(topic).as_deref(), node, "{topic}");
        }
    }
}
