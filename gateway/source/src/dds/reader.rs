//! The readers of one topic: one for each class of publisher, never a sample twice.

use std::collections::{BTreeMap, HashMap};

use roverline_protocol::{Guid, SampleId};
use rustdds::mio1::{Interest, Registry, Token};
use rustdds::no_key::{DeserializedCacheChange, SimpleDataReader};
use rustdds::{DomainParticipant, GUID, RTPSEntity, Subscriber, Timestamp, TopicKind};

use crate::dds::catalog::{Class, TopicState};
use crate::dds::graph_builder::Endpoint;
use crate::dds::history_depth::Depth;
use crate::dds::participant::reader_qos;
use crate::dds::raw::{Raw, RawAdapter, nanoseconds};
use crate::{Qos, RawSample, Sink, SourceError, TopicKey};

pub(super) type RawReader = SimpleDataReader<Raw, RawAdapter>;

/// Samples taken from one reader before the others get their turn.
const BATCH: usize = 256;
/// Writers of one topic whose progress is remembered although discovery does not list them.
const MAX_STRANGERS: usize = 4096;

/// One wanted topic.
pub(super) struct Subscription {
    pub(super) key: TopicKey,
    pub(super) type_name: String,
    /// What the sink was told.
    pub(super) qos: Qos,
    names: (String, String),
    readers: BTreeMap<Class, RawReader>,
    progress: HashMap<GUID, Progress>,
    depth: Depth,
    since: Timestamp,
    /// Samples of writers that are not known yet, until discovery has been asked.
    held: Vec<DeserializedCacheChange<Raw>>,
}

/// How far a writer's samples have been delivered.
#[derive(Default)]
struct Progress {
    home: Home,
    last: u64,
}

/// Who delivers a writer's samples.
#[derive(Clone, Copy, Default, PartialEq)]
enum Home {
    /// Whoever hears them: the writer vanished before it was known.
    #[default]
    Anywhere,
    /// The reader of the writer's class.
    Reader(Class),
    /// Nobody: they are of another type.
    Nowhere,
}

/// What becomes of a sample.
enum Verdict {
    Deliver(RawSample),
    Drop,
    AskFirst(DeserializedCacheChange<Raw>),
}

impl Subscription {
    /// `names` are the topic's and the type's as DDS sees them.
    pub(super) fn new(key: TopicKey, type_name: String, qos: Qos, names: (String, String)) -> Subscription {
        let (readers, progress) = (BTreeMap::new(), HashMap::new());
        let since = Timestamp::now();
        let (depth, held) = (Depth::default(), Vec::new());
        Subscription { key, type_name, qos, names, readers, progress, depth, since, held }
    }

    /// Makes the readers fit the writers there are. `token` is the first of three.
    pub(super) fn fit(
        &mut self,
        topic: &TopicState,
        participant: &DomainParticipant,
        subscriber: &Subscriber,
        registry: (&Registry, usize),
    ) -> Result<(), SourceError> {
        self.progress
            .retain(|writer, _| topic.writers.contains_key(writer) || topic.foreign.contains(writer));
        for (writer, qos) in &topic.writers {
            self.progress.entry(*writer).or_default().home = Home::Reader(Class::of(*qos));
        }
        for writer in &topic.foreign {
            self.progress.entry(*writer).or_default().home = Home::Nowhere;
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

    /// Hands on what has arrived; returns whether there may be more. Where [`Subscription::asks`]
    /// after that, discovery is to be asked before [`Subscription::release`].
    pub(super) fn drain(&mut self, class: Class, participant: &DomainParticipant, sink: &dyn Sink) -> bool {
        let Some(reader) = self.readers.get(&class) else { return false };
        let mut grown = None;
        let own = reader.guid().prefix;
        let more = take(reader, |change| {
            if change.writer_guid.prefix == own {
                return; // the writing side hands these on
            }
            grown = self.depth.observe(change.sample.0.len()).or(grown);
            match judge(&mut self.progress, self.since, class, change) {
                Verdict::Deliver(sample) => sink.sample(self.key, sample),
                Verdict::AskFirst(change) => self.held.push(change),
                Verdict::Drop => {}
            }
        });
        if let Some(depth) = grown {
            self.grow(class, depth, participant);
        }
        more
    }

    /// Whether there are samples of writers that were not known.
    pub(super) fn asks(&self) -> bool {
        !self.held.is_empty()
    }

    /// Hands on the samples that were held back.
    pub(super) fn release(&mut self, class: Class, sink: &dyn Sink) {
        for change in std::mem::take(&mut self.held) {
            if self.progress.len() >= MAX_STRANGERS && !self.progress.contains_key(&change.writer_guid) {
                continue;
            }
            self.progress.entry(change.writer_guid).or_default();
            if let Verdict::Deliver(sample) = judge(&mut self.progress, self.since, class, change) {
                sink.sample(self.key, sample);
            }
        }
    }

    /// Announcing the topic again with a deeper history enlarges the cache behind its readers.
    fn grow(&self, class: Class, depth: i32, participant: &DomainParticipant) {
        let (name, type_name) = self.names.clone();
        let qos = reader_qos(class, depth);
        if let Err(error) = participant.create_topic(name, type_name, &qos, TopicKind::NoKey) {
            tracing::debug!("the history of {} stays as it is: {error}", self.names.0);
        }
    }

    /// The ids of the readers, for the ROS graph.
    pub(super) fn reader_ids(&self) -> impl Iterator<Item = GUID> + '_ {
        self.readers.values().map(RTPSEntity::guid)
    }

    /// The same with the topic's names.
    pub(super) fn reader_endpoints(&self) -> impl Iterator<Item = Endpoint> + '_ {
        let (topic, type_name) = &self.names;
        self.reader_ids().map(|id| Endpoint { id, topic: topic.clone(), type_name: type_name.clone() })
    }

