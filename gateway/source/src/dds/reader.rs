//! The readers of one topic: one per QoS class, without duplicate delivery.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use roverline_protocol::{Guid, SampleId};
use rustdds::mio1::{Interest, Registry, Token};
use rustdds::no_key::{DeserializedCacheChange, SimpleDataReader};
use rustdds::{DomainParticipant, GUID, RTPSEntity, Subscriber, Timestamp, TopicKind};

use crate::dds::catalog::{Class, TopicState};
use crate::dds::graph_builder::Endpoint;
use crate::dds::history_depth::HistoryDepth;
use crate::dds::participant::reader_qos;
use crate::dds::raw::{Raw, RawAdapter, nanoseconds};
use crate::{Qos, RawSample, Sink, SourceError, TopicKey};

pub(super) type RawReader = SimpleDataReader<Raw, RawAdapter>;

/// Samples taken from one reader before the others are served.
const BATCH: usize = 256;
/// Writers of one topic whose progress is tracked although discovery does not list them.
const MAX_UNLISTED_WRITERS: usize = 4096;

/// One subscribed topic.
pub(super) struct Subscription {
    pub(super) key: TopicKey,
    pub(super) type_name: String,
    /// The QoS last declared to the sink.
    pub(super) qos: Qos,
    names: (String, String),
    readers: BTreeMap<Class, RawReader>,
    progress: HashMap<GUID, Progress>,
    depth: HistoryDepth,
    since: Timestamp,
    /// Samples of unknown writers, retained until discovery has been queried.
    undelivered: Vec<DeserializedCacheChange<Raw>>,
}

/// How far a writer's samples have been delivered.
#[derive(Default)]
struct Progress {
    owner: DeliveryOwner,
    last: u64,
}

/// Which reader delivers a writer's samples.
#[derive(Clone, Copy, Default, PartialEq)]
enum DeliveryOwner {
    /// Any reader: the writer vanished before discovery reported it.
    #[default]
    AnyReader,
    /// The reader of the writer's class.
    Reader(Class),
    /// No reader: the writer has another type.
    NoReader,
}

/// The decision about a sample.
enum SampleDecision {
    Deliver(RawSample),
    Drop,
    AwaitDiscovery(DeserializedCacheChange<Raw>),
}

impl Subscription {
    /// `names` are the DDS names of the topic and the type.
    pub(super) fn new(key: TopicKey, type_name: String, qos: Qos, names: (String, String)) -> Subscription {
        let (readers, progress) = (BTreeMap::new(), HashMap::new());
        let since = Timestamp::now();
        let (depth, undelivered) = (HistoryDepth::default(), Vec::new());
        Subscription { key, type_name, qos, names, readers, progress, depth, since, undelivered }
    }

    /// Creates and removes readers to match the current writers. `token` is the first of three.
    pub(super) fn update_readers(
        &mut self,
        topic: &TopicState,
        participant: &DomainParticipant,
        subscriber: &Subscriber,
        registry: (&Registry, usize),
    ) -> Result<(), SourceError> {
        self.progress
            .retain(|writer, _| topic.writers.contains_key(writer) || topic.foreign.contains(writer));
        for (writer, qos) in &topic.writers {
            self.progress.entry(*writer).or_default().owner = DeliveryOwner::Reader(Class::of(*qos));
        }
        for writer in &topic.foreign {
            self.progress.entry(*writer).or_default().owner = DeliveryOwner::NoReader;
        }
        let classes = topic.classes(participant.guid());
        self.readers.retain(|class, _| classes.contains(class));
        for class in classes {
            if !self.readers.contains_key(&class) {
                let mut reader = create(participant, subscriber, &self.names, class, self.depth.depth)?;
                let token = Token(registry.1 + class as usize);
                rustdds::mio1::event::Source::register(&mut reader, registry.0, token, Interest::READABLE)
                    .map_err(|error| SourceError(format!("cannot wait for {}: {error}", self.names.0)))?;
                self.readers.insert(class, reader);
            }
        }
        Ok(())
    }

