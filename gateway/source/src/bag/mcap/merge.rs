//! Chunks that overlap in time, merged into one stream in log-time order.

use crate::bag::mcap::chunk::Entry;
use crate::bag::mcap::summary::ChunkPlace;
use crate::bag::mcap::time;

/// Payload bytes held at once. Recorders overlap a chunk or two; a file whose chunks all overlap
/// is, past this, played in the order of what is held, and what is late is played at once.
pub(super) const MAX_HELD: usize = 256 << 20;

/// The messages of a chunk that have not been played.
struct Held {
    messages: std::iter::Peekable<std::vec::IntoIter<Entry>>,
}

/// One pass over an indexed file.
pub(super) struct Merge {
    chunks: std::vec::IntoIter<ChunkPlace>,
    held: Vec<Held>,
    held_bytes: usize,
}

impl Merge {
    /// A pass over chunks that are sorted by their first time.
    pub(super) fn new(chunks: Vec<ChunkPlace>) -> Merge {
        Merge { chunks: chunks.into_iter(), held: Vec::new(), held_bytes: 0 }
    }

    /// The chunk that has to be loaded before the next message is known; it counts as taken.
    pub(super) fn needs(&mut self) -> Option<ChunkPlace> {
        let next = self.chunks.as_slice().first()?;
        let earliest = self.held.iter_mut().filter_map(|held| held.messages.peek()).map(log_time).min();
        let full = self.held_bytes >= MAX_HELD;
        match earliest {
            Some(earliest) if earliest < next.first || full => None,
            _ => self.chunks.next(),
        }
    }

    /// The messages of the chunk that was asked for.
    pub(super) fn loaded(&mut self, messages: Vec<Entry>) {
        self.held_bytes += messages.iter().map(size).sum::<usize>();
        self.held.push(Held { messages: messages.into_iter().peekable() });
    }

    /// The earliest message held; of equal ones that of the chunk loaded first.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.held.retain_mut(|held| held.messages.peek().is_some());
        let heads = self.held.iter_mut().map(|held| held.messages.peek().map(log_time));
        let (earliest, _) = heads.enumerate().min_by_key(|(_, time)| *time)?;
        let held = self.held.get_mut(earliest)?;
        let entry = held.messages.next()?;
        self.held_bytes = self.held_bytes.saturating_sub(size(&entry));
        Some(entry)
    }

    /// The chunks that have not been loaded.
    pub(super) fn pending(&self) -> &[ChunkPlace] {
        self.chunks.as_slice()
    }

    /// Replaces the chunks that have not been loaded.
    pub(super) fn keep(&mut self, chunks: Vec<ChunkPlace>) {
        self.chunks = chunks.into_iter();
    }
}

fn log_time(entry: &Entry) -> i64 {
    time(entry.header.log_time)
}

/// A payload and what it costs to hold it.
fn size(entry: &Entry) -> usize {
    entry.data.len() + size_of::<Entry>()
}
