//! Values that were old when they came: what another gateway had stored for us.

use std::time::Duration;

use roverline_source::{RawSample, TopicKey};

use crate::hub::topic::{Latest, Topic};
use crate::hub::{Hub, HubState};

impl Hub {
    /// Takes in a value of the moment `at` (monotonic). It is what late clients get, with its true
    /// age; it is no sample that arrived: neither freshness nor rate follow from it.
    pub(super) fn stored(&self, key: TopicKey, sample: &RawSample, at: Duration) {
        let mut state = self.lock();
        let HubState { topics, subscribers, .. } = &mut *state;
        let Some(topic) = topics.get_mut(&key.0) else { return };
        if !topic.keep(sample, at) {
            return;
        }
        for listener in &topic.listeners {
            if let Some(subscriber) = subscribers.get(&listener.id) {
                let how = (listener.form, listener.queue_length);
                self.send_stored(topic, how, &subscriber.outbox, sample);
            }
        }
    }
}

impl Topic {
    /// Keeps a stored value where it tells something new; whether it does.
    fn keep(&mut self, sample: &RawSample, at: Duration) -> bool {
        let newer = |known: &Latest| sample.receive_time_ns > known.sample.receive_time_ns;
        let latest = Latest { sample: sample.clone(), at };
        let mut kept = false;
        if self.qos.transient_local && self.latched(sample.id.source).is_none_or(newer) {
            kept = self.latch(sample.id.source, latest.clone());
        }
        if self.latest.as_ref().is_none_or(newer) {
            self.latest = Some(latest);
            kept = true;
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use roverline_protocol::{Guid, Routing, SampleId, ScopeSet};
    use roverline_schema::Registry;
    use roverline_source::{Qos, Sink, TopicDecl};

    use super::*;
    use crate::connection::outbox::Outbox;
    use crate::hub::{Form, Ingress, Item, Wish};

    fn sample(writer: &str, received_s: i64) -> RawSample {
        RawSample {
            id: SampleId { source: Guid::from_name(writer), seq: received_s as u64 },
            source_time_ns: 0,
            receive_time_ns: received_s * 1_000_000_000,
            payload: Bytes::from_static(b"\0\x01\0\0"),
        }
    }

    #[test]
    fn a_stored_value_keeps_its_age_and_never_replaces_a_newer_one() {
        let hub = Hub::new(ScopeSet::ALL, Registry::bundled());
        let ingress = Ingress::new(Arc::new(Routing::default()), ScopeSet::ALL);
        let at = Duration::from_secs;
        let decl = TopicDecl {
            name: "/mission/name".into(),
            type_name: "std_msgs/msg/String".into(),
            qos: Qos { reliable: true, transient_local: true },
            schema: None,
            route: None,
        };
        let key = ingress.topic_up(decl.clone()).unwrap();
        hub.handle(&ingress, Item::TopicUp(key, decl), at(100));
        let outbox = Outbox::new();
        hub.attach(1, outbox.clone(), Form::Native);
        hub.subscribe(1, &Wish { patterns: vec!["**".to_owned()], ..Wish::default() }).unwrap();
        let queued = || outbox.stats().queued_bytes;
        let before = queued();
        hub.handle(&ingress, Item::Stored(key, sample("a", 50), at(60)), at(100));
        hub.handle(&ingress, Item::Stored(key, sample("b", 40), at(70)), at(100));
        let both = queued();
        assert!(both > before, "who listens already is told");
        // The same again, as after every switch of endpoints.
        hub.handle(&ingress, Item::Stored(key, sample("a", 50), at(60)), at(130));
        assert_eq!(queued(), both);
        assert_eq!(hub.source(), (roverline_source::SourceState::Starting, 0, None), "nothing arrived");
        hub.with_topics(|topics| {
            let topic = topics.next().unwrap();
            assert_eq!(topic.latest.as_ref().map(|latest| latest.at), Some(at(40)));
            assert_eq!(topic.stored().len(), 2);
            assert_eq!(topic.meter.newest(), None);
        });
    }
}
