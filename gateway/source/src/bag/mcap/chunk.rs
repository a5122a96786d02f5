//! Decodes and verifies one MCAP chunk.

use std::io::Read;

use bytes::Bytes;
use mcap::records::{ChunkHeader, MessageHeader, Record, op};
use mcap::sans_io::{LinearReadEvent, LinearReader, LinearReaderOptions};

use crate::bag::mcap::error::{MAX_RECORD, RecordError};
use crate::bag::mcap::frame::HEAD;

/// Maximum bytes handed to the library at once; it requests as many as a length field says.
const READ: usize = 1 << 20;

/// A message as stored in the file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) header: MessageHeader,
    pub(super) data: Bytes,
}

/// The contents of a chunk. If `error` is set, the records before the error.
#[derive(Default)]
pub(super) struct Content {
    /// Schemas and channels, in file order.
    pub(super) definitions: Vec<Record<'static>>,
    /// Messages in log-time order; file order for equal times.
    pub(super) messages: Vec<Entry>,
    /// Total payload bytes.
    pub(super) bytes: u64,
    pub(super) error: Option<RecordError>,
}

/// Decodes the body of a chunk record, which should have `len` bytes. A shorter body means that the file
/// ends within it; the available records are then decoded without verification, because the checksum
/// covers the whole chunk. A complete chunk with any error, a wrong checksum included, yields no
/// messages: any of them may be corrupt.
pub(super) fn decode(body: &[u8], len: u64) -> Content {
    let mut content = Content::default();
    match read(body, len, &mut content) {
        Err(error) if body.len() as u64 >= len => {
            content = Content { error: Some(error), ..Content::default() };
        }
        Err(_) => content.error = Some(RecordError::Truncated),
        Ok(()) => {}
    }
    content.messages.sort_by_key(|entry| entry.header.log_time);
    content
}

fn read(body: &[u8], len: u64, content: &mut Content) -> Result<(), RecordError> {
    let (header, data) = split_header(body)?;
    if header.uncompressed_size > MAX_RECORD {
        return Err(RecordError::TooLarge(header.uncompressed_size >> 20));
    }
    if header.compression.is_empty() {
        check_record_lengths(data, header.compressed_size)?;
    }
    // The library unpacks and verifies a stream of records, so give it a stream with this record only.
    let mut reader = LinearReader::new_with_options(
        LinearReaderOptions::default()
            .with_skip_start_magic(true)
            .with_skip_end_magic(true)
            .with_validate_chunk_crcs(true)
            .with_record_length_limit(MAX_RECORD as usize),
    );
    let mut head = [op::CHUNK; HEAD as usize];
    head[1..].copy_from_slice(&len.to_le_bytes());
    let mut input = head.as_slice().chain(body);
    let mut unpacked = 0u64;
    while let Some(event) = reader.next_event() {
        match event? {
            LinearReadEvent::ReadRequest(need) => {
                let n = input.read(reader.insert(need.min(READ)))?;
                reader.notify_read(n);
            }
            LinearReadEvent::Record { opcode, data } => {
                unpacked += HEAD + data.len() as u64;
                ingest(opcode, data, content)?;
            }
        }
    }
    if unpacked != header.uncompressed_size {
        return Err(RecordError::UnpackedSize { actual: unpacked, expected: header.uncompressed_size });
    }
    Ok(())
}

/// Splits a chunk body into its header and the available part of its packed records.
fn split_header(body: &[u8]) -> Result<(ChunkHeader, &[u8]), RecordError> {
    // Start, end, size: 3 × 8; checksum 4; name length 4, name, packed size 8.
    let u64_at = |at: usize| body.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let u32_at = |at: usize| body.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let name_len = u32_at(28).ok_or(RecordError::Header)? as usize;
    let name = body.get(32..32usize.saturating_add(name_len)).ok_or(RecordError::Header)?;
    let header = ChunkHeader {
        message_start_time: u64_at(0).ok_or(RecordError::Header)?,
        message_end_time: u64_at(8).ok_or(RecordError::Header)?,
        uncompressed_size: u64_at(16).ok_or(RecordError::Header)?,
        uncompressed_crc: u32_at(24).ok_or(RecordError::Header)?,
        compression: String::from_utf8(name.to_vec()).map_err(|_| RecordError::CompressionName)?,
        compressed_size: u64_at(32 + name_len).ok_or(RecordError::Header)?,
    };
    if header.compressed_size > MAX_RECORD {
        return Err(RecordError::PackedSize(header.compressed_size >> 20));
    }
    Ok((header, &body[40 + name_len..]))
}

/// Checks that the available records of an uncompressed chunk fit into its `size`. The library subtracts
/// their lengths from the chunk's without checking.
fn check_record_lengths(records: &[u8], size: u64) -> Result<(), RecordError> {
    let mut at = 0u64;
    while at < size {
        let rest = usize::try_from(at).ok().and_then(|at| records.get(at..)).unwrap_or_default();
        let Some(len) = rest.get(1..HEAD as usize).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes)
        else {
            break; // truncated: reading the records reports it
        };
        at = match at.checked_add(HEAD).and_then(|start| start.checked_add(len)) {
            Some(end) if end <= size => end,
            _ => return Err(RecordError::RecordLength(at)),
        };
    }
    Ok(())
}

fn ingest(opcode: u8, data: &[u8], content: &mut Content) -> Result<(), RecordError> {
    // Other records are not allowed in a chunk; the library panics on some of them.
    if !matches!(opcode, op::SCHEMA | op::CHANNEL | op::MESSAGE) {
        return Ok(());
    }
    match mcap::parse_record(opcode, data)? {
        Record::Message { header, data } => {
            content.bytes += data.len() as u64;
            content.messages.push(Entry { header, data: Bytes::copy_from_slice(&data) });
        }
        record => content.definitions.push(record.into_owned()),
    }
    Ok(())
}
