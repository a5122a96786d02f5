//! Merges chunks that overlap in time into one stream in log-time order.

use crate::bag::mcap::chunk::Entry;
use crate::bag::mcap::summary::ChunkLocation;
use crate::bag::mcap::time;

/// Maximum payload bytes held at once. Recorders overlap one or two chunks; if all chunks of a file
/// overlap, messages beyond this limit are played in the order available, and late ones at once.
pub(super) const MAX_HELD: usize = 256 << 20;

/// The messages of a chunk that have not been played yet.
struct PendingChunk {
    messages: std::iter::Peekable<std::vec::IntoIter<Entry>>,
}

/// One pass over an indexed file.
pub(super) struct Merge {
    chunks: std::vec::IntoIter<ChunkLocation>,
    held: Vec<PendingChunk>,
    held_bytes: usize,
}

impl Merge {
    /// Starts a pass over chunks that are sorted by their first time.
    pub(super) fn new(chunks: Vec<ChunkLocation>) -> Merge {
        Merge { chunks: chunks.into_iter(), held: Vec::new(), held_bytes: 0 }
    }

    /// The chunk that must be loaded before the next message is known; it is removed from the pending
    /// ones.
    pub(super) fn next_to_load(&mut self) -> Option<ChunkLocation> {
        let next = self.chunks.as_slice().first()?;
        let earliest = self.held.iter_mut().filter_map(|held| held.messages.peek()).map(log_time).min();
        let full = self.held_bytes >= MAX_HELD;
        match earliest {
            Some(earliest) if earliest < next.first || full => None,
            _ => self.chunks.next(),
        }
    }

    /// Adds the messages of the chunk that `next_to_load` returned.
    pub(super) fn add_chunk(&mut self, messages: Vec<Entry>) {
        self.held_bytes += messages.iter().map(size).sum::<usize>();
        self.held.push(PendingChunk { messages: messages.into_iter().peekable() });
    }

    /// The earliest message held; of equal times, that of the chunk loaded first.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.held.retain_mut(|held| held.messages.peek().is_some());
        let heads = self.held.iter_mut().map(|held| held.messages.peek().map(log_time));
        let (earliest, _) = heads.enumerate().min_by_key(|(_, time)| *time)?;
        let held = self.held.get_mut(earliest)?;
        let entry = held.messages.next()?;
        self.held_bytes = self.held_bytes.saturating_sub(size(&entry));
        Some(entry)
    }

    /// The chunks that have not been loaded yet.
    pub(super) fn pending(&self) -> &[ChunkLocation] {
        self.chunks.as_slice()
    }

    /// Replaces the chunks that have not been loaded yet.
    pub(super) fn set_pending(&mut self, chunks: Vec<ChunkLocation>) {
        self.chunks = chunks.into_iter();
    }
}

fn log_time(entry: &Entry) -> i64 {
    time(entry.header.log_time)
}

/// The memory cost of an entry: its payload and a constant.
fn size(entry: &Entry) -> usize {
    entry.data.len() + size_of::<Entry>()
}
