//! Topic catalog derived from the list of writers. Pure, so that appearing, vanishing and conflicting
//! publishers are tested without a network.

use std::collections::{BTreeMap, BTreeSet};

use roverline_protocol::Guid;

use crate::Qos;
use crate::dds::engine::{Class, prefix};

/// The maximum number of topics. Names cost memory here and in the DDS library, which never frees one.
pub(super) const MAX_TOPICS: usize = 1024;

/// One writer of a ROS topic, with ROS names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) writer: Guid,
    pub(super) topic: String,
    pub(super) type_name: String,
    pub(super) qos: Qos,
    /// How many samples it keeps for late readers, as far as it says so.
    pub(super) history_depth: u32,
}

/// A topic and its writers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicState {
    pub(super) type_name: String,
    pub(super) writers: BTreeMap<Guid, Qos>,
    /// The deepest history that one of them keeps for late readers.
    pub(super) history_depth: u32,
    /// Writers of the same topic name but another type. The library matches by name alone, so their
    /// samples arrive too.
    pub(super) foreign: BTreeSet<Guid>,
    /// Conflicting types that have been logged already.
    disputed: BTreeSet<String>,
}

impl TopicState {
    /// The strongest offered QoS: the best that a subscriber can get.
    pub(super) fn qos(&self) -> Qos {
        self.writers.values().fold(Qos::default(), |all, qos| Qos {
            reliable: all.reliable || qos.reliable,
            transient_local: all.transient_local || qos.transient_local,
        })
    }

    /// The reader classes needed to receive from every writer at its best QoS, except writers of our
    /// own participant.
    pub(super) fn classes(&self, own: Guid) -> BTreeSet<Class> {
        let others = self.writers.iter().filter(|(writer, _)| prefix(**writer) != prefix(own));
        others.map(|(_, qos)| Class::of(*qos)).collect()
    }
}

/// All topics with at least one writer.
#[derive(Default)]
pub(super) struct Catalog {
    pub(super) topics: BTreeMap<String, TopicState>,
    full: bool,
}

impl Catalog {
    /// Replaces the catalog with `offers`. A topic keeps its type while at least one writer still uses
    /// it; on a new topic the first writer decides.
    pub(super) fn update(&mut self, offers: Vec<Offer>) {
        let mut by_topic: BTreeMap<String, Vec<Offer>> = BTreeMap::new();
        for offer in offers {
            by_topic.entry(offer.topic.clone()).or_default().push(offer);
        }
        self.topics.retain(|name, _| by_topic.contains_key(name));
        for (name, offers) in by_topic {
            if self.topics.contains_key(&name) || self.has_room() {
                let before = self.topics.remove(&name);
                self.topics.insert(name.clone(), resolve_type(&name, before, offers));
            }
        }
    }

    fn has_room(&mut self) -> bool {
        let room = self.topics.len() < MAX_TOPICS;
        if !room && !self.full {
            tracing::warn!("more than {MAX_TOPICS} topics: the others are not followed");
        }
        self.full = !room;
        room
    }
}

fn resolve_type(name: &str, before: Option<TopicState>, offers: Vec<Offer>) -> TopicState {
    let (current, mut disputed) = before.map_or_else(Default::default, |t| (t.type_name, t.disputed));
    let type_name = match offers.first() {
        Some(first) if !offers.iter().any(|offer| offer.type_name == current) => first.type_name.clone(),
        _ => current,
    };
    let (mut writers, mut foreign, mut history_depth) = (BTreeMap::new(), BTreeSet::new(), 1);
    for offer in offers {
        if offer.type_name == type_name {
            writers.insert(offer.writer, offer.qos);
            history_depth = history_depth.max(offer.history_depth);
            continue;
        }
        foreign.insert(offer.writer);
        if disputed.len() < 8 && disputed.insert(offer.type_name.clone()) {
            tracing::warn!(
                "{name} is published as {type_name} and as {}: only {type_name} is forwarded",
                offer.type_name
            );
        }
    }
    TopicState { type_name, writers, history_depth, foreign, disputed }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEST_EFFORT: Qos = Qos { reliable: false, transient_local: false };
    const RELIABLE: Qos = Qos { reliable: true, transient_local: false };
    const LATCHED: Qos = Qos { reliable: true, transient_local: true };

    fn offer(n: u8, topic: &str, type_name: &str, qos: Qos) -> Offer {
        Offer {
            writer: Guid([n; 16]),
            topic: topic.into(),
            type_name: type_name.into(),
            qos,
            history_depth: 1,
        }
    }

    #[test]
    fn a_topic_lives_as_long_as_its_last_writer() {
        let mut catalog = Catalog::default();
        catalog.update(vec![offer(1, "/a", "p/msg/A", RELIABLE), offer(2, "/a", "p/msg/A", BEST_EFFORT)]);
        assert_eq!(catalog.topics["/a"].writers.len(), 2);
        catalog.update(vec![offer(2, "/a", "p/msg/A", BEST_EFFORT)]);
        assert_eq!(catalog.topics["/a"].qos(), BEST_EFFORT);
        catalog.update(vec![]);
        assert!(catalog.topics.is_empty());
    }

    #[test]
    fn every_offer_has_a_reader_class() {
        let mut catalog = Catalog::default();
        catalog.update(vec![
            offer(1, "/a", "p/msg/A", BEST_EFFORT),
            offer(2, "/a", "p/msg/A", LATCHED),
            offer(3, "/a", "p/msg/A", RELIABLE),
        ]);
        let topic = &catalog.topics["/a"];
        assert_eq!(topic.qos(), LATCHED);
        let classes = |own| Vec::from_iter(topic.classes(Guid([own; 16])));
        assert_eq!(classes(9), [Class::BestEffort, Class::Reliable, Class::Latched]);
        assert_eq!(classes(3), [Class::BestEffort, Class::Latched]);
        assert_eq!(Class::of(Qos { reliable: false, transient_local: true }), Class::BestEffort);
    }

    #[test]
    fn the_first_type_wins_until_its_last_writer_goes() {
        let mut catalog = Catalog::default();
        let (a, b) = (offer(5, "/x", "p/msg/A", RELIABLE), offer(1, "/x", "p/msg/B", RELIABLE));
        catalog.update(vec![a.clone()]);
        catalog.update(vec![b.clone(), a]);
        assert_eq!(catalog.topics["/x"].type_name, "p/msg/A");
        assert_eq!(catalog.topics["/x"].writers.len(), 1);
        assert!(catalog.topics["/x"].foreign.contains(&b.writer));
        catalog.update(vec![b]);
        assert_eq!(catalog.topics["/x"].type_name, "p/msg/B");
    }

    #[test]
    fn the_number_of_topics_is_bounded() {
        let mut catalog = Catalog::default();
        let many = (0..MAX_TOPICS + 9).map(|n| offer(1, &format!("/t{n}"), "p/msg/A", RELIABLE)).collect();
        catalog.update(many);
        assert_eq!(catalog.topics.len(), MAX_TOPICS);
    }
}
