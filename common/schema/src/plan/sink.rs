//! Output buffer for JSON: a vector with space reserved ahead of time.
//!
//! Messages consist of very short pieces, and a general copy of unknown length costs more than such
//! a piece is worth. So space is reserved once for many pieces, and pieces are copied in blocks of
//! fixed size; the next piece overwrites the surplus.

/// Pieces up to this size are copied as one block.
pub(super) const BLOCK_BYTES: usize = 32;
/// Longest number: a float64 has at most 17 digits, a sign, a point and an exponent.
pub(super) const MAX_NUMBER_BYTES: usize = 26;

/// Smallest growth step.
const MIN_ROOM_BYTES: usize = 256;

/// The end of a vector that is being written to.
pub(super) struct Sink<'a> {
    out: &'a mut Vec<u8>,
    /// Length of the output so far. The vector is longer: the rest is reserved.
    at: usize,
}

impl<'a> Sink<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        let at = out.len();
        Self { out, at }
    }

    /// Bytes so far, including those present before.
    pub(super) fn len(&self) -> usize {
        self.at
    }

    /// Truncates the unused reserve.
    pub(super) fn finish(self) {
        self.out.truncate(self.at);
    }

    /// Reserves `bytes` and the surplus of a block.
    #[inline]
    pub(super) fn ensure(&mut self, bytes: usize) {
        if self.out.len() - self.at < bytes + BLOCK_BYTES {
            self.grow(bytes + BLOCK_BYTES);
        }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        // The reserve has to be zeroed, so it never grows by more than has been used.
        self.out.resize(self.at + bytes.max(self.at).max(MIN_ROOM_BYTES), 0);
    }

    /// Appends `len` bytes starting at `start`. `text` extends by a block beyond its last piece.
    /// Space must have been reserved.
    #[inline]
    pub(super) fn piece(&mut self, text: &[u8], start: usize, len: usize) {
        if len <= BLOCK_BYTES {
            let room = &mut self.out[self.at..self.at + BLOCK_BYTES];
            room.copy_from_slice(&text[start..start + BLOCK_BYTES]);
        } else {
            self.out[self.at..self.at + len].copy_from_slice(&text[start..start + len]);
        }
        self.at += len;
    }

    /// Appends one byte. Space must have been reserved.
    #[inline]
    pub(super) fn byte(&mut self, b: u8) {
        self.out[self.at] = b;
        self.at += 1;
    }

    /// Removes the last byte.
    #[inline]
    pub(super) fn back(&mut self) {
        self.at -= 1;
    }

    /// Appends a block of bytes, of which `len` count. Space must have been reserved.
    #[inline]
    pub(super) fn block<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        self.out[self.at..self.at + N].copy_from_slice(bytes);
        self.at += len;
    }

    /// Appends a slice of at most [`BLOCK_BYTES`] as two overlapping blocks. Space must have been
    /// reserved.
    #[inline]
    pub(super) fn short(&mut self, bytes: &[u8]) {
        let room = &mut self.out[self.at..self.at + BLOCK_BYTES];
        let n = bytes.len();
        if let (Some(head), Some(tail)) = (bytes.first_chunk::<16>(), bytes.last_chunk::<16>()) {
            room[..16].copy_from_slice(head);
            room[n - 16..n].copy_from_slice(tail);
        } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            room[..8].copy_from_slice(head);
            room[n - 8..n].copy_from_slice(tail);
        } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            room[..4].copy_from_slice(head);
            room[n - 4..n].copy_from_slice(tail);
        } else {
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
        self.at += n;
    }

    /// Appends bytes of any length; reserves the space itself.
    pub(super) fn slice(&mut self, bytes: &[u8]) {
        self.ensure(bytes.len());
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Lets `fill` write into a reserve of `bytes` and return how many it used.
    pub(super) fn fill(&mut self, bytes: usize, fill: impl FnOnce(&mut [u8]) -> usize) {
        self.ensure(bytes);
        self.at += fill(&mut self.out[self.at..self.at + bytes]).min(bytes);
    }

    /// Appends a float with the fewest digits that read back as the same value. Space must have
    /// been reserved.
    #[inline]
    pub(super) fn float(&mut self, v: f64) {
        // Telemetry is full of zeros: unset covariances above all.
        if v.to_bits() == 0 {
            self.block(b"0.0\0", 3);
        } else if v.is_finite() {
            self.short(zmij::Buffer::new().format_finite(v).as_bytes());
        } else {
            self.block(b"null", 4);
        }
    }

    /// Appends an integer. Space must have been reserved.
    #[inline]
    pub(super) fn integer<I: itoa::Integer>(&mut self, v: I) {
        self.short(itoa::Buffer::new().format(v).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length() {
        let text: Vec<u8> = (0..=255).collect();
        for len in 0..=BLOCK_BYTES {
            let mut out = b"x".to_vec();
            let mut sink = Sink::new(&mut out);
            sink.ensure(4 * BLOCK_BYTES);
            sink.short(&text[..len]);
            sink.piece(&text, 7, len);
            sink.slice(&text);
            sink.finish();
            assert_eq!(out, [b"x", &text[..len], &text[7..7 + len], &text].concat());
        }
    }

    #[test]
    fn no_number_exceeds_its_reserve() {
        for v in
            [f64::MIN, -f64::MIN_POSITIVE, -2.225_073_858_507_201_4e-308, -1.234_567_890_123_456_7e-5, 5e-324]
        {
            let mut out = Vec::new();
            let mut sink = Sink::new(&mut out);
            sink.ensure(MAX_NUMBER_BYTES);
            sink.float(v);
            sink.finish();
            assert!(out.len() <= MAX_NUMBER_BYTES, "{v}");
            assert_eq!(std::str::from_utf8(&out).unwrap().parse::<f64>().unwrap().to_bits(), v.to_bits());
        }
    }
}
