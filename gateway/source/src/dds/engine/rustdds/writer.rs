//! A RustDDS writer of raw messages.

use std::collections::BTreeSet;

use bytes::Bytes;
use roverline_protocol::Guid;
use rustdds::no_key::DataWriter;
use rustdds::{DataWriterStatus, RTPSEntity, StatusEvented, Timestamp, WriteOptionsBuilder, dds};

use crate::dds::engine::rustdds::guid;
use crate::dds::engine::rustdds::raw::{Raw, RawAdapter, identity, library_identity, nanoseconds, timestamp};
use crate::dds::engine::rustdds::reader::track_match;
use crate::dds::engine::wait_set::WaitSet;
use crate::dds::engine::{SampleIdentity, WriteError, Writer, Written};

pub(super) struct RustDdsWriter {
    writer: DataWriter<Raw, RawAdapter>,
    matched: BTreeSet<Guid>,
}

impl RustDdsWriter {
    pub(super) fn new(writer: DataWriter<Raw, RawAdapter>) -> RustDdsWriter {
        RustDdsWriter { writer, matched: BTreeSet::new() }
    }
}

impl Writer for RustDdsWriter {
    fn guid(&self) -> Guid {
        guid(self.writer.guid())
    }

    fn attach_matches(&mut self, waits: &WaitSet, token: usize) -> std::io::Result<()> {
        waits.register(self.writer.as_status_source_mio1(), token)
    }

    fn write(
        &mut self,
        message: &Bytes,
        source_time_ns: i64,
        related: Option<SampleIdentity>,
    ) -> Result<Written, WriteError> {
        let stamp = timestamp(source_time_ns).unwrap_or_else(Timestamp::now);
        let mut options = WriteOptionsBuilder::new().source_timestamp(stamp);
        if let Some(related) = related {
            options = options.related_sample_identity(library_identity(related));
        }
        match self.writer.write_with_options(Raw(message.clone()), options.build()) {
            Ok(id) => Ok(Written { identity: identity(id), source_time_ns: nanoseconds(stamp) }),
            Err(dds::WriteError::WouldBlock { .. }) => Err(WriteError::NotAcknowledged),
            Err(error) => Err(WriteError::Failed(error.to_string())),
        }
    }

    fn matched(&mut self) -> BTreeSet<Guid> {
        while let Some(status) = self.writer.try_recv_status() {
            if let DataWriterStatus::PublicationMatched { current, reader, .. } = status {
                track_match(&mut self.matched, guid(reader), current.count_change());
            }
        }
        self.matched.clone()
    }
}
