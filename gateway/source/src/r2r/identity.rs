//! Derives sample identities, because the client library does not expose writer and sequence number.
//!
//! For a message that begins with a header, the identity is the topic with the header's frame id, and
//! the header's timestamp as the number: equal in every process that receives it. A timestamp that does
//! not advance counts up by one instead, so that distinct samples are never taken for duplicates.
//!
//! A message without a header has nothing that two processes could agree on (equal contents prove
//! nothing: a heartbeat repeats itself). Its identity is local to this process, numbered by arrival
//! time: a client that switches endpoints may receive it twice but never misses it.

use std::collections::HashMap;

use roverline_protocol::{Guid, SampleId};

/// Frame ids distinguished per topic; further ones share an identity.
const MAX_FRAMES: usize = 64;
/// A longer string is not taken for a frame id.
const MAX_FRAME: usize = 256;

/// Assigns the identities of one topic's samples.
pub(super) struct Identities {
    topic: String,
    /// The last number of each identity source.
    last: HashMap<Guid, u64>,
    /// The identity source of messages without a header.
    local: Guid,
}

impl Identities {
    /// `process` distinguishes this process from others.
    pub(super) fn new(topic: &str, process: u64) -> Identities {
        let local = Guid::from_name(&format!("{topic}\0{process}"));
        Identities { topic: topic.to_owned(), last: HashMap::new(), local }
    }

    /// The identity of a message that arrived at `now`, and its header's timestamp (0 without a
    /// header), nanoseconds.
    pub(super) fn of(&mut self, payload: &[u8], now: i64) -> (SampleId, i64) {
        let (source, time) = match header(payload) {
            Some((time, frame)) => (Guid::from_name(&format!("{}\0\0{frame}", self.topic)), time),
            None => (self.local, 0),
        };
        let full = self.last.len() >= MAX_FRAMES && !self.last.contains_key(&source);
        let source = if full { self.local } else { source };
        let wanted = if source == self.local { now } else { time };
        let last = self.last.entry(source).or_default();
        *last = u64::try_from(wanted).unwrap_or(0).max(last.saturating_add(1));
        (SampleId { source, seq: *last }, time)
    }
}

/// Recognizes a leading `std_msgs/msg/Header` by its bytes: two numbers that form a valid timestamp,
/// and a null-terminated string. Returns the timestamp in nanoseconds and the frame id.
fn header(payload: &[u8]) -> Option<(i64, &str)> {
    let number = |at: usize| {
        let bytes: [u8; 4] = payload.get(at..at + 4)?.try_into().ok()?;
        Some(if payload[1] & 1 == 1 { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let (seconds, nanoseconds, length) = (number(4)?, number(8)?, number(12)? as usize);
    let text = payload.get(16..16 + length.min(MAX_FRAME + 1))?;
    let (zero, text) = text.split_last()?;
    let frame = std::str::from_utf8(text).ok()?;
    let plausible = length <= MAX_FRAME
        && *zero == 0
        && nanoseconds < 1_000_000_000
        && (seconds, nanoseconds) != (0, 0)
        && i32::try_from(seconds).is_ok()
        && !frame.contains(char::is_control);
    plausible.then(|| (i64::from(seconds) * 1_000_000_000 + i64::from(nanoseconds), frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(seconds: u32, frame: &str) -> Vec<u8> {
        let mut message = vec![0, 1, 0, 0];
        message.extend_from_slice(&seconds.to_le_bytes());
        message.extend_from_slice(&7u32.to_le_bytes());
        message.extend_from_slice(&(frame.len() as u32 + 1).to_le_bytes());
        message.extend_from_slice(frame.as_bytes());
        message.extend_from_slice(&[0, 1, 2, 3]);
        message
    }

    #[test]
    fn stamped_messages_have_equal_identities_everywhere() {
        let (mut here, mut there) = (Identities::new("/imu", 1), Identities::new("/imu", 2));
        let first = here.of(&stamped(5, "imu_link"), 100);
        assert_eq!(first, there.of(&stamped(5, "imu_link"), 999));
        assert_eq!((first.0.seq, first.1), (5_000_000_007, 5_000_000_007));
        assert_ne!(first.0.source, here.of(&stamped(5, "imu_2"), 100).0.source);
        assert_ne!(first.0.source, Identities::new("/imv", 1).of(&stamped(5, "imu_link"), 1).0.source);
    }

    #[test]
    fn a_repeated_timestamp_is_not_a_duplicate() {
        let mut identities = Identities::new("/imu", 1);
        let seq: Vec<u64> = [9, 9, 3, 10].map(|s| identities.of(&stamped(s, "a"), 0).0.seq).into();
        assert_eq!(seq, [9_000_000_007, 9_000_000_008, 9_000_000_009, 10_000_000_007]);
    }

    #[test]
    fn messages_without_a_header_are_numbered_by_arrival() {
        let mut identities = Identities::new("/stop", 1);
        let message = [0, 1, 0, 0, 1];
        let (first, time) = identities.of(&message, 50);
        assert_eq!((first.seq, time), (50, 0));
        assert_eq!(identities.of(&message, 50).0.seq, 51, "never the same twice");
        assert_ne!(Identities::new("/stop", 2).of(&message, 50).0.source, first.source);
        for text in ["abcdefghijklmnopqrstuvwxyz", "", "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}"] {
            let mut message = vec![0, 1, 0, 0];
            message.extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
            message.extend_from_slice(text.as_bytes());
            message.push(0);
            assert_eq!(identities.of(&message, 60).1, 0, "{text:?}");
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut identities = Identities::new("/x", 1);
        for length in 0..40 {
            for value in [0, 1, 0x7f, 0xff] {
                identities.of(&vec![value; length], 1);
            }
        }
        for n in 0..200 {
            identities.of(&stamped(n + 1, &format!("frame{n}")), 1);
        }
        assert!(identities.last.len() <= MAX_FRAMES + 1);
    }
}
