//! The record framing of an MCAP file: opcode, length, body.
//!
//! We do not use the library's linear reader, because we need the offset of a corrupt record, want to
//! skip attachments without reading them, and must not allocate by a length field before comparing it
//! with the size of the file.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::bag::mcap::error::{MAX_RECORD, RecordError};
use crate::bag::recording::CorruptRecording;

/// Bytes of a record's head: opcode and length.
pub(super) const HEAD: u64 = 9;

/// A record's position in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) offset: u64,
    pub(super) opcode: u8,
    /// Bytes of the body, by the length field.
    pub(super) len: u64,
}

impl Frame {
    /// Bytes of the body that the file really contains.
    fn available(&self, size: u64) -> u64 {
        self.len.min(size.saturating_sub(self.offset + HEAD))
    }
}

/// An open file with a reading position.
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

    /// Offset of the next record.
    pub(super) fn pos(&self) -> u64 {
        self.pos
    }

    /// Moves to a record.
    pub(super) fn seek(&mut self, to: u64) -> Result<(), CorruptRecording> {
        let step = i128::from(to) - i128::from(self.pos);
        // A short step stays within the buffer.
        let moved = match i64::try_from(step) {
            Ok(step) => self.file.seek_relative(step),
            Err(_) => self.file.seek(SeekFrom::Start(to)).map(|_| ()),
        };
        self.pos = to;
        moved.map_err(|e| self.corruption("record", to, e))
    }

    /// The next record's head, or `None` at the exact end of the file. The position is then at its body.
    pub(super) fn head(&mut self) -> Result<Option<Frame>, CorruptRecording> {
        let offset = self.pos;
        if offset >= self.size {
            return Ok(None);
        }
        if self.size - offset < HEAD {
            return Err(self.corruption("record", offset, RecordError::Truncated));
        }
        let mut head = [0; HEAD as usize];
        self.fill(&mut head, offset)?;
        let [opcode, len @ ..] = head;
        Ok(Some(Frame { offset, opcode, len: u64::from_le_bytes(len) }))
    }

    /// Reads the body of the record whose head was just read. `false`: the file ends within it.
    pub(super) fn body(&mut self, frame: Frame, body: &mut Vec<u8>) -> Result<bool, CorruptRecording> {
        let available = frame.available(self.size);
        if available > MAX_RECORD {
            let reason = format!(
                "it has {} MB, more than the {} MB that are read at once; rewrite the file with smaller chunks (`mcap filter --chunk-size 4194304`)",
                available >> 20,
                MAX_RECORD >> 20
            );
            return Err(self.corruption(kind(frame.opcode), frame.offset, reason));
        }
        body.resize(available as usize, 0);
        self.fill(body, frame.offset)?;
        Ok(available == frame.len)
    }

    /// Skips the body of the record whose head was just read. `false`: the file ends within it.
    pub(super) fn skip(&mut self, frame: Frame) -> Result<bool, CorruptRecording> {
        let available = frame.available(self.size);
        self.seek(frame.offset + HEAD + available)?;
        Ok(available == frame.len)
    }

    /// Bytes at any offset, or `None` if the file does not contain them.
    pub(super) fn bytes(&mut self, offset: u64, len: u64) -> Result<Option<Vec<u8>>, CorruptRecording> {
        if len > MAX_RECORD || offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        self.seek(offset)?;
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes, offset)?;
        Ok(Some(bytes))
    }

    /// An error about this file.
    pub(super) fn corruption(&self, kind: &str, offset: u64, reason: impl Display) -> CorruptRecording {
        CorruptRecording {
            file: self.name.clone(),
            location: format!("{kind} at byte {offset}"),
            reason: reason.to_string(),
        }
    }

    fn fill(&mut self, buffer: &mut [u8], offset: u64) -> Result<(), CorruptRecording> {
        self.file.read_exact(buffer).map_err(|e| self.corruption("record", offset, e))?;
        self.pos += buffer.len() as u64;
        Ok(())
    }
}

/// The name of a record type in an error message.
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
