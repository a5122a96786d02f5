//! Topics of which every subscriber asks for latched values (transient local): a message that is not latched reaches
//! none of them.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::RwLock;

use crate::PublishError;
use crate::dds::catalog::Offer;
use crate::dds::engine::Discovered;
use crate::dds::names::ros_topic;

/// The topics whose subscribers all request latched values, by ROS name.
#[derive(Default)]
pub(super) struct LatchedOnly(RwLock<BTreeSet<String>>);

impl LatchedOnly {
    /// Replaces the topics. A writer of ours that is latched serves these subscribers.
    pub(super) fn update(&self, readers: &[Discovered], own: &[Offer]) {
        let mut all_latched: BTreeMap<&str, bool> = BTreeMap::new();
        for reader in readers {
            let all = all_latched.entry(reader.topic.as_str()).or_insert(true);
            *all &= reader.qos.transient_local;
        }
        let served =
            |topic: &String| own.iter().any(|offer| offer.topic == *topic && offer.qos.transient_local);
        let topics =
            all_latched.into_iter().filter(|(_, all)| *all).filter_map(|(topic, _)| ros_topic(topic));
        *self.0.write() = topics.filter(|topic| !served(topic)).collect();
    }

    /// Rejects a message that would reach no subscriber.
    pub(super) fn check(&self, topic: &str, latched: bool) -> Result<(), PublishError> {
        if latched || !self.0.read().contains(topic) {
            return Ok(());
        }
        Err(PublishError::Failed(format!(
            "every subscriber of {topic} asks for latched values (transient local) and would not get this message: \
             publish it latched"
        )))
    }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::Guid;

    use super::*;
    use crate::Qos;

    #[test]
    fn a_message_that_would_reach_nobody_is_rejected() {
        let reader = |topic: &str, transient_local| Discovered {
            id: Guid::default(),
            topic: topic.into(),
            type_name: String::new(),
            qos: Qos { reliable: true, transient_local },
            history_depth: None,
        };
        let topics = LatchedOnly::default();
        let readers = [
            reader("rt/map", true),
            reader("rt/map", true),
            reader("rt/cmd", true),
            reader("rt/cmd", false),
            reader("rt/goal", true),
            reader("rq/xRequest", true),
        ];
        let offer = Offer {
            writer: Guid::default(),
            topic: "/goal".into(),
            type_name: String::new(),
            qos: Qos { reliable: true, transient_local: true },
            history_depth: 1,
        };
        topics.update(&readers, &[offer]);
        let error = topics.check("/map", false).unwrap_err().to_string();
        assert!(error.contains("/map") && error.contains("latched"), "{error}");
        for (topic, latched) in [("/map", true), ("/cmd", false), ("/goal", false), ("/other", false)] {
            assert!(topics.check(topic, latched).is_ok(), "{topic}");
        }
        topics.update(&[], &[]);
        assert!(topics.check("/map", false).is_ok());
    }
}
