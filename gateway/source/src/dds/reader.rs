//! The readers of one topic: one per QoS class, without duplicate delivery.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use roverline_protocol::{Guid, SampleId};

use crate::clock::unix_ns;
use crate::dds::catalog::TopicState;
use crate::dds::engine::Class;
use crate::dds::engine::wait_set::WaitSet;
use crate::dds::engine::{Participant, Reader, Sample, prefix};
use crate::dds::graph_builder::Endpoint;
use crate::dds::history_depth::HistoryDepth;
use crate::{Qos, RawSample, Sink, SourceError, TopicKey};

/// Writers of one topic whose progress is tracked although discovery does not list them.
const MAX_UNLISTED_WRITERS: usize = 4096;

/// One subscribed topic.
pub(super) struct Subscription {
    pub(super) key: TopicKey,
    pub(super) type_name: String,
    /// The QoS last declared to the sink.
    pub(super) qos: Qos,
    /// The history that was declared with it.
    pub(super) history_depth: u32,
    names: (String, String),
    readers: BTreeMap<Class, Box<dyn Reader>>,
    progress: HashMap<Guid, Progress>,
    depth: HistoryDepth,
    since: i64,
    /// Samples of unknown writers, retained until discovery has been queried.
    undelivered: Vec<Sample>,
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
    AwaitDiscovery(Sample),
}

impl Subscription {
    /// `names` are the DDS names of the topic and the type.
    pub(super) fn new(key: TopicKey, type_name: String, qos: Qos, names: (String, String)) -> Subscription {
        let (readers, progress) = (BTreeMap::new(), HashMap::new());
        let since = unix_ns();
        let (depth, undelivered) = (HistoryDepth::default(), Vec::new());
        Subscription {
            key,
            type_name,
            qos,
            history_depth: 1,
            names,
            readers,
            progress,
            depth,
            since,
            undelivered,
        }
    }

    /// Creates and removes readers to match the current writers. `token` is the first of three.
    pub(super) fn update_readers(
        &mut self,
        topic: &TopicState,
        participant: &dyn Participant,
        (waits, token): (&WaitSet, usize),
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
                let mut reader = participant.open_reader(&self.names, class, self.depth.depth)?;
                reader
                    .attach(waits, token + class as usize)
                    .map_err(|error| SourceError(format!("cannot wait for {}: {error}", self.names.0)))?;
                self.readers.insert(class, reader);
            }
        }
        Ok(())
    }

    /// Delivers what has arrived; returns whether there may be more. If [`Subscription::needs_rescan`]
    /// afterwards, query discovery and then call [`Subscription::release`].
    pub(super) fn drain(&mut self, class: Class, sink: &dyn Sink) -> bool {
        let Some(reader) = self.readers.get_mut(&class) else { return false };
        let mut deeper = None;
        let own = prefix(reader.guid());
        let more = reader.take(&mut |sample| {
            if prefix(sample.identity.writer) == own {
                return; // delivered by the publishing side
            }
            deeper = self.depth.observe(sample.payload.len(), Instant::now).or(deeper);
            match classify(&mut self.progress, self.since, class, sample) {
                SampleDecision::Deliver(sample) => sink.sample(self.key, sample),
                SampleDecision::AwaitDiscovery(sample) => self.undelivered.push(sample),
                SampleDecision::Drop => {}
            }
        });
        if let Some(depth) = deeper {
            reader.deepen(depth);
        }
        more
    }

    /// Whether samples of unknown writers are pending.
    pub(super) fn needs_rescan(&self) -> bool {
        !self.undelivered.is_empty()
    }

    /// Delivers the pending samples.
    pub(super) fn release(&mut self, class: Class, sink: &dyn Sink) {
        for sample in std::mem::take(&mut self.undelivered) {
            let writer = sample.identity.writer;
            if self.progress.len() >= MAX_UNLISTED_WRITERS && !self.progress.contains_key(&writer) {
                continue;
            }
            self.progress.entry(writer).or_default();
            if let SampleDecision::Deliver(sample) = classify(&mut self.progress, self.since, class, sample) {
                sink.sample(self.key, sample);
            }
        }
    }

    /// The Guids of the readers, for the ROS graph.
    pub(super) fn reader_ids(&self) -> impl Iterator<Item = Guid> + '_ {
        self.readers.values().map(|reader| reader.guid())
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

/// Delivers a sample unless it is another reader's or a duplicate. The library keeps a topic's cache
/// after its last reader, so a new reader also finds samples from before `since`: with a latched
/// publisher they are history, otherwise they are stale.
fn classify(
    progress: &mut HashMap<Guid, Progress>,
    since: i64,
    class: Class,
    sample: Sample,
) -> SampleDecision {
    let Ok(seq) = u64::try_from(sample.identity.sequence_number) else { return SampleDecision::Drop };
    let Some(progress) = progress.get_mut(&sample.identity.writer) else {
        return SampleDecision::AwaitDiscovery(sample);
    };
    let ours = progress.owner == DeliveryOwner::AnyReader || progress.owner == DeliveryOwner::Reader(class);
    let stale = sample.receive_time_ns < since && progress.owner != DeliveryOwner::Reader(Class::Latched);
    if !ours || stale || seq <= progress.last {
        return SampleDecision::Drop;
    }
    progress.last = seq;
    raw_sample(sample).map_or(SampleDecision::Drop, SampleDecision::Deliver)
}

/// Converts a sample; `None` if the sequence number is invalid.
pub(super) fn raw_sample(sample: Sample) -> Option<RawSample> {
    let Sample { identity, source_time_ns, receive_time_ns, payload, .. } = sample;
    let seq = u64::try_from(identity.sequence_number).ok()?;
    let id = SampleId { source: identity.writer, seq };
    Some(RawSample { id, source_time_ns, receive_time_ns, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dds::engine::SampleIdentity;

    fn sample(writer: u8, sequence_number: i64) -> Sample {
        Sample {
            identity: SampleIdentity { writer: Guid([writer; 16]), sequence_number },
            related: None,
            source_time_ns: 0,
            receive_time_ns: 1_000,
            payload: bytes::Bytes::from_static(&[0, 1, 0, 0]),
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
            progress.insert(Guid([writer; 16]), Progress { owner, last: 0 });
        }
        let mut outcome =
            |since, class, writer, seq| match classify(&mut progress, since, class, sample(writer, seq)) {
                SampleDecision::Deliver(_) => "delivered",
                SampleDecision::Drop => "dropped",
                SampleDecision::AwaitDiscovery(_) => "pending",
            };
        let start = 0;
        assert_eq!(outcome(start, Class::BestEffort, 1, 1), "dropped", "another reader's");
        assert_eq!(outcome(start, Class::Latched, 1, 1), "delivered");
        assert_eq!(outcome(start, Class::Latched, 1, 1), "dropped", "again");
        assert_eq!(outcome(start, Class::Latched, 1, 3), "delivered");
        assert_eq!(outcome(start, Class::Reliable, 2, 5), "delivered", "through whichever reader");
        assert_eq!(outcome(start, Class::BestEffort, 2, 5), "dropped");
        assert_eq!(outcome(start, Class::BestEffort, 3, 1), "dropped", "another type");
        assert_eq!(outcome(start, Class::BestEffort, 5, 1), "pending", "unknown");
        assert_eq!(outcome(start, Class::Reliable, 4, -1), "dropped", "not a number");
        let later = 2_000;
        assert_eq!(outcome(later, Class::Reliable, 4, 1), "dropped", "left over");
        assert_eq!(outcome(later, Class::Latched, 1, 4), "delivered", "history");
    }
}
