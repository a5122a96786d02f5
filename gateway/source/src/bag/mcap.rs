//! Reads MCAP files: chunked or not, indexed or not, complete or truncated.
//!
//! With an index in the summary, messages come in log-time order over the whole file; chunks that
//! overlap in time are held together (up to [`merge::MAX_HELD`]). Without an index, the file is read
//! from front to back: messages come in log-time order within each chunk, and chunks and unchunked
//! messages in file order. A message that is late for this reason is played at once.

mod channels;
mod chunk;
mod error;
mod frame;
mod merge;
mod seek;
mod summary;

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use mcap::records::{Record, Statistics, op};

use crate::bag::mcap::channels::Definitions;
use crate::bag::mcap::chunk::Entry;
use crate::bag::mcap::error::RecordError;
use crate::bag::mcap::frame::{Frame, Frames};
use crate::bag::mcap::merge::Merge;
use crate::bag::mcap::summary::ChunkLocation;
use crate::bag::recording::{
    Channel, CorruptRecording, Event, Message, Recording, RecordingStats, Skipped, Span,
};
use crate::{SourceError, StopFlag};

/// Converts a log time, saturating in the year 2262.
fn time(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(i64::MAX)
}

/// An MCAP file.
pub(super) struct McapRecording {
    path: PathBuf,
    name: String,
    definitions: Definitions,
    /// Number of channels announced to the caller.
    announced: usize,
    statistics: Option<Statistics>,
    /// The chunks in playing order, if the summary indexes all of them.
    chunks: Option<Vec<ChunkLocation>>,
    /// The open file during a pass.
    frames: Option<Frames>,
    reading: Reading,
    /// An error that was found early and is reported after everything before it.
    corruption: Option<CorruptRecording>,
    body: Vec<u8>,
    orphans: u64,
}

/// The state of the current pass.
enum Reading {
    Linear { queue: VecDeque<Entry>, ended: bool },
    Indexed(Merge),
}

/// The outcome of one reading step.
enum Step {
    Message(Entry),
    Progress,
    End,
}

impl McapRecording {
    /// Opens a file that starts with the MCAP magic.
    pub(super) fn open(path: &Path, name: &str) -> Result<McapRecording, SourceError> {
        let mut frames = Frames::open(path, name)
            .map_err(|e| SourceError(format!("cannot open {}: {e}", path.display())))?;
        let found = summary::read(&mut frames, name);
        let chunks =
            found.as_ref().filter(|summary| summary.is_index()).map(|summary| summary.chunks.clone());
        let (definitions, statistics) =
            found.map(|summary| (summary.definitions, summary.statistics)).unwrap_or_default();
        Ok(McapRecording {
            path: path.to_owned(),
            name: name.to_owned(),
            announced: definitions.channels.len(),
            definitions,
            statistics,
            chunks,
            frames: None,
            reading: Reading::Linear { queue: VecDeque::new(), ended: true },
            corruption: None,
            body: Vec::new(),
            orphans: 0,
        })
    }

    fn frames(&mut self) -> Result<&mut Frames, CorruptRecording> {
        let (name, reason) = (self.name.clone(), "it is not open".to_owned());
        self.frames.as_mut().ok_or(CorruptRecording { file: name, location: "file".to_owned(), reason })
    }

    /// Reads the chunk at an indexed position.
    fn read_chunk(&mut self, location: ChunkLocation) -> Result<Vec<Entry>, CorruptRecording> {
        let mut body = std::mem::take(&mut self.body);
        let frames = self.frames()?;
        frames.seek(location.offset)?;
        let frame = match frames.head()? {
            Some(frame) if frame.opcode == op::CHUNK => frame,
            _ => return Err(frames.corruption("chunk", location.offset, "there is none")),
        };
        frames.body(frame, &mut body)?;
        let content = chunk::decode(&body, frame.len);
        let corruption = content.error.map(|reason| frames.corruption("chunk", location.offset, reason));
        self.body = body;
        content.definitions.into_iter().for_each(|record| self.definitions.define(record));
        corruption.map_or(Ok(content.messages), Err)
    }

    /// Converts a message. `None` if its channel is not defined.
    fn message(&mut self, entry: Entry) -> Option<Message> {
        let Some(channel) = self.definitions.index(entry.header.channel_id) else {
            self.orphans += 1;
            if self.orphans == 1 {
                tracing::warn!(
                    "{}: messages of channel {} are left out: nothing says what it is",
                    self.name,
                    entry.header.channel_id
                );
            }
            return None;
        };
        Some(Message {
            channel,
            log_time: time(entry.header.log_time),
            publish_time: time(entry.header.publish_time),
            data: entry.data,
        })
    }

    /// One step: returns a ready message, or reads a chunk or record.
    fn advance(&mut self) -> Step {
        let location = match &mut self.reading {
            Reading::Indexed(merge) => match merge.next_to_load().filter(|_| self.corruption.is_none()) {
                Some(location) => location,
                None => return merge.pop().map_or(Step::End, Step::Message),
            },
            Reading::Linear { queue, ended } => {
                if let Some(entry) = queue.pop_front() {
                    return Step::Message(entry);
                }
                if *ended || self.corruption.is_some() {
                    return Step::End;
                }
                self.corruption = self.read_record().err();
                return Step::Progress;
            }
        };
        match (self.read_chunk(location), &mut self.reading) {
            (Ok(messages), Reading::Indexed(merge)) => merge.add_chunk(messages),
            (Err(corruption), _) => self.corruption = Some(corruption),
            _ => {}
        }
        Step::Progress
    }

