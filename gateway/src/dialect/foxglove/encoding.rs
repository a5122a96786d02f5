//! The Foxglove sample encoding: binary message data with the client's subscription id.

use bytes::Bytes;

use crate::connection::frame;
use crate::dialect::foxglove::MESSAGE_DATA;
use crate::hub::{FrameFormat, SampleEncoding, SampleToEncode};

/// The format of a subscription with the id that the client chose.
pub(super) const fn format(subscription: u32) -> FrameFormat {
    FrameFormat::new(&FoxgloveEncoding, subscription as u64)
}

struct FoxgloveEncoding;

impl SampleEncoding for FoxgloveEncoding {
    fn name(&self) -> &'static str {
        "foxglove"
    }

    fn encode(&self, sample: &SampleToEncode<'_>, subscription: u64) -> Bytes {
        let sample = sample.sample;
        let mut head = [0; 13];
        head[0] = MESSAGE_DATA;
        head[1..5].copy_from_slice(&(subscription as u32).to_le_bytes());
        head[5..].copy_from_slice(&sample.receive_time_ns.unsigned_abs().to_le_bytes());
        frame::binary(&[&head, &sample.payload])
    }
}
