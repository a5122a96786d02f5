//! A chunk's records, checked before anything of it is believed.

use std::io::Read;

use bytes::Bytes;
use mcap::McapError;
use mcap::records::{ChunkHeader, MessageHeader, Record, op};
use mcap::sans_io::{LinearReadEvent, LinearReader, LinearReaderOptions};

use crate::bag::mcap::frame::{HEAD, MAX_RECORD};

/// Bytes handed to the library at a time; it asks for as many as a length field says.
const READ: usize = 1 << 20;

/// A message as the file has it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) header: MessageHeader,
    pub(super) data: Bytes,
}

/// What a chunk yielded. With an `error`, what came before it.
#[derive(Default)]
pub(super) struct Content {
    /// Schemas and channels, in file order.
    pub(super) definitions: Vec<Record<'static>>,
    /// Messages, in log-time order; equal times in file order.
    pub(super) messages: Vec<Entry>,
    /// Bytes of all payloads.
    pub(super) bytes: u64,
    pub(super) error: Option<String>,
}

/// Decodes the body of a chunk record, which should have `len` bytes. If it has fewer the file ends
/// within it; then what is there is decoded as far as it goes, unverified because the checksum
/// covers all of it. A whole chunk that fails anywhere, its checksum included, yields no messages:
/// which of them are as recorded is not known.
pub(super) fn decode(body: &[u8], len: u64) -> Content {
    let mut content = Content::default();
    match read(body, len, &mut content) {
        Err(error) if body.len() as u64 >= len => {
            content = Content { error: Some(error), ..Content::default() };
        }
        Err(_) => content.error = Some("the file ends in the middle of it".to_owned()),
        Ok(()) => {}
    }
    content.messages.sort_by_key(|entry| entry.header.log_time);
    content
}

fn read(body: &[u8], len: u64, content: &mut Content) -> Result<(), String> {
    let (header, data) = split(body)?;
    if header.uncompressed_size > MAX_RECORD {
        let size = header.uncompressed_size >> 20;
        return Err(format!(
            "it unpacks to {size} MB, more than the {} MB that are read at once",
            MAX_RECORD >> 20
        ));
    }
    if header.compression.is_empty() {
        walk(data, header.compressed_size)?;
    }
    // The library unpacks and checks a stream of records; we give it a stream of this one.
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
        match event.map_err(|e| explain(&e))? {
            LinearReadEvent::ReadRequest(need) => {
                let n = input.read(reader.insert(need.min(READ))).map_err(|e| e.to_string())?;
                reader.notify_read(n);
            }
            LinearReadEvent::Record { opcode, data } => {
                unpacked += HEAD + data.len() as u64;
                take(opcode, data, content)?;
            }
        }
    }
    if unpacked != header.uncompressed_size {
        return Err(format!("it unpacks to {unpacked} bytes instead of {}", header.uncompressed_size));
    }
    Ok(())
}

/// The header and what there is of the packed records after it.
fn split(body: &[u8]) -> Result<(ChunkHeader, &[u8]), String> {
    // Start, end, size: 3 × 8; checksum 4; name length 4, name, packed size 8.
    let short = || "its header is cut off".to_owned();
    let u64_at = |at: usize| body.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let u32_at = |at: usize| body.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let name_len = u32_at(28).ok_or_else(short)? as usize;
    let name = body.get(32..32usize.saturating_add(name_len)).ok_or_else(short)?;
    let header = ChunkHeader {
        message_start_time: u64_at(0).ok_or_else(short)?,
        message_end_time: u64_at(8).ok_or_else(short)?,
        uncompressed_size: u64_at(16).ok_or_else(short)?,
        uncompressed_crc: u32_at(24).ok_or_else(short)?,
        compression: String::from_utf8(name.to_vec())
            .map_err(|_| "its compression has no readable name".to_owned())?,
        compressed_size: u64_at(32 + name_len).ok_or_else(short)?,
    };
    if header.compressed_size > MAX_RECORD {
        return Err(format!("it claims {} MB of packed records", header.compressed_size >> 20));
    }
    Ok((header, &body[40 + name_len..]))
}

/// Checks that the records of an uncompressed chunk fit into its `size`, as far as they are there.
/// The library subtracts their lengths from the chunk's without looking.
fn walk(records: &[u8], size: u64) -> Result<(), String> {
    let mut at = 0u64;
    while at < size {
        let rest = usize::try_from(at).ok().and_then(|at| records.get(at..)).unwrap_or_default();
        let Some(len) = rest.get(1..HEAD as usize).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes)
        else {
            break; // cut off: whoever reads it comes to the end and says so
        };
        at = match at.checked_add(HEAD).and_then(|start| start.checked_add(len)) {
            Some(end) if end <= size => end,
            _ => return Err(format!("the record {at} bytes into its records runs past its end")),
        };
    }
    Ok(())
}

fn take(opcode: u8, data: &[u8], content: &mut Content) -> Result<(), String> {
    // Anything else has no place in a chunk; the library panics on some of it.
    if !matches!(opcode, op::SCHEMA | op::CHANNEL | op::MESSAGE) {
        return Ok(());
    }
    match mcap::parse_record(opcode, data).map_err(|e| explain(&e))? {
        Record::Message { header, data } => {
            content.bytes += data.len() as u64;
            content.messages.push(Entry { header, data: Bytes::copy_from_slice(&data) });
        }
        record => content.definitions.push(record.into_owned()),
    }
    Ok(())
}

/// The library's errors in fewer words; its own text for parse errors spans many lines.
pub(super) fn explain(error: &McapError) -> String {
    match error {
        McapError::BadChunkCrc { saved, calculated } => {
            format!("CRC mismatch ({calculated:08x}, recorded as {saved:08x})")
        }
        McapError::Parse(_) => "it does not parse".to_owned(),
        McapError::UnexpectedEof | McapError::UnexpectedEoc => "its records end early".to_owned(),
        McapError::UnsupportedCompression(name) => format!("the compression `{name}` is unknown"),
        other => other.to_string(),
    }
}
