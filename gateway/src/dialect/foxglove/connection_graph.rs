//! The connection graph as clients see it: a full snapshot once, then diffs.

use std::collections::BTreeMap;

use roverline_source::Graph;
use serde::Serialize;

type Names = BTreeMap<String, Vec<String>>;

/// The publishers and subscribers of every topic and the providers of every service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GraphSnapshot {
    published: Names,
    subscribed: Names,
    served: Names,
}

/// The difference between two snapshots.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GraphDiff {
    published_topics: Vec<Published>,
    subscribed_topics: Vec<Subscribed>,
    advertised_services: Vec<Advertised>,
    removed_topics: Vec<String>,
    removed_services: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Published {
    name: String,
    publisher_ids: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Subscribed {
    name: String,
    subscriber_ids: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Advertised {
    name: String,
    provider_ids: Vec<String>,
}

/// Whether ROS tools hide this name by default: one of its segments begins with `_`, as in the names
/// that actions consist of.
pub(super) fn is_hidden(name: &str) -> bool {
    name.contains("/_")
}

impl GraphSnapshot {
    /// A snapshot of everything in the graph that is not hidden.
    pub(super) fn from_graph(graph: &Graph) -> GraphSnapshot {
        let mut snapshot = GraphSnapshot::default();
        for topic in &graph.topics {
            if is_hidden(&topic.name) {
                continue;
            }
            add(&mut snapshot.published, &topic.name, &topic.publishers);
            add(&mut snapshot.subscribed, &topic.name, &topic.subscribers);
        }
        for service in &graph.services {
            if !is_hidden(&service.name) {
                add(&mut snapshot.served, &service.name, &service.providers);
            }
        }
        snapshot
    }

    /// The diff that brings a client from `before` to this snapshot.
    pub(super) fn diff_from(&self, before: &GraphSnapshot) -> GraphDiff {
        let is_topic = |snapshot: &GraphSnapshot, name: &str| {
            snapshot.published.contains_key(name) || snapshot.subscribed.contains_key(name)
        };
        let mut removed_topics: Vec<String> = before
            .published
            .keys()
            .chain(before.subscribed.keys())
            .filter(|name| !is_topic(self, name))
            .cloned()
            .collect();
        removed_topics.sort();
        removed_topics.dedup();
        let removed_services = before.served.keys().filter(|name| !self.served.contains_key(*name)).cloned();
        let stays = |(name, _): &(String, Vec<String>)| is_topic(self, name);
        let published = changes(&before.published, &self.published).filter(stays);
        let subscribed = changes(&before.subscribed, &self.subscribed).filter(stays);
        let served = changes(&before.served, &self.served).filter(|(_, ids)| !ids.is_empty());
        GraphDiff {
            published_topics: published
                .map(|(name, publisher_ids)| Published { name, publisher_ids })
                .collect(),
            subscribed_topics: subscribed
                .map(|(name, subscriber_ids)| Subscribed { name, subscriber_ids })
                .collect(),
            advertised_services: served
                .map(|(name, provider_ids)| Advertised { name, provider_ids })
                .collect(),
            removed_topics,
            removed_services: removed_services.collect(),
        }
    }
}

/// A name without any node is not listed. A name with two types becomes one entry.
fn add(names: &mut Names, name: &str, nodes: &[String]) {
    if !nodes.is_empty() {
        let known = names.entry(name.to_owned()).or_default();
        known.extend(nodes.iter().cloned());
        known.sort();
        known.dedup();
    }
}

/// The names whose lists differ, with their new lists.
fn changes<'a>(before: &'a Names, after: &'a Names) -> impl Iterator<Item = (String, Vec<String>)> + 'a {
    let changed = after.iter().filter(|(name, nodes)| before.get(*name) != Some(nodes));
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let changed = changed.map(|(name, nodes)| (name.clone(), nodes.clone()));
    changed.chain(gone.map(|name| (name.clone(), Vec::new())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roverline_source::{GraphService, GraphTopic};

    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn topic(name: &str, publishers: &[&str], subscribers: &[&str]) -> GraphTopic {
        GraphTopic {
            name: name.into(),
            type_name: "std_msgs/msg/String".into(),
            publishers: strings(publishers),
            subscribers: strings(subscribers),
        }
    }

    #[test]
    fn first_all_then_what_changed() {
        let service = GraphService {
            name: "/reset".into(),
            type_name: "std_srvs/srv/Empty".into(),
            providers: strings(&["/a"]),
        };
        let hidden = GraphService { name: "/go/_action/send_goal".into(), ..service.clone() };
        let graph = Graph {
            nodes: vec![],
            topics: vec![topic("/chat", &["/a"], &["/b"]), topic("/_out", &["/a"], &[])],
            services: vec![service, hidden],
            more_services: false,
        };
        let first = GraphSnapshot::from_graph(&graph);
        let json = serde_json::to_value(first.diff_from(&GraphSnapshot::default())).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "publishedTopics": [{"name": "/chat", "publisherIds": ["/a"]}],
                "subscribedTopics": [{"name": "/chat", "subscriberIds": ["/b"]}],
                "advertisedServices": [{"name": "/reset", "providerIds": ["/a"]}],
                "removedTopics": [], "removedServices": [],
            })
        );
        assert_eq!(first.diff_from(&first), GraphDiff::default());
        let later = Graph { topics: vec![topic("/chat", &[], &["/b", "/c"])], ..Graph::default() };
        let update = GraphSnapshot::from_graph(&later).diff_from(&first);
        let json = serde_json::to_value(update).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "publishedTopics": [{"name": "/chat", "publisherIds": []}],
                "subscribedTopics": [{"name": "/chat", "subscriberIds": ["/b", "/c"]}],
                "advertisedServices": [],
                "removedTopics": [], "removedServices": ["/reset"],
            })
        );
        let gone = GraphSnapshot::default().diff_from(&first);
        assert_eq!(gone.removed_topics, ["/chat"]);
        assert!(gone.published_topics.is_empty() && gone.subscribed_topics.is_empty());
    }

    fn graphs() -> impl Strategy<Value = GraphSnapshot> {
        let names = || prop::collection::btree_map("[a-d]", prop::collection::vec("[xyz]", 1..3), 0..4);
        (names(), names(), names()).prop_map(|(published, subscribed, served)| GraphSnapshot {
            published,
            subscribed,
            served,
        })
    }

    /// Applies a diff as a client does.
    fn apply(known: &mut GraphSnapshot, update: GraphDiff) {
        let put = |names: &mut Names, name: String, nodes: Vec<String>| match nodes.is_empty() {
            true => drop(names.remove(&name)),
            false => drop(names.insert(name, nodes)),
        };
        for Published { name, publisher_ids } in update.published_topics {
            put(&mut known.published, name, publisher_ids);
        }
        for Subscribed { name, subscriber_ids } in update.subscribed_topics {
            put(&mut known.subscribed, name, subscriber_ids);
        }
        for Advertised { name, provider_ids } in update.advertised_services {
            put(&mut known.served, name, provider_ids);
        }
        for name in update.removed_topics {
            known.published.remove(&name);
            known.subscribed.remove(&name);
        }
        for name in update.removed_services {
            known.served.remove(&name);
        }
    }

    proptest! {
        #[test]
        fn a_client_that_follows_knows_it_all(snapshots in prop::collection::vec(graphs(), 0..6)) {
            let (mut known, mut before) = (GraphSnapshot::default(), GraphSnapshot::default());
            for snapshot in snapshots {
                apply(&mut known, snapshot.diff_from(&before));
                prop_assert_eq!(&known, &snapshot);
                before = snapshot;
            }
        }
    }
}
