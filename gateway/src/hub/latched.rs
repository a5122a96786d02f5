//! The last samples of a latched topic: of each writer as many as it keeps for late subscribers itself.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use roverline_protocol::Guid;
use roverline_source::RawSample;

/// Writers per topic whose samples are kept.
const LATCHED_WRITERS_PER_TOPIC: usize = 64;
/// Samples kept of a writer, however deep its own history is.
const LATCHED_SAMPLES_PER_WRITER: usize = 128;
/// Bytes of a topic's kept samples. The last one of each writer is kept in any case.
const LATCHED_BYTES_PER_TOPIC: usize = 1 << 20;

/// A sample with its arrival time (monotonic).
#[derive(Clone, Debug)]
pub struct StampedSample {
    /// The sample.
    pub sample: RawSample,
    /// Its arrival time (monotonic).
    pub at: Duration,
}

/// The kept samples of a topic.
#[derive(Default)]
pub(super) struct LatchedSamples {
    writers: HashMap<Guid, VecDeque<StampedSample>>,
    bytes: usize,
}

impl LatchedSamples {
    /// Adds a writer's newest sample, and removes those that its history of `depth` samples no longer has. Returns
    /// false if the limit of writers is reached.
    pub(super) fn insert(&mut self, sample: StampedSample, depth: u32) -> bool {
        let writer = sample.sample.id.source;
        if self.writers.len() >= LATCHED_WRITERS_PER_TOPIC && !self.writers.contains_key(&writer) {
            return false;
        }
        let depth = (depth as usize).clamp(1, LATCHED_SAMPLES_PER_WRITER);
        let kept = self.writers.entry(writer).or_default();
        self.bytes += sample.sample.payload.len();
        kept.push_back(sample);
        while kept.len() > depth || (kept.len() > 1 && self.bytes > LATCHED_BYTES_PER_TOPIC) {
            if let Some(oldest) = kept.pop_front() {
                self.bytes -= oldest.sample.payload.len();
            }
        }
        true
    }

    /// A writer's last sample.
    pub(super) fn last(&self, writer: Guid) -> Option<&StampedSample> {
        self.writers.get(&writer)?.back()
    }

    /// The writers of which a sample is kept.
    pub(super) fn writers(&self) -> impl Iterator<Item = Guid> + '_ {
        self.writers.keys().copied()
    }

    /// All kept samples, oldest first.
    pub(super) fn all(&self) -> Vec<RawSample> {
        let mut all: Vec<_> = self.writers.values().flatten().map(|kept| kept.sample.clone()).collect();
        all.sort_by_key(|sample| (sample.receive_time_ns, sample.id.seq));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::encoding::test_encoding;

    fn stamped(writer: u8, seq: u64, bytes: usize) -> StampedSample {
        let mut sample = test_encoding::sample(seq, bytes);
        sample.id.source = Guid([writer; 16]);
        sample.receive_time_ns = seq as i64;
        StampedSample { sample, at: Duration::ZERO }
    }

    fn numbers(latched: &LatchedSamples) -> Vec<u64> {
        latched.all().iter().map(|sample| sample.id.seq).collect()
    }

    #[test]
    fn as_many_samples_are_kept_as_the_writer_keeps() {
        let mut latched = LatchedSamples::default();
        for seq in 1..=5 {
            latched.insert(stamped(1, seq * 2, 10), 3);
            latched.insert(stamped(2, seq * 2 + 1, 10), 1);
        }
        assert_eq!(numbers(&latched), [6, 8, 10, 11]);
        assert_eq!(latched.last(Guid([1; 16])).map(|last| last.sample.id.seq), Some(10));
        // A depth of 0 is that of a writer that says nothing.
        latched.insert(stamped(3, 20, 10), 0);
        latched.insert(stamped(3, 21, 10), 0);
        assert_eq!(numbers(&latched), [6, 8, 10, 11, 21]);
    }

    #[test]
    fn writers_samples_and_bytes_are_bounded() {
        let mut latched = LatchedSamples::default();
        for seq in 1..=1_000 {
            latched.insert(stamped(1, seq, 1), u32::MAX);
        }
        assert_eq!(latched.all().len(), LATCHED_SAMPLES_PER_WRITER);
        let large = LATCHED_BYTES_PER_TOPIC / 2 - 1_000;
        (0..4).for_each(|seq| assert!(latched.insert(stamped(2, seq, large), 10)));
        let kept = latched.all().iter().filter(|sample| sample.id.source == Guid([2; 16])).count();
        assert_eq!(kept, 2, "as many as fit");
        latched.insert(stamped(2, 9, LATCHED_BYTES_PER_TOPIC * 2), 10);
        assert_eq!(
            latched.last(Guid([2; 16])).map(|last| last.sample.id.seq),
            Some(9),
            "the last one in any case"
        );
        let all =
            (3..=255).map(|writer| latched.insert(stamped(writer, 1, 1), 1)).filter(|taken| *taken).count();
        assert_eq!(all, LATCHED_WRITERS_PER_TOPIC - 2);
    }
}
