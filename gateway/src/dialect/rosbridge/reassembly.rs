//! Reassembly of messages sent as fragments or PNG images, bounded in bytes, fragments, number and age.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::dialect::rosbridge::malformed::{AssemblyError, ImageError};
use crate::dialect::rosbridge::request::Fragment;

/// Bytes of one fragmented rosbridge message, and of all incomplete ones.
const ROSBRIDGE_ASSEMBLY_BYTES: usize = 4 << 20;
/// Fragments of one message.
const ROSBRIDGE_ASSEMBLY_ENTRIES: usize = 8_192;
/// Incomplete messages of one session.
const ROSBRIDGE_ASSEMBLY_MESSAGES: usize = 8;
/// How long an incomplete message is kept.
const ROSBRIDGE_ASSEMBLY_MS: u64 = 30_000;
/// Largest ratio of the text in a PNG image to the image, beyond 64 KiB.
const ROSBRIDGE_PNG_MULTIPLE: usize = 32;

/// The fragments received so far.
#[derive(Default)]
pub(super) struct Reassembler {
    unfinished: HashMap<String, PartialMessage>,
    bytes: usize,
}

struct PartialMessage {
    total: usize,
    pieces: BTreeMap<usize, String>,
    since: Duration,
}

impl PartialMessage {
    fn bytes(&self) -> usize {
        self.pieces.values().map(String::len).sum()
    }
}

const MAX_AGE: Duration = Duration::from_millis(ROSBRIDGE_ASSEMBLY_MS);

impl Reassembler {
    /// Adds a fragment at `now` (monotonic); returns the whole message with its last fragment. On an
    /// error its message is discarded.
    pub(super) fn add(&mut self, piece: Fragment, now: Duration) -> Result<Option<String>, AssemblyError> {
        let Fragment { id, data, num, total } = piece;
        if total == 0 || num >= total {
            self.discard(&id);
            return Err(AssemblyError::Number { num, total });
        }
        if total > ROSBRIDGE_ASSEMBLY_ENTRIES {
            self.discard(&id);
            return Err(AssemblyError::Fragments(ROSBRIDGE_ASSEMBLY_ENTRIES));
        }
        // An id reused for another message starts that message.
        if self.unfinished.get(&id).is_some_and(|old| old.total != total) {
            self.discard(&id);
        }
        if !self.unfinished.contains_key(&id) && self.unfinished.len() >= ROSBRIDGE_ASSEMBLY_MESSAGES {
            return Err(AssemblyError::Messages(ROSBRIDGE_ASSEMBLY_MESSAGES));
        }
        self.bytes += data.len();
        let new = || PartialMessage { total, pieces: BTreeMap::new(), since: now };
        let message = self.unfinished.entry(id.clone()).or_insert_with(new);
        if let Some(old) = message.pieces.insert(num, data) {
            self.bytes -= old.len();
        }
        if self.bytes > ROSBRIDGE_ASSEMBLY_BYTES {
            self.discard(&id);
            return Err(AssemblyError::Bytes(ROSBRIDGE_ASSEMBLY_BYTES));
        }
        if message.pieces.len() < total {
            return Ok(None);
        }
        Ok(self.discard(&id).map(|message| message.pieces.into_values().collect()))
    }

    /// Discards messages that were not completed in time; returns how many.
    pub(super) fn expire(&mut self, now: Duration) -> usize {
        let old = |message: &PartialMessage| now.saturating_sub(message.since) > MAX_AGE;
        let ids: Vec<String> =
            self.unfinished.iter().filter(|(_, message)| old(message)).map(|(id, _)| id.clone()).collect();
        ids.iter().filter_map(|id| self.discard(id)).count()
    }

    fn discard(&mut self, id: &str) -> Option<PartialMessage> {
        let message = self.unfinished.remove(id)?;
        self.bytes -= message.bytes();
        Some(message)
    }
}

