//! A RustDDS reader of raw messages.

use std::collections::BTreeSet;

use roverline_protocol::Guid;
use rustdds::no_key::{DeserializedCacheChange, SimpleDataReader};
use rustdds::{DataReaderStatus, DomainParticipant, StatusEvented, Subscriber, TopicKind};

use crate::SourceError;
use crate::dds::engine::Class;
use crate::dds::engine::rustdds::guid;
use crate::dds::engine::rustdds::qos::reader_qos;
use crate::dds::engine::rustdds::raw::{Raw, RawAdapter, identity, nanoseconds};
use crate::dds::engine::wait_set::WaitSet;
use crate::dds::engine::{BATCH, Names, Reader, Sample, SampleIdentity};

pub(super) struct RustDdsReader {
    participant: DomainParticipant,
    names: Names,
    class: Class,
    reader: SimpleDataReader<Raw, RawAdapter>,
    matched: BTreeSet<Guid>,
}

impl RustDdsReader {
    pub(super) fn open(
        participant: &DomainParticipant,
        subscriber: &Subscriber,
        names: &Names,
        class: Class,
        depth: i32,
    ) -> Result<RustDdsReader, SourceError> {
        let qos = reader_qos(class, depth);
        let reader = participant
            .create_topic(names.0.clone(), names.1.clone(), &qos, TopicKind::NoKey)
            .and_then(|topic| subscriber.create_simple_datareader_no_key(&topic, Some(qos)))
            .map_err(|error| SourceError(format!("cannot subscribe to {}: {error}", names.0)))?;
        let (participant, names) = (participant.clone(), names.clone());
        Ok(RustDdsReader { participant, names, class, reader, matched: BTreeSet::new() })
    }
}

impl Reader for RustDdsReader {
    fn guid(&self) -> Guid {
        guid(self.reader.guid())
    }

    fn attach(&mut self, waits: &WaitSet, token: usize) -> std::io::Result<()> {
        waits.register(&mut self.reader, token)
    }

    fn attach_matches(&mut self, waits: &WaitSet, token: usize) -> std::io::Result<()> {
        waits.register(self.reader.as_status_source_mio1(), token)
    }

    /// A disposal also reads as "nothing there", so only two in a row mean the end.
    fn take(&mut self, each: &mut dyn FnMut(Sample)) -> bool {
        self.reader.drain_read_notifications();
        let (mut nothing, mut taken) = (0, 0);
        for _ in 0..BATCH {
            match self.reader.try_take_one() {
                Ok(Some(change)) => {
                    (nothing, taken) = (0, taken + 1);
                    each(sample(change));
                }
                Ok(None) if nothing == 1 => return false,
                Ok(None) => nothing = 1,
                Err(error) => tracing::debug!("a sample could not be read: {error}"),
            }
        }
        taken > 0
    }

    /// Creating the topic again with a deeper history enlarges the cache behind its readers.
    fn deepen(&mut self, depth: i32) {
        let (name, type_name) = self.names.clone();
        let qos = reader_qos(self.class, depth);
        if let Err(error) = self.participant.create_topic(name, type_name, &qos, TopicKind::NoKey) {
            tracing::debug!("the history of {} stays as it is: {error}", self.names.0);
        }
    }

    fn matched(&mut self) -> BTreeSet<Guid> {
        while let Some(status) = self.reader.try_recv_status() {
            if let DataReaderStatus::SubscriptionMatched { current, writer, .. } = status {
                track_match(&mut self.matched, guid(writer), current.count_change());
            }
        }
        self.matched.clone()
    }
}

fn sample(change: DeserializedCacheChange<Raw>) -> Sample {
    Sample {
        identity: SampleIdentity {
            writer: guid(change.writer_guid),
            sequence_number: i64::from(change.sequence_number),
        },
        related: change.write_options.related_sample_identity().map(identity),
        source_time_ns: change.source_timestamp().map_or(0, nanoseconds),
        receive_time_ns: nanoseconds(change.receive_instant),
        payload: change.sample.0,
    }
}

/// Adds or removes a matched endpoint; the sign of the change says which.
pub(super) fn track_match(known: &mut BTreeSet<Guid>, id: Guid, change: i32) {
    if change > 0 {
        known.insert(id);
    } else {
        known.remove(&id);
    }
}
