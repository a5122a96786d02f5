//! The counts of this process's log lines, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Level;

/// The levels, the most urgent first.
const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

/// What became of lines.
#[derive(Debug, Default)]
pub struct LineCounts {
    written: [AtomicU64; LEVELS.len()],
    suppressed: AtomicU64,
    truncated: AtomicU64,
}

impl LineCounts {
    pub(super) fn add_written(&self, level: Level) {
        if let Some(at) = LEVELS.iter().position(|other| *other == level) {
            self.written[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn add_suppressed(&self) {
        self.suppressed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_truncated(&self) {
        self.truncated.fetch_add(1, Ordering::Relaxed);
    }

    /// Lines that were handed to the writer, by level.
    pub fn written(&self) -> impl Iterator<Item = (Level, u64)> {
        LEVELS.into_iter().zip(self.written.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Repeated lines that were left out.
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// Lines of which a part was left out.
    pub fn truncated(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }
}