/// The text in a PNG image in base64: its samples, row by row.
pub(super) fn decode_png(data: &str) -> Result<String, ImageError> {
    let file = STANDARD.decode(data)?;
    // An image of a few bytes may claim any size.
    let room = (64 << 10) + file.len() * ROSBRIDGE_PNG_MULTIPLE;
    let room = room.min(ROSBRIDGE_ASSEMBLY_BYTES);
    let decoder = png::Decoder::new_with_limits(Cursor::new(file), png::Limits { bytes: room });
    let mut reader = decoder.read_info()?;
    let size = reader.output_buffer_size().filter(|size| *size <= room).ok_or(ImageError::Bytes(room))?;
    let mut text = vec![0; size];
    reader.next_frame(&mut text)?;
    String::from_utf8(text).map_err(|_| ImageError::NotText)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(id: &str, data: &str, num: usize, total: usize) -> Fragment {
        Fragment { id: id.into(), data: data.into(), num, total }
    }

    #[test]
    fn pieces_may_come_in_any_order_and_mixed() {
        let mut reassembler = Reassembler::default();
        let mut add = |piece| reassembler.add(piece, Duration::ZERO).unwrap();
        assert_eq!(add(piece("a", "3", 2, 3)), None);
        assert_eq!(add(piece("b", "x", 0, 2)), None);
        assert_eq!(add(piece("a", "1", 0, 3)), None);
        assert_eq!(add(piece("a", "1", 0, 3)), None);
        assert_eq!(add(piece("a", "2", 1, 3)).as_deref(), Some("123"));
        assert_eq!(add(piece("b", "y", 1, 2)).as_deref(), Some("xy"));
        assert_eq!(add(piece("b", "alone", 0, 1)).as_deref(), Some("alone"));
        assert_eq!((reassembler.bytes, reassembler.unfinished.len()), (0, 0));
    }

    #[test]
    fn what_is_too_much_is_refused_and_forgotten() {
        let mut reassembler = Reassembler::default();
        let now = Duration::ZERO;
        assert!(reassembler.add(piece("a", "", 3, 3), now).is_err());
        assert!(reassembler.add(piece("a", "", 0, usize::MAX), now).is_err());
        let large = "x".repeat(super::ROSBRIDGE_ASSEMBLY_BYTES / 2 + 1);
        assert_eq!(reassembler.add(piece("a", &large, 0, 3), now), Ok(None));
        assert!(reassembler.add(piece("a", &large, 1, 3), now).is_err());
        assert_eq!(reassembler.bytes, 0);
        for id in 0..super::ROSBRIDGE_ASSEMBLY_MESSAGES {
            assert_eq!(reassembler.add(piece(&id.to_string(), "x", 0, 2), now), Ok(None));
        }
        assert!(reassembler.add(piece("more", "x", 0, 2), now).is_err());
        assert_eq!(reassembler.expire(MAX_AGE), 0);
        assert_eq!(reassembler.expire(MAX_AGE * 2), super::ROSBRIDGE_ASSEMBLY_MESSAGES);
        assert_eq!(reassembler.add(piece("more", "x", 0, 2), now), Ok(None));
    }

    #[test]
    fn an_image_that_claims_to_be_huge_is_refused() {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 4_000, 4_000);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&vec![b' '; 16_000_000]).unwrap();
        assert!(file.len() < 100_000);
        let error = decode_png(&STANDARD.encode(&file)).unwrap_err().to_string();
        assert!(error.contains("more than") || error.contains("limits"), "{error}");
        assert!(decode_png("no base64!").is_err() && decode_png("").is_err());
    }

    proptest! {
        #[test]
        fn bytes_are_counted_right(pieces in prop::collection::vec((0..4usize, "[a-c]{0,9}", 0..4usize, 1..4usize), 0..60)) {
            let mut reassembler = Reassembler::default();
            for (id, data, num, total) in pieces {
                let _ = reassembler.add(piece(&id.to_string(), &data, num, total), Duration::ZERO);
                let bytes: usize = reassembler.unfinished.values().map(PartialMessage::bytes).sum();
                prop_assert_eq!(bytes, reassembler.bytes);
            }
        }

        #[test]
        fn no_image_is_trouble(bytes: Vec<u8>) {
            let _ = decode_png(&STANDARD.encode(bytes));
        }
    }
}
