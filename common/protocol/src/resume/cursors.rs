//! The newest sample of every writer that a client has received.

use std::collections::HashMap;
use std::time::Duration;

use crate::native::Cursor;
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
    /// Seen already.
    Echo,
}

impl Seen {
    /// Whether the sample is to be taken.
    pub const fn is_new(self) -> bool {
        !matches!(self, Seen::Echo)
    }
}

/// The newest sequence number of every writer. Endpoints deliver each writer in order, so what is
/// not newer was seen.
#[derive(Clone, Debug, Default)]
pub struct Cursors(HashMap<Guid, (u64, Duration)>);

impl Cursors {
    /// Takes account of a sample that arrives at `now` (monotonic).
    pub fn see(&mut self, id: SampleId, now: Duration) -> Seen {
        if let Some((newest, at)) = self.0.get_mut(&id.source) {
            let echo = id.seq <= *newest && *newest - id.seq < WINDOW;
            if echo && now.saturating_sub(*at) < MEMORY {
                return Seen::Echo;
            }
            let skipped = id.seq.checked_sub(*newest + 1).unwrap_or(0);
            (*newest, *at) = (id.seq, now);
            return if skipped == 0 { Seen::Next } else { Seen::After(skipped) };
        }
        if self.0.len() >= limits::CURSORS_PER_RESUME {
            self.0.retain(|_, (_, at)| now.saturating_sub(*at) < MEMORY);
        }
        if self.0.len() < limits::CURSORS_PER_RESUME {
            self.0.insert(id.source, (id.seq, now));
        }
        Seen::Next
    }

    /// The newest sequence number of a writer.
    pub fn newest(&self, source: Guid) -> Option<u64> {
        self.0.get(&source).map(|&(seq, _)| seq)
    }

    /// What a `resume` says.
    pub fn snapshot(&self) -> Vec<Cursor> {
        self.0.iter().map(|(&source, &(seq, _))| Cursor { source, seq }).collect()
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
        assert_eq!(cursors.see(id(9_000), at(1)), Seen::Echo);
        assert_eq!(cursors.see(id(10_003), at(1)), Seen::After(2));
        assert!(cursors.see(id(1), at(2)).is_new(), "far back: began anew");
        assert!(cursors.see(id(1), at(60)).is_new(), "long silent: began anew");
        assert_eq!(cursors.snapshot(), [Cursor { source: id(0).source, seq: 1 }]);
    }
}
