//! The parser of submessages reads within its bounds for any input.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use roverline_cyclone::SampleIdentity;
use roverline_cyclone::submessage::related_in;

const DATA: u8 = 0x15;
const DATA_FRAG: u8 = 0x16;
const SENTINEL: u16 = 1;
const RELATED: u16 = 0x0083;
const RELATED_FAST_DDS: u16 = 0x800f;

const IDENTITY: SampleIdentity =
    SampleIdentity { writer: *b"0123456789abcdef", sequence_number: 0x0102_0304_8506_0708 };

struct Bytes {
    bytes: Vec<u8>,
    little: bool,
}

impl Bytes {
    /// A submessage up to its inline QoS. CycloneDDS has converted the fixed fields to the byte order of this
    /// computer.
    fn submessage(kind: u8, little: bool, octets_to_qos: u16) -> Bytes {
        let mut bytes = vec![kind, 0x02 | u8::from(little), 0, 0, 0, 0];
        bytes.extend(octets_to_qos.to_ne_bytes());
        bytes.resize(8 + usize::from(octets_to_qos), 0xaa);
        Bytes { bytes, little }
    }

    fn number(&mut self, number: u16) {
        self.bytes.extend(if self.little { number.to_le_bytes() } else { number.to_be_bytes() });
    }

    fn parameter(mut self, id: u16, value: &[u8]) -> Bytes {
        self.number(id);
        self.number(value.len() as u16);
        self.bytes.extend(value);
        self
    }

    fn identity(self, id: u16, identity: SampleIdentity) -> Bytes {
        let (high, low) = ((identity.sequence_number >> 32) as u32, identity.sequence_number as u32);
        let mut value = identity.writer.to_vec();
        for half in [high, low] {
            value.extend(if self.little { half.to_le_bytes() } else { half.to_be_bytes() });
        }
        self.parameter(id, &value)
    }
}

/// Every valid form: both kinds, byte orders and parameters, alone and among others.
fn valid() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (kind, octets) in [(DATA, 16), (DATA_FRAG, 28)] {
        for little in [true, false] {
            let start = || Bytes::submessage(kind, little, octets);
            all.push(start().identity(RELATED, IDENTITY).parameter(SENTINEL, &[]).bytes);
            all.push(start().identity(RELATED_FAST_DDS, IDENTITY).parameter(SENTINEL, &[]).bytes);
            let other = SampleIdentity { writer: [7; 16], sequence_number: 1 };
            let both = start().parameter(0x70, &[1; 16]).identity(RELATED_FAST_DDS, other);
            all.push(both.identity(RELATED, IDENTITY).parameter(SENTINEL, &[]).bytes);
        }
    }
    all
}

#[test]
fn the_related_sample_is_found_in_every_form() {
    for bytes in valid() {
        assert_eq!(related_in(&bytes), Some(IDENTITY), "{bytes:02x?}");
    }
}

#[test]
fn what_has_no_related_sample_has_none() {
    let start = || Bytes::submessage(DATA, true, 16);
    assert_eq!(related_in(&start().parameter(SENTINEL, &[]).identity(RELATED, IDENTITY).bytes), None);
    let unknown = SampleIdentity { writer: [0; 16], sequence_number: -1 };
    assert_eq!(related_in(&start().identity(RELATED, unknown).parameter(SENTINEL, &[]).bytes), None);
    assert_eq!(related_in(&start().parameter(RELATED, &[1; 20]).parameter(SENTINEL, &[]).bytes), None);
    let mut without_qos = start().identity(RELATED, IDENTITY).parameter(SENTINEL, &[]).bytes;
    without_qos[1] &= !0x02;
    assert_eq!(related_in(&without_qos), None);
    let mut heartbeat = start().identity(RELATED, IDENTITY).bytes;
    heartbeat[0] = 0x07;
    assert_eq!(related_in(&heartbeat), None);
}

/// Each prefix lies at the end of an allocation of its own, so that a sanitizer sees a read beyond it.
#[test]
fn every_prefix_is_read_within_its_bounds() {
    for bytes in valid() {
        for length in 0..bytes.len() {
            let prefix: Box<[u8]> = bytes[..length].into();
            let found = related_in(&prefix);
            assert!(found.is_none_or(|found| found == IDENTITY || found.writer == [7; 16]), "{prefix:02x?}");
        }
    }
}

#[test]
fn damaged_bytes_are_read_within_their_bounds() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let valid = valid();
    for _ in 0..100_000 {
        let mut bytes = valid[random(valid.len())].clone();
        for _ in 0..=random(6) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        bytes.truncate(random(bytes.len() + 1));
        let exact: Box<[u8]> = bytes.into();
        let _ = related_in(&exact);
    }
}
