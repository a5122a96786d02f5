//! The native dialect's sample encoding: a binary header followed by CDR, and topic announcements.

use bytes::Bytes;
use roverline_protocol::native::{SampleHeader, ServerMessage, TopicInfo};

use crate::connection::frame;
use crate::hub::{FrameFormat, SampleEncoding, SampleToEncode};

/// The format of native sessions.
pub const FORMAT: FrameFormat = FrameFormat::new(&NativeEncoding, 0);

struct NativeEncoding;

impl SampleEncoding for NativeEncoding {
    fn name(&self) -> &'static str {
        "native"
    }

    fn encode(&self, sample: &SampleToEncode<'_>, _: u64) -> Bytes {
        let SampleToEncode { topic, sample, flags, .. } = *sample;
        let header = SampleHeader {
            flags,
            topic: topic.id,
            id: sample.id,
            source_time_ns: sample.source_time_ns,
            receive_time_ns: sample.receive_time_ns,
        };
        frame::binary(&[&header.to_bytes(), &sample.payload])
    }

    fn topics_changed(&self, added: &[TopicInfo], removed: &[u32]) -> Option<Bytes> {
        Some(frame::json(&ServerMessage::Topics { up: added.to_vec(), down: removed.to_vec() }))
    }
}
