//! The newest sample of every writer that a client has received.

use std::collections::HashMap;
use std::time::Duration;

use crate::native::Cursor;
use crate::resume::window::{SPAN, Window};
use crate::{Guid, SampleId, limits};

/// A sequence number this far back is not an echo but a writer that began anew.
const WINDOW: u64 = 4_096;
/// The same for a writer that has been silent for this long.
const MEMORY: Duration = Duration::from_secs(30);

/// What a sample is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not seen before, and the next in line.
    Next,
    /// Not seen before; so many between it and the one before were not seen either.
    After(u64),
    /// Not seen before, though newer ones were: two endpoints delivered at once, and the other one
    /// was ahead.
    Late,
    /// Seen already.
    Echo,
}

impl Seen {
    /// Whether the sample is to be taken.
    pub const fn is_new(self) -> bool {
        !matches!(self, Seen::Echo)
    }
}

/// The newest sequence number of every writer, and which of the last before it were seen (as the
/// anti-replay window of RFC 4303, section 3.4.3).
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

    fn see(&mut self, seq: u64, now: Duration) -> Seen {
        if let Some(ahead) = seq.checked_sub(self.newest).filter(|&ahead| ahead > 0) {
            self.seen.advance(ahead);
            (self.newest, self.at) = (seq, now);
            return if ahead == 1 { Seen::Next } else { Seen::After(ahead - 1) };
        }
        let behind = self.newest - seq;
        if behind >= WINDOW || now.saturating_sub(self.at) >= MEMORY {
            *self = Position::new(seq, now);
            return Seen::Next;
        }
        if self.seen.has(behind) {
            return Seen::Echo;
        }
        self.seen.set(behind);
        Seen::Late
    }

    /// The newest before which nothing is missing, as far back as is remembered: what was skipped is
    /// asked for again.
    fn contiguous(&self) -> u64 {
        self.seen.oldest_hole().map_or(self.newest, |hole| self.newest - hole - 1)
    }
}

impl Cursors {
    /// Takes account of a sample that arrives at `now` (monotonic).
    pub fn see(&mut self, id: SampleId, now: Duration) -> Seen {
        if let Some(position) = self.0.get_mut(&id.source) {
            return position.see(id.seq, now);
        }
        if self.0.len() >= limits::CURSORS_PER_RESUME {
            self.0.retain(|_, position| now.saturating_sub(position.at) < MEMORY);
        }
        if self.0.len() < limits::CURSORS_PER_RESUME {
            self.0.insert(id.source, Position::new(id.seq, now));
        }
        Seen::Next
    }

    /// The newest sequence number of a writer.
    pub fn newest(&self, source: Guid) -> Option<u64> {
        self.0.get(&source).map(|position| position.newest)
    }

    /// What a `resume` says.
    pub fn snapshot(&self) -> Vec<Cursor> {
        self.0.iter().map(|(&source, position)| Cursor { source, seq: position.contiguous() }).collect()
    }

    /// Takes account of samples that nobody has any more, after the first number and before the
    /// second: they are not asked for again.
    pub fn give_up(&mut self, source: Guid, after: u64, before: u64) {
        let Some(position) = self.0.get_mut(&source) else { return };
        let oldest = position.newest.saturating_sub(SPAN - 1);
        for seq in after.saturating_add(1).max(oldest)..before.min(position.newest) {
            position.seen.set(position.newest - seq);
        }
    }

    /// How many writers are known.
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
    fn an_echo_is_dropped_and_a_restarted_writer_is_not() {
        let id = |seq| SampleId { source: Guid::from_name("/a"), seq };
        let at = Duration::from_secs;
        let mut cursors = Cursors::default();
        assert_eq!(cursors.see(id(10_000), at(0)), Seen::Next);
        assert_eq!(cursors.see(id(10_000), at(1)), Seen::Echo);
        assert_eq!(cursors.see(id(8_000), at(1)), Seen::Echo, "out of sight");
        assert_eq!(cursors.see(id(10_003), at(1)), Seen::After(2));
        assert_eq!(cursors.see(id(10_002), at(1)), Seen::Late, "another endpoint was ahead");
        assert_eq!(cursors.see(id(10_002), at(1)), Seen::Echo);
        let cursor = |cursors: &Cursors| cursors.snapshot()[0].seq;
        assert_eq!(cursor(&cursors), 10_000, "10001 is asked for again");
        cursors.give_up(id(0).source, 10_000, 10_002);
        assert_eq!(cursor(&cursors), 10_003);
        assert_eq!(cursors.see(id(10_500), at(1)), Seen::After(496));
        assert_eq!(cursor(&cursors), 10_003);
        assert!(cursors.see(id(1), at(2)).is_new(), "far back: began anew");
        assert!(cursors.see(id(1), at(60)).is_new(), "long silent: began anew");
        assert_eq!(cursors.snapshot(), [Cursor { source: id(0).source, seq: 1 }]);
    }
}