    /// Delivers what has arrived; returns whether there may be more. If [`Subscription::needs_rescan`]
    /// afterwards, query discovery and then call [`Subscription::release`].
    pub(super) fn drain(&mut self, class: Class, participant: &DomainParticipant, sink: &dyn Sink) -> bool {
        let Some(reader) = self.readers.get(&class) else { return false };
        let mut deeper = None;
        let own = reader.guid().prefix;
        let more = take(reader, |change| {
            if change.writer_guid.prefix == own {
                return; // delivered by the publishing side
            }
            deeper = self.depth.observe(change.sample.0.len(), Instant::now).or(deeper);
            match classify(&mut self.progress, self.since, class, change) {
                SampleDecision::Deliver(sample) => sink.sample(self.key, sample),
                SampleDecision::AwaitDiscovery(change) => self.undelivered.push(change),
                SampleDecision::Drop => {}
            }
        });
        if let Some(depth) = deeper {
            self.grow(class, depth, participant);
        }
        more
    }

    /// Whether samples of unknown writers are pending.
    pub(super) fn needs_rescan(&self) -> bool {
        !self.undelivered.is_empty()
    }

    /// Delivers the pending samples.
    pub(super) fn release(&mut self, class: Class, sink: &dyn Sink) {
        for change in std::mem::take(&mut self.undelivered) {
            if self.progress.len() >= MAX_UNLISTED_WRITERS && !self.progress.contains_key(&change.writer_guid)
            {
                continue;
            }
            self.progress.entry(change.writer_guid).or_default();
            if let SampleDecision::Deliver(sample) = classify(&mut self.progress, self.since, class, change) {
                sink.sample(self.key, sample);
            }
        }
    }

    /// Creating the topic again with a deeper history enlarges the cache behind its readers.
    fn grow(&self, class: Class, depth: i32, participant: &DomainParticipant) {
        let (name, type_name) = self.names.clone();
        let qos = reader_qos(class, depth);
        if let Err(error) = participant.create_topic(name, type_name, &qos, TopicKind::NoKey) {
            tracing::debug!("the history of {} stays as it is: {error}", self.names.0);
        }
    }

    /// The GUIDs of the readers, for the ROS graph.
    pub(super) fn reader_ids(&self) -> impl Iterator<Item = GUID> + '_ {
        self.readers.values().map(RTPSEntity::guid)
    }

    /// The readers with their topic and type names.
    pub(super) fn reader_endpoints(&self) -> impl Iterator<Item = Endpoint> + '_ {
        let (topic, type_name) = &self.names;
        self.reader_ids().map(|id| Endpoint { id, topic: topic.clone(), type_name: type_name.clone() })
    }

    /// The classes that currently have a reader.
    pub(super) fn classes(&self) -> Vec<Class> {
        self.readers.keys().copied().collect()
    }
}

/// Opens a reader of raw messages.
pub(super) fn create(
    participant: &DomainParticipant,
    subscriber: &Subscriber,
    names: &(String, String),
    class: Class,
    depth: i32,
) -> Result<RawReader, SourceError> {
    let qos = reader_qos(class, depth);
    participant
        .create_topic(names.0.clone(), names.1.clone(), &qos, TopicKind::NoKey)
        .and_then(|topic| subscriber.create_simple_datareader_no_key::<Raw, RawAdapter>(&topic, Some(qos)))
        .map_err(|error| SourceError(format!("cannot subscribe to {}: {error}", names.0)))
}

/// Takes up to one batch; returns whether there may be more. A disposal also reads as "nothing there",
/// so only two in a row mean the end.
pub(super) fn take(reader: &RawReader, mut each: impl FnMut(DeserializedCacheChange<Raw>)) -> bool {
    reader.drain_read_notifications();
    let (mut nothing, mut taken) = (0, 0);
    for _ in 0..BATCH {
        match reader.try_take_one() {
            Ok(Some(change)) => {
                (nothing, taken) = (0, taken + 1);
                each(change);
            }
            Ok(None) if nothing == 1 => return false,
            Ok(None) => nothing = 1,
            Err(error) => tracing::debug!("a sample could not be read: {error}"),
        }
    }
    taken > 0
}

