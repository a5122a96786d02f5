//! Client side: cursors, the newest sample received from every writer.

use std::collections::HashMap;
use std::time::Duration;

use crate::native::Cursor;
use crate::resume::window::{SPAN, Window};
use crate::{Guid, SampleId, limits};

/// A sequence number this far back is not a duplicate but a restarted writer.
const WINDOW: u64 = 4_096;
/// The same for a writer that has been silent for this long.
const MEMORY: Duration = Duration::from_secs(30);

/// Classification of a received sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// New, and the next in sequence.
    Next,
    /// New; this many samples were skipped before it.
    Skipped(u64),
    /// New, though later ones were received: two endpoints delivered at once, and the other one was
    /// ahead.
    Late,
    /// A duplicate.
    Duplicate,
}

impl Receipt {
    /// Whether the sample is to be processed.
    pub const fn is_new(self) -> bool {
        !matches!(self, Receipt::Duplicate)
    }
}

/// The newest sequence number of every writer, and which of those before it were received (like the
/// anti-replay window of RFC 4303, section 3.4.3).
///
/// ```
/// use roverline_protocol::resume::{Cursors, Receipt};
/// use roverline_protocol::{Guid, SampleId};
/// use std::time::Duration;
/// let sample = |seq| SampleId { source: Guid::from_name("/odom"), seq };
/// let mut cursors = Cursors::default();
/// cursors.record(sample(1), Duration::ZERO);
/// assert_eq!(cursors.record(sample(1), Duration::ZERO), Receipt::Duplicate);
/// assert_eq!(cursors.record(sample(4), Duration::ZERO), Receipt::Skipped(2));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cursors(HashMap<Guid, Position>);

#[derive(Clone, Copy, Debug)]
struct Position {
    newest: u64,
    at: Duration,
    seen: Window,
}

impl Position {
    fn new(newest: u64, at: Duration) -> Position {
        Position { newest, at, seen: Window::new() }
    }

    fn record(&mut self, seq: u64, now: Duration) -> Receipt {
        if let Some(ahead) = seq.checked_sub(self.newest).filter(|&ahead| ahead > 0) {
            self.seen.advance(ahead);
            (self.newest, self.at) = (seq, now);
            return if ahead == 1 { Receipt::Next } else { Receipt::Skipped(ahead - 1) };
        }
        let behind = self.newest - seq;
        // A replay may come long after the newest sample.
        if behind < SPAN && !self.seen.has(behind) {
            self.seen.set(behind);
            return Receipt::Late;
        }
        if behind >= WINDOW || now.saturating_sub(self.at) >= MEMORY {
            *self = Position::new(seq, now);
            return Receipt::Next;
        }
        Receipt::Duplicate
    }

    /// The newest number before which nothing is missing, as far back as is remembered: skipped
    /// samples are requested again.
    fn contiguous(&self) -> u64 {
        self.seen.oldest_hole().map_or(self.newest, |hole| self.newest - hole - 1)
    }
}

impl Cursors {
    /// Records a sample that arrives at `now` (monotonic).
    pub fn record(&mut self, id: SampleId, now: Duration) -> Receipt {
        if let Some(position) = self.0.get_mut(&id.source) {
            return position.record(id.seq, now);
        }
        if self.0.len() >= limits::CURSORS_PER_RESUME {
            self.0.retain(|_, position| now.saturating_sub(position.at) < MEMORY);
        }
        if self.0.len() < limits::CURSORS_PER_RESUME {
            self.0.insert(id.source, Position::new(id.seq, now));
        }
        Receipt::Next
    }

    /// The newest sequence number of a writer.
    pub fn newest(&self, source: Guid) -> Option<u64> {
        self.0.get(&source).map(|position| position.newest)
    }

    /// The cursors for a `resume`.
    pub fn snapshot(&self) -> Vec<Cursor> {
        self.0.iter().map(|(&source, position)| Cursor { source, seq: position.contiguous() }).collect()
    }

    /// The cursor of a writer of which samples after the number `floor` are missing before the newest one.
    pub fn before_hole(&self, source: Guid, floor: u64) -> Option<Cursor> {
        let position = self.0.get(&source)?;
        let contiguous = position.contiguous();
        let after = contiguous.max(floor);
        let is_missing = |seq: &u64| !position.seen.has(position.newest - seq);
        let first = match contiguous < floor {
            false => (after < position.newest).then_some(after),
            true => (after.saturating_add(1)..position.newest).find(is_missing).map(|seq| seq - 1),
        };
        first.map(|seq| Cursor { source, seq })
    }

    /// Records samples that no endpoint has any more, after the first number and before the second:
    /// they are not requested again.
    pub fn give_up(&mut self, source: Guid, after: u64, before: u64) {
        let Some(position) = self.0.get_mut(&source) else { return };
        let oldest = position.newest.saturating_sub(SPAN - 1);
        for seq in after.saturating_add(1).max(oldest)..before.min(position.newest) {
            position.seen.set(position.newest - seq);
        }
    }

    /// Number of known writers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing has been received.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duplicate_is_dropped_and_a_restarted_writer_is_not() {
        let id = |seq| SampleId { source: Guid::from_name("/a"), seq };
        let at = Duration::from_secs;
        let mut cursors = Cursors::default();
        assert_eq!(cursors.record(id(10_000), at(0)), Receipt::Next);
        assert_eq!(cursors.record(id(10_000), at(1)), Receipt::Duplicate);
        assert_eq!(cursors.record(id(8_000), at(1)), Receipt::Duplicate, "out of sight");
        assert_eq!(cursors.record(id(10_003), at(1)), Receipt::Skipped(2));
        assert_eq!(cursors.record(id(10_002), at(1)), Receipt::Late, "another endpoint was ahead");
        assert_eq!(cursors.record(id(10_002), at(1)), Receipt::Duplicate);
        let cursor = |cursors: &Cursors| cursors.snapshot()[0].seq;
        assert_eq!(cursor(&cursors), 10_000, "10001 is asked for again");
        assert_eq!(cursors.before_hole(id(0).source, 0), Some(Cursor { source: id(0).source, seq: 10_000 }));
        cursors.give_up(id(0).source, 10_000, 10_002);
        assert_eq!(cursor(&cursors), 10_003);
        assert_eq!(cursors.before_hole(id(0).source, 0), None);
        assert_eq!(cursors.record(id(10_500), at(1)), Receipt::Skipped(496));
        assert_eq!(cursor(&cursors), 10_003);
        assert!(cursors.record(id(1), at(2)).is_new(), "far back: began anew");
        assert!(cursors.record(id(1), at(60)).is_new(), "long silent: began anew");
        assert_eq!(cursors.snapshot(), [Cursor { source: id(0).source, seq: 1 }]);
    }
}
