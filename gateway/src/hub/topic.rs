//! One topic's state in the hub: its declaration, newest samples, rate meter and subscribers.

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::native::TopicInfo;
use roverline_protocol::rate::RateMeter;
use roverline_protocol::resume::{Ring, RingLimits};
use roverline_protocol::{Delivery, Guid, Priority, Route, SampleId};
use roverline_source::{Qos, RawSample, SchemaText, TopicDecl};

use crate::connection::outbox::Outbox;
use crate::hub::decoder::Decoder;
use crate::hub::encoding::FrameFormat;
use crate::hub::latched::{LatchedSamples, StampedSample};
use crate::hub::offload::{EncodeJob, LARGE_SAMPLE_BYTES, Recipient};
use crate::hub::sample_tracing::SampleTracing;
use crate::hub::throttle::Throttle;

/// A number this far behind its writer's newest one is not late but of a writer that began anew.
const LATE_SAMPLES: u64 = 4_096;
/// Age beyond which the history of an emergency, safety, state or mission topic is not replayed.
const REPLAY_HISTORY_AGE_MS: u64 = 60_000;
/// Number of samples in the history of such a topic.
const REPLAY_HISTORY_SAMPLES: usize = 1_024;

/// A session's number in this process.
pub type SubscriberId = u64;

/// One session's subscription to a topic.
pub(super) struct TopicSubscription {
    pub(super) id: SubscriberId,
    /// The session's, here as well: looking the session up for each sample would cost more than the rest.
    pub(super) outbox: Arc<Outbox>,
    pub(super) format: FrameFormat,
    /// Maximum queued messages; `None` for no limit besides the outbox's.
    pub(super) queue_length: Option<u32>,
    pub(super) throttle: Throttle,
}

/// A topic in scope.
pub struct Topic {
    /// The topic as announced to clients.
    pub info: TopicInfo,
    /// The topic's entry in the routing table.
    pub route: Route,
    /// The QoS that its publishers offer.
    pub qos: Qos,
    /// What decodes its messages; `None` if its type or its encoding is unknown.
    pub decoder: Option<Decoder>,
    /// The source's definition of the type, which may differ from that of another topic.
    pub definition: Option<SchemaText>,
    /// Sample and byte counts, and the rate.
    pub meter: RateMeter,
    /// The newest sample.
    pub latest: Option<StampedSample>,
    /// How many of a writer's last samples late subscribers get.
    history_depth: u32,
    latched: LatchedSamples,
    pub(super) ring: Ring<RawSample>,
    pub(super) subscriptions: Vec<TopicSubscription>,
    /// Whether a sample was large: from then on costly encodings are made on another thread, all of them,
    /// so that the order stays.
    pub(super) is_large: bool,
    pub(super) tracing: SampleTracing,
}

impl Topic {
    pub(super) fn new(id: u32, decl: &TopicDecl, route: Route, decoder: Option<Decoder>) -> Topic {
        Topic {
            info: TopicInfo {
                id,
                name: decl.name.clone(),
                type_name: decl.type_name.clone(),
                scopes: route.scopes,
                priority: route.priority,
                delivery: route.delivery,
                latched: decl.qos.transient_local,
                encoding: decl.encoding.clone(),
                history_depth: decl.history_depth,
            },
            route,
            qos: decl.qos,
            decoder,
            definition: None,
            meter: RateMeter::default(),
            latest: None,
            history_depth: decl.history_depth,
            latched: LatchedSamples::default(),
            ring: Ring::new(ring_limits(route.priority)),
            subscriptions: Vec::new(),
            is_large: false,
            tracing: SampleTracing::default(),
        }
    }

    /// Stores a sample; returns whether it is late: older than one of its writer that came before. A late one completes
    /// the history of a relay's clients, and is not the topic's value.
    pub(super) fn remember(&mut self, sample: &RawSample, now: Duration) -> bool {
        self.is_large |= sample.payload.len() > LARGE_SAMPLE_BYTES;
        self.meter.count(now, sample.payload.len());
        if self.is_late(sample.id) {
            return true;
        }
        let latest = StampedSample { sample: sample.clone(), at: now };
        if self.qos.transient_local {
            self.latch(latest.clone());
        }
        if self.route.delivery == Delivery::Every {
            self.ring.push(sample.id, now, sample.payload.len(), sample.clone());
        }
        self.latest = Some(latest);
        false
    }

    fn is_late(&self, id: SampleId) -> bool {
        let held = self.latest.as_ref().map(|held| held.sample.id).filter(|held| held.source == id.source);
        let is_before = |held: SampleId| held.seq > id.seq && held.seq - id.seq < LATE_SAMPLES;
        held.is_some_and(is_before) || self.ring.is_late(id)
    }

    /// Encodes a sample for these sessions on another thread.
    pub(super) fn encode_job(
        &self,
        sample: &RawSample,
        flags: u8,
        recipients: Vec<Recipient>,
        now: Duration,
    ) -> EncodeJob {
        let (topic, decoder) = (self.info.clone(), self.decoder.clone());
        EncodeJob { topic, decoder, sample: sample.clone(), flags, recipients, now, trace: None }
    }

    /// The samples that arrived after a time (monotonic) and are still kept for replay, or the newest one where none are
    /// kept, with their times of arrival; the newest first.
    pub(crate) fn samples_after(&self, at: Duration) -> impl Iterator<Item = (&RawSample, Duration)> {
        let latest = self.latest.iter().filter(move |latest| self.ring.is_empty() && latest.at > at);
        self.ring.after(at).chain(latest.map(|latest| (&latest.sample, latest.at)))
    }

    /// The number of sessions that subscribe to the topic.
    pub fn subscriber_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// The writers whose newest samples are kept.
    pub(super) fn writers(&self) -> impl Iterator<Item = Guid> + '_ {
        let latest = self.latest.iter().map(|latest| latest.sample.id.source);
        latest.chain(self.latched.writers())
    }

    /// The last sample of one writer of a latched topic.
    pub(super) fn latched(&self, writer: Guid) -> Option<&StampedSample> {
        self.latched.last(writer)
    }

    /// Stores a writer's last sample; returns false if the limit of writers is reached.
    pub(super) fn latch(&mut self, latest: StampedSample) -> bool {
        self.latched.insert(latest, self.history_depth)
    }

    /// The samples for a late subscriber: what the writers of a latched topic keep, otherwise the newest sample.
    pub(super) fn retained(&self) -> Vec<RawSample> {
        match self.latched.all() {
            kept if self.qos.transient_local && !kept.is_empty() => kept,
            _ => self.latest.iter().map(|latest| latest.sample.clone()).collect(),
        }
    }
}

fn ring_limits(priority: Priority) -> RingLimits {
    match priority {
        Priority::Vital | Priority::Sensors => RingLimits::default(),
        _ => RingLimits {
            old_samples: REPLAY_HISTORY_SAMPLES,
            old_age: Duration::from_millis(REPLAY_HISTORY_AGE_MS),
            ..RingLimits::default()
        },
    }
}

impl Topic {
    /// Takes over the state of the topic's previous declaration.
    pub(super) fn inherit(&mut self, old: Topic) {
        if old.info.type_name == self.info.type_name && old.info.encoding == self.info.encoding {
            self.meter = old.meter;
            self.latest = old.latest;
            self.latched = old.latched;
            self.ring = old.ring;
            self.subscriptions = old.subscriptions;
            self.is_large = old.is_large;
        }
    }
}