    /// The classes read now.
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

/// Takes up to a batch; returns whether there may be more. A disposal reads as "nothing there", so
/// only two of those in a row mean it.
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

/// The sample, unless another reader delivers it or it has been delivered. The library keeps a
/// topic's cache after its last reader, so a new reader also finds samples from before `since`:
/// they are history where a latched publisher offers them, and stale otherwise.
fn judge(
    progress: &mut HashMap<GUID, Progress>,
    since: Timestamp,
    class: Class,
    change: DeserializedCacheChange<Raw>,
) -> Verdict {
    let Ok(seq) = u64::try_from(i64::from(change.sequence_number)) else { return Verdict::Drop };
    let Some(progress) = progress.get_mut(&change.writer_guid) else { return Verdict::AskFirst(change) };
    let here = progress.home == Home::Anywhere || progress.home == Home::Reader(class);
    let stale = change.receive_instant < since && progress.home != Home::Reader(Class::Latched);
    if !here || stale || seq <= progress.last {
        return Verdict::Drop;
    }
    progress.last = seq;
    raw_sample(change).map_or(Verdict::Drop, |(_, sample)| Verdict::Deliver(sample))
}

/// The sample as it crosses the gateway, and who wrote it; `None` where its number is none.
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
        let mut all = HashMap::new();
        for (writer, home) in [
            (1, Home::Reader(Class::Latched)),
            (2, Home::Anywhere),
            (3, Home::Nowhere),
            (4, Home::Reader(Class::Reliable)),
        ] {
            all.insert(GUID::from_bytes([writer; 16]), Progress { home, last: 0 });
        }
        let mut heard = |since, class, writer, seq| match judge(&mut all, since, class, change(writer, seq)) {
            Verdict::Deliver(_) => "delivered",
            Verdict::Drop => "dropped",
            Verdict::AskFirst(_) => "asked",
        };
        let start = Timestamp::ZERO;
        assert_eq!(heard(start, Class::BestEffort, 1, 1), "dropped", "another reader's");
        assert_eq!(heard(start, Class::Latched, 1, 1), "delivered");
        assert_eq!(heard(start, Class::Latched, 1, 1), "dropped", "again");
        assert_eq!(heard(start, Class::Latched, 1, 3), "delivered");
        assert_eq!(heard(start, Class::Reliable, 2, 5), "delivered", "through whichever reader");
        assert_eq!(heard(start, Class::BestEffort, 2, 5), "dropped");
        assert_eq!(heard(start, Class::BestEffort, 3, 1), "dropped", "another type");
        assert_eq!(heard(start, Class::BestEffort, 5, 1), "asked", "unknown");
        assert_eq!(heard(start, Class::Reliable, 4, -1), "dropped", "not a number");
        let later = Timestamp::from_ticks(u64::MAX);
        assert_eq!(heard(later, Class::Reliable, 4, 1), "dropped", "left over");
        assert_eq!(heard(later, Class::Latched, 1, 4), "delivered", "history");
    }
}
