//! Samples as bytes: serialization adapters that pass messages through undecoded in both directions.

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use roverline_protocol::Guid;
use rustdds::rpc::SampleIdentity as LibraryIdentity;
use rustdds::{GUID, RepresentationIdentifier, SequenceNumber, Timestamp, no_key};

use crate::dds::engine::SampleIdentity;
use crate::dds::engine::cdr::HEADER;
use crate::dds::engine::rustdds::guid;

/// The length of a body is a multiple of this many bytes.
const PAD: usize = 4;

/// A message with its encapsulation header.
#[derive(Clone, Debug)]
pub(super) struct Raw(pub(super) Bytes);

/// The adapter between [`Raw`] and the DDS library.
pub(super) struct RawAdapter;

/// Copies a message out of the receive buffer and restores its header.
#[derive(Clone)]
pub(super) struct RawDecoder;

/// Every encapsulation that carries a message: plain CDR of both versions and their delimited and
/// parameter-list forms, in both byte orders. The decoder behind the hub reads the header.
const ENCODINGS: &[RepresentationIdentifier] = &[
    RepresentationIdentifier::CDR_LE,
    RepresentationIdentifier::CDR_BE,
    RepresentationIdentifier::PL_CDR_LE,
    RepresentationIdentifier::PL_CDR_BE,
    RepresentationIdentifier::XCDR2_LE,
    RepresentationIdentifier::XCDR2_BE,
    RepresentationIdentifier::D_CDR2_LE,
    RepresentationIdentifier::D_CDR2_BE,
    RepresentationIdentifier::PL_XCDR2_LE,
    RepresentationIdentifier::PL_XCDR2_BE,
];

impl no_key::DeserializerAdapter<Raw> for RawAdapter {
    type Error = Infallible;
    type Decoded = Raw;

    fn supported_encodings() -> &'static [RepresentationIdentifier] {
        ENCODINGS
    }

    fn transform_decoded(decoded: Raw) -> Raw {
        decoded
    }
}

impl no_key::DefaultDecoder<Raw> for RawAdapter {
    type Decoder = RawDecoder;
    const DECODER: RawDecoder = RawDecoder;
}

impl no_key::Decode<'_, Raw> for RawDecoder {
    type Error = Infallible;

    fn decode_bytes(self, body: &[u8], encoding: RepresentationIdentifier) -> Result<Raw, Infallible> {
        let mut message = BytesMut::with_capacity(HEADER + body.len());
        message.put_slice(&encoding.to_bytes());
        // The library does not pass on the options; RTPS tells receivers to ignore them.
        message.put_slice(&[0, 0]);
        message.put_slice(body);
        Ok(Raw(message.freeze()))
    }
}

impl no_key::SerializerAdapter<Raw> for RawAdapter {
    type Error = Infallible;

    fn output_encoding() -> RepresentationIdentifier {
        RepresentationIdentifier::CDR_LE
    }

    fn to_bytes(message: &Raw) -> Result<Bytes, Infallible> {
        let body = message.0.slice(HEADER.min(message.0.len())..);
        Ok(pad(body))
    }
}

/// Pads a body to a multiple of four bytes, as RTPS submessages are (RTPS 2.5, 9.4.1). CycloneDDS 0.10 drops fragments
/// of any other length, and then blocks the topic.
fn pad(body: Bytes) -> Bytes {
    let missing = body.len().next_multiple_of(PAD) - body.len();
    if missing == 0 {
        return body;
    }
    let mut padded = BytesMut::with_capacity(body.len() + missing);
    padded.put_slice(&body);
    padded.put_bytes(0, missing);
    padded.freeze()
}

/// An identity as the library has it.
pub(super) fn identity(id: LibraryIdentity) -> SampleIdentity {
    SampleIdentity { writer: guid(id.writer_guid), sequence_number: i64::from(id.sequence_number) }
}

/// An identity for the library.
pub(super) fn library_identity(id: SampleIdentity) -> LibraryIdentity {
    let Guid(writer) = id.writer;
    LibraryIdentity {
        writer_guid: GUID::from_bytes(writer),
        sequence_number: SequenceNumber::new(id.sequence_number),
    }
}

/// A DDS time as nanoseconds since the Unix epoch, rounded so that conversions round-trip.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    let ticks = time.to_ticks();
    let fraction = ((ticks & 0xffff_ffff) * 1_000_000_000 + (1 << 31)) >> 32;
    ((ticks >> 32) * 1_000_000_000 + fraction) as i64
}

/// Nanoseconds since the Unix epoch as a DDS time; `None` outside its range.
pub(super) fn timestamp(nanoseconds: i64) -> Option<Timestamp> {
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|n| *n > 0)?;
    let seconds = u32::try_from(nanoseconds / 1_000_000_000).ok()?;
    let fraction = ((nanoseconds % 1_000_000_000) << 32) / 1_000_000_000;
    Some(Timestamp::from_ticks((u64::from(seconds) << 32) | fraction))
}

#[cfg(test)]
mod tests {
    use rustdds::no_key::{DeserializerAdapter, SerializerAdapter};

    use super::*;

    #[test]
    fn a_message_keeps_its_header_and_its_bytes() {
        let raw = RawAdapter::from_bytes(&[1, 2, 3], RepresentationIdentifier::CDR_BE).unwrap();
        assert_eq!(raw.0.as_ref(), &[0, 0, 0, 0, 1, 2, 3]);
        let raw = RawAdapter::from_bytes(&[7], RepresentationIdentifier::CDR_LE).unwrap();
        assert_eq!(raw.0.as_ref(), &[0, 1, 0, 0, 7]);
        assert_eq!(RawAdapter::to_bytes(&raw).unwrap().as_ref(), &[7, 0, 0, 0]);
        let whole = Raw(Bytes::from_static(&[0, 1, 0, 0, 1, 2, 3, 4]));
        assert_eq!(RawAdapter::to_bytes(&whole).unwrap().as_ref(), &[1, 2, 3, 4]);
        assert!(RawAdapter::to_bytes(&Raw(Bytes::from_static(&[0]))).unwrap().is_empty());
    }

    #[test]
    fn identities_survive_the_round_trip() {
        for sequence_number in [-1, 0, 1, i64::from(u32::MAX) + 1] {
            let id = SampleIdentity { writer: Guid([7; 16]), sequence_number };
            assert_eq!(identity(library_identity(id)), id);
        }
    }

    #[test]
    fn times_survive_the_round_trip() {
        for ns in [1, 999_999_999, 1_000_000_000, 1_700_000_000_123_456_789, 4_294_967_295_999_999_999] {
            assert_eq!(nanoseconds(timestamp(ns).unwrap()), ns);
        }
        assert!(timestamp(0).is_none() && timestamp(-1).is_none() && timestamp(i64::MAX).is_none());
    }
}
