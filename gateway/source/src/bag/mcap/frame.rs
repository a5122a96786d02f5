//! The outermost layer of an MCAP file: records, each an opcode, a length and a body.
//!
//! We walk it ourselves instead of through the library's linear reader because we need the offset
//! of what is broken, want to pass over attachments without reading them, and must not allocate
//! on the word of a length field before comparing it with what the file still holds.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::bag::recording::Damage;

/// Opcode and length.
pub(super) const HEAD: u64 = 9;
/// A record that is larger than this is not read. Recorders write chunks of about a megabyte.
pub(super) const MAX_RECORD: u64 = 256 << 20;

/// A record's place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) offset: u64,
    pub(super) opcode: u8,
    /// Bytes of the body.
    pub(super) len: u64,
}

impl Frame {
    /// Bytes of the body that the file holds.
    fn available(&self, size: u64) -> u64 {
        self.len.min(size.saturating_sub(self.offset + HEAD))
    }
}

/// An open file and a position in it.
pub(super) struct Frames {
    file: BufReader<File>,
    name: String,
    size: u64,
    pos: u64,
}

impl Frames {
    pub(super) fn open(path: &Path, name: &str) -> std::io::Result<Frames> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Frames { file: BufReader::with_capacity(1 << 16, file), name: name.to_owned(), size, pos: 0 })
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Where the next record starts.
    pub(super) fn pos(&self) -> u64 {
        self.pos
    }

    /// Goes to a record.
    pub(super) fn seek(&mut self, to: u64) -> Result<(), Damage> {
        let step = i128::from(to) - i128::from(self.pos);
        // A short step stays in the buffer.
        let moved = match i64::try_from(step) {
            Ok(step) => self.file.seek_relative(step),
            Err(_) => self.file.seek(SeekFrom::Start(to)).map(|_| ()),
        };
        self.pos = to;
        moved.map_err(|e| self.damage("record", to, e.to_string()))
    }

    /// The next record's place, `None` at the exact end of the file. Does not move past its body.
    pub(super) fn head(&mut self) -> Result<Option<Frame>, Damage> {
        let offset = self.pos;
        if offset >= self.size {
            return Ok(None);
        }
        if self.size - offset < HEAD {
            return Err(self.damage("record", offset, "the file ends in the middle of it".to_owned()));
        }
        let mut head = [0; HEAD as usize];
        self.fill(&mut head, offset)?;
        let [opcode, len @ ..] = head;
        Ok(Some(Frame { offset, opcode, len: u64::from_le_bytes(len) }))
    }

    /// The body of the record whose head was just read. `false`: the file ends within it.
    pub(super) fn body(&mut self, frame: Frame, body: &mut Vec<u8>) -> Result<bool, Damage> {
        let available = frame.available(self.size);
        if available > MAX_RECORD {
            let what = format!(
                "it has {} MB, more than the {} MB that are read at once; rewrite the file with smaller chunks (`mcap filter --chunk-size 4194304`)",
                available >> 20,
                MAX_RECORD >> 20
            );
            return Err(self.damage(kind(frame.opcode), frame.offset, what));
        }
        body.resize(available as usize, 0);
        self.fill(body, frame.offset)?;
        Ok(available == frame.len)
    }

    /// Passes over the body of the record whose head was just read. `false`: the file ends in it.
    pub(super) fn skip(&mut self, frame: Frame) -> Result<bool, Damage> {
        let available = frame.available(self.size);
        self.seek(frame.offset + HEAD + available)?;
        Ok(available == frame.len)
    }

    /// Bytes from anywhere in the file, `None` when it does not hold them.
    pub(super) fn bytes(&mut self, offset: u64, len: u64) -> Result<Option<Vec<u8>>, Damage> {
        if len > MAX_RECORD || offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        self.seek(offset)?;
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes, offset)?;
        Ok(Some(bytes))
    }

    /// An error about this file.
    pub(super) fn damage(&self, kind: &str, offset: u64, what: String) -> Damage {
        Damage { file: self.name.clone(), place: format!("{kind} at byte {offset}"), what }
    }

    fn fill(&mut self, buffer: &mut [u8], offset: u64) -> Result<(), Damage> {
        self.file.read_exact(buffer).map_err(|e| self.damage("record", offset, e.to_string()))?;
        self.pos += buffer.len() as u64;
        Ok(())
    }
}

/// What a record is called in an error.
pub(super) fn kind(opcode: u8) -> &'static str {
    use mcap::records::op;
    match opcode {
        op::HEADER => "header",
        op::SCHEMA => "schema",
        op::CHANNEL => "channel",
        op::MESSAGE => "message",
        op::CHUNK => "chunk",
        _ => "record",
    }
}
