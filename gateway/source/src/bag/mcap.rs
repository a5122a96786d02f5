//! MCAP files: chunked or not, indexed or not, whole or not.
//!
//! With an index in the summary the messages come in log-time order over the whole file, chunks
//! that overlap in time being held together (up to [`merge::MAX_HELD`]). Without one the file is
//! read from front to back: messages come in log-time order within each chunk, chunks and
//! unchunked messages in file order. A message that is thereby late in time is played at once.

mod channels;
mod chunk;
mod frame;
mod merge;
mod seek;
mod summary;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use mcap::records::{Record, Statistics, op};

use crate::bag::mcap::channels::Definitions;
use crate::bag::mcap::chunk::Entry;
use crate::bag::mcap::frame::{Frame, Frames};
use crate::bag::mcap::merge::Merge;
use crate::bag::mcap::summary::ChunkPlace;
use crate::bag::recording::{Channel, Damage, Event, Message, Recording, Skipped, Span, Survey};
use crate::{SourceError, Stop};

/// A log time as we carry it. The year 2262 will have to do.
fn time(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(i64::MAX)
}

/// An MCAP file.
pub(super) struct McapRecording {
    path: PathBuf,
    name: String,
    definitions: Definitions,
    /// How many of the channels our user has been told of.
    announced: usize,
    statistics: Option<Statistics>,
    /// The chunks in playing order, when the summary indexes them all.
    chunks: Option<Vec<ChunkPlace>>,
    /// The open file, while it is being read.
    frames: Option<Frames>,
    reading: Reading,
    /// Found, but reported only after everything before it.
    damage: Option<Damage>,
    body: Vec<u8>,
    orphans: u64,
}

/// How far the current pass is.
enum Reading {
    Linear { queue: VecDeque<Entry>, ended: bool },
    Indexed(Merge),
}

/// What one step of reading came to.
enum Step {
    Message(Entry),
    Read,
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
            found.map(|summary| (summary.definitions, Some(summary.statistics))).unwrap_or_default();
        if statistics.as_ref().is_some_and(|statistics| statistics.message_count == 0) {
            return Err(SourceError(format!("{name} is a recording without messages: nothing to play")));
        }
        Ok(McapRecording {
            path: path.to_owned(),
            name: name.to_owned(),
            announced: definitions.channels.len(),
            definitions,
            statistics,
            chunks,
            frames: None,
            reading: Reading::Linear { queue: VecDeque::new(), ended: true },
            damage: None,
            body: Vec::new(),
            orphans: 0,
        })
    }

    fn frames(&mut self) -> Result<&mut Frames, Damage> {
        let (name, what) = (self.name.clone(), "it is not open".to_owned());
        self.frames.as_mut().ok_or(Damage { file: name, place: "file".to_owned(), what })
    }

    /// Reads the chunk at an indexed place.
    fn load(&mut self, place: ChunkPlace) -> Result<Vec<Entry>, Damage> {
        let mut body = std::mem::take(&mut self.body);
        let frames = self.frames()?;
        frames.seek(place.offset)?;
        let frame = match frames.head()? {
            Some(frame) if frame.opcode == op::CHUNK => frame,
            _ => return Err(frames.damage("chunk", place.offset, "there is none".to_owned())),
        };
        frames.body(frame, &mut body)?;
        let content = chunk::decode(&body, frame.len);
        let damage = content.error.map(|what| frames.damage("chunk", place.offset, what));
        self.body = body;
        content.definitions.into_iter().for_each(|record| self.definitions.define(record));
        damage.map_or(Ok(content.messages), Err)
    }

    /// Turns the file's message into ours. `None` for one whose channel nothing has defined.
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

    /// One step: a message that is ready, or a chunk or record taken in.
    fn advance(&mut self) -> Step {
        let place = match &mut self.reading {
            Reading::Indexed(merge) => match merge.needs().filter(|_| self.damage.is_none()) {
                Some(place) => place,
                None => return merge.pop().map_or(Step::End, Step::Message),
            },
            Reading::Linear { queue, ended } => {
                if let Some(entry) = queue.pop_front() {
                    return Step::Message(entry);
                }
                if *ended || self.damage.is_some() {
                    return Step::End;
                }
                self.damage = self.record().err();
                return Step::Read;
            }
        };
        match (self.load(place), &mut self.reading) {
            (Ok(messages), Reading::Indexed(merge)) => merge.loaded(messages),
            (Err(damage), _) => self.damage = Some(damage),
            _ => {}
        }
        Step::Read
    }

    /// Takes in the next record of a file that is read from front to back.
    fn record(&mut self) -> Result<(), Damage> {
        let frames = self.frames()?;
        let Some(frame) = frames.head()? else {
            let what = "the file ends here without its closing records (was the recorder interrupted?)";
            return Err(frames.damage("record", frames.pos(), what.to_owned()));
        };
        match frame.opcode {
            op::SCHEMA | op::CHANNEL | op::MESSAGE | op::CHUNK => {
                let mut body = std::mem::take(&mut self.body);
                let whole = self.frames()?.body(frame, &mut body)?;
                let taken = self.take(frame, whole, &body);
                self.body = body;
                taken.map_err(|what| self.damage_at(frame, what))
            }
            // Their lengths are fixed. Anything else is a different record gone bad, not the end.
            op::DATA_END if frame.len == 4 => {
                self.reading = Reading::Linear { queue: VecDeque::new(), ended: true };
                Ok(())
            }
            op::DATA_END | op::FOOTER => {
                Err(self.damage_at(frame, "it is not the end that it says it is".to_owned()))
            }
            0 => Err(self.damage_at(frame, "it is not a record".to_owned())),
            _ if frames.skip(frame)? => Ok(()),
            _ => Err(self.damage_at(frame, "the file ends in the middle of it".to_owned())),
        }
    }

    fn take(&mut self, frame: Frame, whole: bool, body: &[u8]) -> Result<(), String> {
        let Reading::Linear { queue, .. } = &mut self.reading else { return Ok(()) };
        if frame.opcode == op::CHUNK {
            let content = chunk::decode(body, frame.len);
            content.definitions.into_iter().for_each(|record| self.definitions.define(record));
            queue.extend(content.messages);
            return content.error.map_or(Ok(()), Err);
        }
        if !whole {
            return Err("the file ends in the middle of it".to_owned());
        }
        match mcap::parse_record(frame.opcode, body).map_err(|e| chunk::explain(&e))? {
            Record::Message { header, data } => {
                queue.push_back(Entry { header, data: bytes::Bytes::copy_from_slice(&data) });
            }
            record => self.definitions.define(record),
        }
        Ok(())
    }

    fn damage_at(&self, frame: Frame, what: String) -> Damage {
        let place = format!("{} at byte {}", frame::kind(frame.opcode), frame.offset);
        Damage { file: self.name.clone(), place, what }
    }
}

