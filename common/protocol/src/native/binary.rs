//! Binary messages of the native dialect, little endian: samples and heartbeats.

use bytes::Bytes;

use crate::{Guid, SampleId};

/// First byte of a binary message: a sample.
pub const KIND_SAMPLE: u8 = 1;
/// First byte of a binary message: a heartbeat.
pub const KIND_HEARTBEAT: u8 = 2;
/// Length of the header in front of a sample's CDR.
pub const SAMPLE_HEADER_BYTES: usize = 48;
/// Length of a heartbeat.
pub const HEARTBEAT_BYTES: usize = 16;
/// Sample flag: a stored value, sent because the client subscribed late.
pub const FLAG_STORED: u8 = 1;
/// Sample flag: replayed, because the client resumed.
pub const FLAG_REPLAYED: u8 = 2;
/// Sample flag: the endpoint records the way of this sample; the client may report when it came, with
/// [`SampleTimes`](crate::trace::SampleTimes).
pub const FLAG_TRACED: u8 = 4;

/// Header of a binary sample, everything but its payload. Little endian: kind u8, flags u8,
/// reserved u16, topic u32, source \[u8; 16], seq u64, source time i64 ns, receive time i64 ns,
/// followed by CDR with its encapsulation header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleHeader {
    /// [`FLAG_STORED`], [`FLAG_REPLAYED`], [`FLAG_TRACED`] and future flags.
    pub flags: u8,
    /// [`TopicInfo::id`](crate::native::TopicInfo::id).
    pub topic: u32,
    /// The sample's identity, the same at every endpoint.
    pub id: SampleId,
    /// Publisher's timestamp, nanoseconds since the Unix epoch; 0 if unknown.
    pub source_time_ns: i64,
    /// When the gateway received it, nanoseconds since the Unix epoch.
    pub receive_time_ns: i64,
}

impl SampleHeader {
    /// The encoded header.
    pub fn to_bytes(&self) -> [u8; SAMPLE_HEADER_BYTES] {
        let mut out = [0; SAMPLE_HEADER_BYTES];
        out[0] = KIND_SAMPLE;
        out[1] = self.flags;
        out[4..8].copy_from_slice(&self.topic.to_le_bytes());
        out[8..24].copy_from_slice(&self.id.source.0);
        out[24..32].copy_from_slice(&self.id.seq.to_le_bytes());
        out[32..40].copy_from_slice(&self.source_time_ns.to_le_bytes());
        out[40..48].copy_from_slice(&self.receive_time_ns.to_le_bytes());
        out
    }
}

/// A binary message of the native dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binary {
    /// A sample and its CDR.
    Sample(SampleHeader, Bytes),
    /// A sign of life of the endpoint.
    Heartbeat {
        /// Counts up per session.
        seq: u32,
        /// Server time, nanoseconds since the Unix epoch.
        time_ns: i64,
    },
}

/// A malformed binary message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// Its first byte is unknown.
    #[error("unknown kind {0} of binary message")]
    Kind(u8),
    /// It is shorter than its header.
    #[error("a binary message of {0} bytes is too short")]
    Short(usize),
}

impl Binary {
    /// Parses a binary message; the payload shares the message's memory.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use roverline_protocol::native::{Binary, BinaryError};
    /// let message = Bytes::copy_from_slice(&Binary::heartbeat(7, 1_000));
    /// assert_eq!(Binary::parse(&message), Ok(Binary::Heartbeat { seq: 7, time_ns: 1_000 }));
    /// assert_eq!(Binary::parse(&Bytes::from_static(&[9])), Err(BinaryError::Kind(9)));
    /// ```
    pub fn parse(message: &Bytes) -> Result<Binary, BinaryError> {
        let short = BinaryError::Short(message.len());
        match message.first() {
            Some(&KIND_SAMPLE) => {
                let head = message.first_chunk::<SAMPLE_HEADER_BYTES>().ok_or(short)?;
                Ok(Binary::Sample(parse_sample(head), message.slice(SAMPLE_HEADER_BYTES..)))
            }
            Some(&KIND_HEARTBEAT) => {
                let head = message.first_chunk::<HEARTBEAT_BYTES>().ok_or(short)?;
                Ok(Binary::Heartbeat { seq: u32_at(head, 4), time_ns: u64_at(head, 8) as i64 })
            }
            Some(&kind) => Err(BinaryError::Kind(kind)),
            None => Err(short),
        }
    }

    /// An encoded heartbeat.
    pub fn heartbeat(seq: u32, time_ns: i64) -> [u8; HEARTBEAT_BYTES] {
        let mut out = [0; HEARTBEAT_BYTES];
        out[0] = KIND_HEARTBEAT;
        out[4..8].copy_from_slice(&seq.to_le_bytes());
        out[8..16].copy_from_slice(&time_ns.to_le_bytes());
        out
    }
}

fn parse_sample(head: &[u8; SAMPLE_HEADER_BYTES]) -> SampleHeader {
    let mut source = [0; 16];
    source.copy_from_slice(&head[8..24]);
    SampleHeader {
        flags: head[1],
        topic: u32_at(head, 4),
        id: SampleId { source: Guid(source), seq: u64_at(head, 24) },
        source_time_ns: u64_at(head, 32) as i64,
        receive_time_ns: u64_at(head, 40) as i64,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn samples_round_trip(flags: u8, topic: u32, source: [u8; 16], seq: u64, s: i64, r: i64, body: Vec<u8>) {
            let header = SampleHeader {
                flags, topic, id: SampleId { source: Guid(source), seq }, source_time_ns: s, receive_time_ns: r,
            };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend_from_slice(&body);
            prop_assert_eq!(Binary::parse(&bytes.into()).unwrap(), Binary::Sample(header, body.into()));
        }

        #[test]
        fn any_bytes_parse_or_err(bytes: Vec<u8>) {
            let _ = Binary::parse(&bytes.into());
        }
    }
}
