//! Retained values from an upstream gateway: samples that were already old when they arrived.

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::Delivery;
use roverline_protocol::native::{FLAG_STORED, TopicInfo};
use roverline_source::{RawSample, TopicKey};

use crate::connection::outbox::Outbox;
use crate::hub::delivery::deliver;
use crate::hub::encoding::{FrameFormat, SampleEncoder};
use crate::hub::latched::StampedSample;
use crate::hub::offload::{LARGE_SAMPLE_BYTES, Recipient};
use crate::hub::state::{Hub, HubState};
use crate::hub::topic::Topic;

impl Hub {
    /// Stores a value produced at `at` (monotonic). Late subscribers get it with its true age, but it
    /// counts neither for freshness nor for the topic's rate.
    pub(super) fn retain_sample(&self, key: TopicKey, sample: &RawSample, at: Duration) {
        let mut state = self.lock();
        let HubState { topics, subscribers, .. } = &mut *state;
        let Some(topic) = topics.get_mut(&key.0) else { return };
        if !topic.retain(sample, at) {
            return;
        }
        for subscription in &topic.subscriptions {
            if let Some(subscriber) = subscribers.get(&subscription.id) {
                let how = (subscription.format, subscription.queue_length);
                self.send_retained(topic, how, &subscriber.outbox, sample);
            }
        }
    }

    /// Sends a retained sample to a session.
    pub(super) fn send_retained(
        &self,
        topic: &Topic,
        how: (FrameFormat, Option<u32>),
        outbox: &Arc<Outbox>,
        sample: &RawSample,
    ) {
        let (format, queue_length) = how;
        if !format.encoding().marks_retained() && !topic.info.latched {
            // These clients cannot tell a retained value from a new one, and ROS 2 itself would not deliver
            // it.
            return;
        }
        let now = roverline_source::clock::monotonic();
        if topic.is_large && format.is_costly() {
            let recipient = Recipient { traced: None, outbox: outbox.clone(), format, queue_length };
            let mut job = topic.encode_job(sample, FLAG_STORED, vec![recipient], now);
            if topic.info.latched {
                job.topic.delivery = Delivery::Every;
                job.recipients.iter_mut().for_each(|recipient| recipient.queue_length = None);
            }
            return self.offload.submit(job);
        }
        let mut encoder = SampleEncoder::new(&topic.info, topic.decoder.as_ref(), sample, FLAG_STORED);
        let frame = encoder.frame(format);
        if topic.info.latched {
            // Several writers may each have latched a sample; none may replace another's.
            let info = TopicInfo { delivery: Delivery::Every, ..topic.info.clone() };
            deliver(&info, None, outbox, frame, now);
        } else {
            deliver(&topic.info, queue_length, outbox, frame, now);
        }
    }
}

impl Topic {
    /// Stores the value if it is newer than the stored one; returns whether it was.
    fn retain(&mut self, sample: &RawSample, at: Duration) -> bool {
        let newer = |known: &StampedSample| sample.receive_time_ns > known.sample.receive_time_ns;
        self.is_large |= sample.payload.len() > LARGE_SAMPLE_BYTES;
        let latest = StampedSample { sample: sample.clone(), at };
        let mut kept = false;
        if self.qos.transient_local && self.latched(sample.id.source).is_none_or(newer) {
            kept = self.latch(latest.clone());
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
    use bytes::Bytes;
    use roverline_protocol::{Guid, Routing, SampleId, ScopeSet};
    use roverline_schema::Registry;
    use roverline_source::{Qos, Sink, TopicDecl};

    use super::*;
    use crate::connection::outbox::Outbox;
    use crate::hub::encoding::test_encoding::FORMAT;
    use crate::hub::ingress::{Ingress, SourceEvent};
    use crate::hub::subscribe_request::SubscribeOptions;

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
            encoding: Default::default(),
            history_depth: 1,
            schema: None,
            route: None,
        };
        let key = ingress.topic_up(decl.clone()).unwrap();
        hub.handle(&ingress, SourceEvent::TopicUp(key, decl), at(100));
        let outbox = Outbox::new();
        hub.attach(1, outbox.clone(), FORMAT);
        hub.subscribe_now(
            1,
            &SubscribeOptions { patterns: vec!["**".to_owned()], ..SubscribeOptions::default() },
        )
        .unwrap();
        let queued = || outbox.stats().queued_bytes;
        let before = queued();
        hub.handle(&ingress, SourceEvent::Stored(key, sample("a", 50), at(60)), at(100));
        hub.handle(&ingress, SourceEvent::Stored(key, sample("b", 40), at(70)), at(100));
        let both = queued();
        assert!(both > before, "current subscribers get it");
        // The same value again, as happens after every switch of endpoints.
        hub.handle(&ingress, SourceEvent::Stored(key, sample("a", 50), at(60)), at(130));
        assert_eq!(queued(), both);
        assert_eq!(hub.source(), (roverline_source::SourceState::Starting, 0, None), "nothing arrived");
        hub.with_topics(|topics| {
            let topic = topics.next().unwrap();
            assert_eq!(topic.latest.as_ref().map(|latest| latest.at), Some(at(40)));
            assert_eq!(topic.retained().len(), 2);
            assert_eq!(topic.meter.newest(), None);
        });
    }
}
