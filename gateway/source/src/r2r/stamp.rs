//! The publisher's timestamp, which the client library hides: that of a leading `std_msgs/msg/Header`.

/// A longer string is not taken for a frame id.
const MAX_FRAME: usize = 256;

/// Recognizes a leading header by its bytes: two numbers that form a valid timestamp, and a null-terminated string.
/// Returns the timestamp, nanoseconds since the Unix epoch.
pub(super) fn header_stamp(payload: &[u8]) -> Option<i64> {
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
    plausible.then(|| i64::from(seconds) * 1_000_000_000 + i64::from(nanoseconds))
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
    fn a_header_has_its_stamp_and_other_messages_have_none() {
        assert_eq!(header_stamp(&stamped(5, "imu_link")), Some(5_000_000_007));
        assert_eq!(header_stamp(&[0, 1, 0, 0, 1]), None);
        for text in ["abcdefghijklmnopqrstuvwxyz", "", "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}"] {
            let mut message = vec![0, 1, 0, 0];
            message.extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
            message.extend_from_slice(text.as_bytes());
            message.push(0);
            assert_eq!(header_stamp(&message), None, "{text:?}");
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        for length in 0..40 {
            for value in [0, 1, 0x7f, 0xff] {
                header_stamp(&vec![value; length]);
            }
        }
    }
}