impl Recording for McapRecording {
    fn channels(&self) -> &[Channel] {
        &self.definitions.channels[..self.announced]
    }

    fn span(&self) -> Option<Span> {
        let statistics = self.statistics.as_ref()?;
        let (first, last) = match &self.chunks {
            // The index decides when a chunk is read, so it is the better witness.
            Some(chunks) => {
                let mut filled = chunks.iter().filter(|chunk| chunk.last > 0);
                (filled.next()?.first, chunks.iter().map(|chunk| chunk.last).max()?)
            }
            None => (time(statistics.message_start_time), time(statistics.message_end_time)),
        };
        (first <= last && last > 0).then_some(Span { first, last })
    }

    fn rewind(&mut self) -> Result<(), Damage> {
        let fail = |what| Damage { file: self.name.clone(), place: "file".to_owned(), what };
        let mut frames = Frames::open(&self.path, &self.name).map_err(|e| fail(e.to_string()))?;
        frames.seek(mcap::MAGIC.len() as u64)?;
        self.frames = Some(frames);
        self.damage = None;
        self.reading = match &self.chunks {
            Some(chunks) => Reading::Indexed(Merge::new(chunks.clone())),
            None => Reading::Linear { queue: VecDeque::new(), ended: false },
        };
        Ok(())
    }

    fn skip_to(&mut self, from: i64, stop: &Stop) -> Result<Skipped, Damage> {
        seek::skip_to(self, from, stop)
    }

    fn next(&mut self) -> Result<Option<Event>, Damage> {
        loop {
            // What a message needs is defined before it, so channels come first.
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
                Step::Read => {}
                Step::End => return self.damage.take().map_or(Ok(None), Err),
            }
        }
    }

    fn survey(&mut self, stop: &Stop) -> Result<Option<Survey>, Damage> {
        if let (Some(span), Some(statistics)) = (self.span(), &self.statistics) {
            let mut survey = Survey { span: Some(span), counts: Vec::new() };
            for (id, count) in &statistics.channel_message_counts {
                if let Some(channel) = self.definitions.index(*id) {
                    crate::bag::recording::add(&mut survey.counts, channel, *count);
                }
            }
            if survey.counts.iter().sum::<u64>() == statistics.message_count {
                return Ok(Some(survey));
            }
        }
        crate::bag::recording::survey_by_reading(self, stop)
    }
}
