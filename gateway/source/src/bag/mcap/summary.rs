//! Reads the summary of an MCAP file: channels, chunk index and message counts.
//!
//! The summary is used only as a whole and only if its checksum is valid. Without it the file is read
//! from front to back, which makes seeking slower but is always correct.

use mcap::records::{Record, Statistics, op};
use mcap::sans_io::{LinearReadEvent, LinearReader, LinearReaderOptions};

use crate::bag::mcap::channels::Definitions;
use crate::bag::mcap::error::{MAX_RECORD, RecordError};
use crate::bag::mcap::frame::{Frames, HEAD};
use crate::bag::mcap::time;
use crate::bag::recording::CorruptRecording;

/// A chunk's position: the part of the library's much larger index record that we need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkLocation {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) offset: u64,
    /// Length of the whole record: `offset + length` is where its message indexes start.
    pub(super) length: u64,
    pub(super) index_length: u64,
}

/// A verified summary.
pub(super) struct Summary {
    pub(super) definitions: Definitions,
    /// In playing order: by first time, then by offset.
    pub(super) chunks: Vec<ChunkLocation>,
    /// They are optional (MCAP specification, "Statistics").
    pub(super) statistics: Option<Statistics>,
}

impl Summary {
    /// Whether the chunk index covers every message and the summary defines every channel. Without statistics
    /// nothing says so.
    pub(super) fn is_index(&self) -> bool {
        self.statistics.as_ref().is_some_and(|statistics| {
            !self.chunks.is_empty()
                && self.chunks.len() as u64 == u64::from(statistics.chunk_count)
                && self.definitions.channels.len() as u64 == u64::from(statistics.channel_count)
        })
    }
}

/// Why a summary is not used.
#[derive(Debug, thiserror::Error)]
enum SummaryError {
    #[error("{}", .0.reason)]
    Read(#[from] CorruptRecording),
    #[error("it is too large")]
    TooLarge,
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Bytes of the footer (head, two offsets, a checksum) and the closing magic.
const TAIL: u64 = HEAD + 20 + 8;

/// Reads the summary; `None` if it is missing or invalid.
pub(super) fn read(frames: &mut Frames, name: &str) -> Option<Summary> {
    let footer_at = frames.size().checked_sub(TAIL)?;
    let tail = frames.bytes(footer_at, TAIL).ok()??;
    let start = u64::from_le_bytes(tail.get(HEAD as usize..HEAD as usize + 8)?.try_into().ok()?);
    if tail.first() != Some(&op::FOOTER) || !tail.ends_with(mcap::MAGIC) || start == 0 || start > footer_at {
        return None;
    }
    match parse(frames, start) {
        Ok(summary) => Some(summary),
        Err(error) => {
            tracing::warn!("{name}: its summary is not used ({error}); reading from front to back");
            None
        }
    }
}

fn parse(frames: &mut Frames, start: u64) -> Result<Summary, SummaryError> {
    let mut reader = LinearReader::new_with_options(
        LinearReaderOptions::default()
            .with_skip_start_magic(true)
            .with_emit_chunks(true)
            .with_validate_summary_section_crc(true)
            .with_record_length_limit((frames.size() - start).min(MAX_RECORD) as usize),
    );
    // The library starts the checksum at the end of the data section, so feed it one.
    let mut data_end = vec![op::DATA_END];
    data_end.extend_from_slice(&4u64.to_le_bytes());
    data_end.extend_from_slice(&[0; 4]);
    reader.insert(data_end.len()).copy_from_slice(&data_end);
    reader.notify_read(data_end.len());

    let (mut pos, mut statistics) = (start, None);
    let (mut definitions, mut chunks) = (Definitions::default(), Vec::new());
    while let Some(event) = reader.next_event() {
        match event.map_err(RecordError::from)? {
            LinearReadEvent::ReadRequest(need) => {
                let n = (need as u64).min(frames.size() - pos);
                let bytes = frames.bytes(pos, n)?.ok_or(SummaryError::TooLarge)?;
                reader.insert(bytes.len()).copy_from_slice(&bytes);
                reader.notify_read(bytes.len());
                pos += n;
            }
            LinearReadEvent::Record { opcode, data } => {
                ingest(opcode, data, &mut definitions, &mut chunks, &mut statistics)?;
            }
        }
    }
    chunks.sort_by_key(|chunk: &ChunkLocation| (chunk.first, chunk.offset));
    Ok(Summary { definitions, chunks, statistics })
}

fn ingest(
    opcode: u8,
    data: &[u8],
    definitions: &mut Definitions,
    chunks: &mut Vec<ChunkLocation>,
    statistics: &mut Option<Statistics>,
) -> Result<(), RecordError> {
    if !matches!(opcode, op::SCHEMA | op::CHANNEL | op::CHUNK_INDEX | op::STATISTICS) {
        return Ok(());
    }
    match mcap::parse_record(opcode, data)? {
        Record::ChunkIndex(index) => chunks.push(ChunkLocation {
            first: time(index.message_start_time),
            last: time(index.message_end_time),
            offset: index.chunk_start_offset,
            length: index.chunk_length,
            index_length: index.message_index_length,
        }),
        Record::Statistics(found) => *statistics = Some(found),
        record => definitions.define(record.into_owned()),
    }
    Ok(())
}