/// Delivers a sample unless it is another reader's or a duplicate. The library keeps a topic's cache
/// after its last reader, so a new reader also finds samples from before `since`: with a latched
/// publisher they are history, otherwise they are stale.
fn classify(
    progress: &mut HashMap<GUID, Progress>,
    since: Timestamp,
    class: Class,
    change: DeserializedCacheChange<Raw>,
) -> SampleDecision {
    let Ok(seq) = u64::try_from(i64::from(change.sequence_number)) else { return SampleDecision::Drop };
    let Some(progress) = progress.get_mut(&change.writer_guid) else {
        return SampleDecision::AwaitDiscovery(change);
    };
    let ours = progress.owner == DeliveryOwner::AnyReader || progress.owner == DeliveryOwner::Reader(class);
    let stale = change.receive_instant < since && progress.owner != DeliveryOwner::Reader(Class::Latched);
    if !ours || stale || seq <= progress.last {
        return SampleDecision::Drop;
    }
    progress.last = seq;
    raw_sample(change).map_or(SampleDecision::Drop, |(_, sample)| SampleDecision::Deliver(sample))
}

/// Converts a sample; returns it with its writer, or `None` if the sequence number is invalid.
pub(super) fn raw_sample(change: DeserializedCacheChange<Raw>) -> Option<(GUID, RawSample)> {
    let seq = u64::try_from(i64::from(change.sequence_number)).ok()?;
    let sample = RawSample {
        id: SampleId { source: Guid(change.writer_guid.to_bytes()), seq },
        source_time_ns: change.source_timestamp().map_or(0, nanoseconds),
        receive_time_ns: nanoseconds(change.receive_instant),
        payload: change.sample.0,
    };
    Some((change.writer_guid, sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(writer: u8, seq: i64) -> DeserializedCacheChange<Raw> {
        DeserializedCacheChange {
            receive_instant: rustdds::Timestamp::now(),
            writer_guid: GUID::from_bytes([writer; 16]),
            sequence_number: rustdds::SequenceNumber::from(seq),
            write_options: rustdds::WriteOptionsBuilder::new().build(),
            sample: Raw(bytes::Bytes::from_static(&[0, 1, 0, 0])),
        }
    }

    #[test]
    fn a_sample_is_delivered_once() {
        let mut progress = HashMap::new();
        for (writer, owner) in [
            (1, DeliveryOwner::Reader(Class::Latched)),
            (2, DeliveryOwner::AnyReader),
            (3, DeliveryOwner::NoReader),
            (4, DeliveryOwner::Reader(Class::Reliable)),
        ] {
            progress.insert(GUID::from_bytes([writer; 16]), Progress { owner, last: 0 });
        }
        let mut outcome =
            |since, class, writer, seq| match classify(&mut progress, since, class, change(writer, seq)) {
                SampleDecision::Deliver(_) => "delivered",
                SampleDecision::Drop => "dropped",
                SampleDecision::AwaitDiscovery(_) => "pending",
            };
        let start = Timestamp::ZERO;
        assert_eq!(outcome(start, Class::BestEffort, 1, 1), "dropped", "another reader's");
        assert_eq!(outcome(start, Class::Latched, 1, 1), "delivered");
        assert_eq!(outcome(start, Class::Latched, 1, 1), "dropped", "again");
        assert_eq!(outcome(start, Class::Latched, 1, 3), "delivered");
        assert_eq!(outcome(start, Class::Reliable, 2, 5), "delivered", "through whichever reader");
        assert_eq!(outcome(start, Class::BestEffort, 2, 5), "dropped");
        assert_eq!(outcome(start, Class::BestEffort, 3, 1), "dropped", "another type");
        assert_eq!(outcome(start, Class::BestEffort, 5, 1), "pending", "unknown");
        assert_eq!(outcome(start, Class::Reliable, 4, -1), "dropped", "not a number");
        let later = Timestamp::from_ticks(u64::MAX);
        assert_eq!(outcome(later, Class::Reliable, 4, 1), "dropped", "left over");
        assert_eq!(outcome(later, Class::Latched, 1, 4), "delivered", "history");
    }
}