    /// Reads the next record of a file without an index.
    fn read_record(&mut self) -> Result<(), CorruptRecording> {
        let frames = self.frames()?;
        let Some(frame) = frames.head()? else {
            let reason = "the file ends here without its closing records (was the recorder interrupted?)";
            return Err(frames.corruption("record", frames.pos(), reason));
        };
        match frame.opcode {
            op::SCHEMA | op::CHANNEL | op::MESSAGE | op::CHUNK => {
                let mut body = std::mem::take(&mut self.body);
                let whole = self.frames()?.body(frame, &mut body)?;
                let ingested = self.ingest(frame, whole, &body);
                self.body = body;
                ingested.map_err(|reason| self.corruption_at(frame, reason))
            }
            // The lengths of these records are fixed. Another length is a corrupt record, not the end.
            op::DATA_END if frame.len == 4 => {
                self.reading = Reading::Linear { queue: VecDeque::new(), ended: true };
                Ok(())
            }
            op::DATA_END | op::FOOTER => {
                Err(self.corruption_at(frame, "it is not the end that it says it is"))
            }
            0 => Err(self.corruption_at(frame, "it is not a record")),
            _ if frames.skip(frame)? => Ok(()),
            _ => Err(self.corruption_at(frame, RecordError::Truncated)),
        }
    }

    fn ingest(&mut self, frame: Frame, whole: bool, body: &[u8]) -> Result<(), RecordError> {
        let Reading::Linear { queue, .. } = &mut self.reading else { return Ok(()) };
        if frame.opcode == op::CHUNK {
            let content = chunk::decode(body, frame.len);
            content.definitions.into_iter().for_each(|record| self.definitions.define(record));
            queue.extend(content.messages);
            return content.error.map_or(Ok(()), Err);
        }
        if !whole {
            return Err(RecordError::Truncated);
        }
        match mcap::parse_record(frame.opcode, body)? {
            Record::Message { header, data } => {
                queue.push_back(Entry { header, data: bytes::Bytes::copy_from_slice(&data) });
            }
            record => self.definitions.define(record),
        }
        Ok(())
    }

    fn corruption_at(&self, frame: Frame, reason: impl Display) -> CorruptRecording {
        let location = format!("{} at byte {}", frame::kind(frame.opcode), frame.offset);
        CorruptRecording { file: self.name.clone(), location, reason: reason.to_string() }
    }
}

impl Recording for McapRecording {
    fn channels(&self) -> &[Channel] {
        &self.definitions.channels[..self.announced]
    }

    fn span(&self) -> Option<Span> {
        let statistics = self.statistics.as_ref()?;
        let (first, last) = match &self.chunks {
            // Chunks are read by the index, so its times take precedence.
            Some(chunks) => {
                let mut filled = chunks.iter().filter(|chunk| chunk.last > 0);
                (filled.next()?.first, chunks.iter().map(|chunk| chunk.last).max()?)
            }
            None => (time(statistics.message_start_time), time(statistics.message_end_time)),
        };
        (first <= last && last > 0).then_some(Span { first, last })
    }

    fn is_empty(&self) -> bool {
        self.statistics.as_ref().is_some_and(|statistics| statistics.message_count == 0)
    }

    fn knows_all_channels(&self) -> bool {
        let count = |statistics: &Statistics| u64::from(statistics.channel_count);
        self.statistics.as_ref().is_some_and(|known| count(known) <= self.definitions.channels.len() as u64)
    }

    fn part_read(&self) -> Option<f64> {
        let frames = self.frames.as_ref()?;
        Some(frames.pos() as f64 / frames.size().max(1) as f64)
    }

    fn rewind(&mut self) -> Result<(), CorruptRecording> {
        let fail = |reason| CorruptRecording { file: self.name.clone(), location: "file".to_owned(), reason };
        let mut frames = Frames::open(&self.path, &self.name).map_err(|e| fail(e.to_string()))?;
        frames.seek(mcap::MAGIC.len() as u64)?;
        self.frames = Some(frames);
        self.corruption = None;
        self.reading = match &self.chunks {
            Some(chunks) => Reading::Indexed(Merge::new(chunks.clone())),
            None => Reading::Linear { queue: VecDeque::new(), ended: false },
        };
        Ok(())
    }

    fn skip_to(&mut self, from: i64, stop: &StopFlag) -> Result<Skipped, CorruptRecording> {
        seek::skip_to(self, from, stop)
    }

    fn next(&mut self) -> Result<Option<Event>, CorruptRecording> {
        loop {
            // The definitions precede a message, so announce channels first.
            if self.announced < self.definitions.channels.len() {
                self.announced = self.definitions.channels.len();
                return Ok(Some(Event::Channels));
            }
            match self.advance() {
                Step::Message(entry) => {
                    if let Some(message) = self.message(entry) {
                        return Ok(Some(Event::Message(message)));
                    }
                }
                Step::Progress => {}
                Step::End => return self.corruption.take().map_or(Ok(None), Err),
            }
        }
    }

    fn read_stats(&mut self, stop: &StopFlag) -> Result<Option<RecordingStats>, CorruptRecording> {
        if let (Some(span), Some(statistics)) = (self.span(), &self.statistics) {
            let mut stats = RecordingStats { span: Some(span), counts: Vec::new() };
            for (id, count) in &statistics.channel_message_counts {
                if let Some(channel) = self.definitions.index(*id) {
                    crate::bag::recording::add(&mut stats.counts, channel, *count);
                }
            }
            if stats.counts.iter().sum::<u64>() == statistics.message_count {
                return Ok(Some(stats));
            }
        }
        crate::bag::recording::stats_by_reading(self, stop)
    }
}
