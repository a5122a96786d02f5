//! Samples, and the identity that each has on the wire.

use std::ffi::c_void;

use bytes::Bytes;

use crate::ffi;

/// The identity of a sample on the wire (DDSI-RTPS 2.5, 8.3.5.4; DDS-RPC 1.0, 7.5.1.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SampleIdentity {
    /// The writer's GUID, in network byte order.
    pub writer: [u8; 16],
    /// Counts from 1 for each writer.
    pub sequence_number: i64,
}

/// A received sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The writer and its sequence number.
    pub identity: SampleIdentity,
    /// The sample that it belongs to: the request of a reply, or what the writer gave.
    pub related: Option<SampleIdentity>,
    /// Nanoseconds since the Unix epoch; 0 if the writer gave no time.
    pub source_time_ns: i64,
    /// Nanoseconds since the Unix epoch.
    pub receive_time_ns: i64,
    /// The message with its encapsulation header. It is not copied: the library's memory is freed with it.
    pub payload: Bytes,
}

impl From<ffi::Identity> for SampleIdentity {
    fn from(identity: ffi::Identity) -> SampleIdentity {
        SampleIdentity { writer: identity.writer, sequence_number: identity.sequence_number }
    }
}

impl From<SampleIdentity> for ffi::Identity {
    fn from(identity: SampleIdentity) -> ffi::Identity {
        ffi::Identity { writer: identity.writer, sequence_number: identity.sequence_number }
    }
}

impl Sample {
    /// Takes over a sample that the shim has described.
    pub(crate) fn new(taken: ffi::TakenSample) -> Sample {
        let payload =
            Payload { serdata: taken.serdata, start: taken.payload, bytes: taken.payload_bytes as usize };
        Sample {
            identity: taken.identity.into(),
            related: taken.has_related.then(|| taken.related.into()),
            source_time_ns: taken.source_time_ns,
            receive_time_ns: taken.receive_time_ns,
            payload: Bytes::from_owner(payload),
        }
    }
}

/// A reference to a sample of the library, whose payload it keeps.
struct Payload {
    serdata: *mut c_void,
    start: *const u8,
    bytes: usize,
}

// SAFETY: the library counts references atomically, and the payload is not changed after it was received. Freeing it
// needs no thread and no entity (`roverline_release`).
unsafe impl Send for Payload {}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the shim describes the payload with its length; it lives as long as the reference that this owns.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        // SAFETY: this owns one reference, and gives it back once.
        unsafe { ffi::roverline_release(self.serdata) };
    }
}
