//! Server side: the replay ring, the last samples of one topic for clients that resume.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::{Guid, SampleId, limits};

/// Samples kept for replay per topic.
const REPLAY_TOPIC_SAMPLES: usize = 4_096;
/// Writers tracked by a topic's replay buffer.
const REPLAY_WRITERS_PER_TOPIC: usize = 256;

/// A sequence number this far behind is not late but from a restarted writer.
const WINDOW: u64 = 4_096;

/// Limits of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Bytes of all samples.
    pub bytes: usize,
    /// Samples.
    pub samples: usize,
    /// Age beyond which a sample is removed.
    pub age: Duration,
    /// Number of samples that may be older than that: the history of a topic with few samples.
    pub old_samples: usize,
    /// Age beyond which these are removed as well.
    pub old_age: Duration,
}

impl Default for RingLimits {
    fn default() -> Self {
        RingLimits {
            bytes: limits::REPLAY_TOPIC_BYTES,
            samples: REPLAY_TOPIC_SAMPLES,
            age: Duration::from_millis(limits::REPLAY_AGE_MS),
            old_samples: 0,
            old_age: Duration::ZERO,
        }
    }
}

/// The last samples of one topic, of all its writers, in order of arrival.
#[derive(Clone, Debug)]
pub struct Ring<T> {
    limits: RingLimits,
    entries: VecDeque<Entry<T>>,
    bytes: usize,
    writers: HashMap<Guid, WriterState>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    id: SampleId,
    at: Duration,
    bytes: usize,
    value: T,
}

/// State of a writer, whether or not its samples are still in the ring.
#[derive(Clone, Copy, Debug)]
struct WriterState {
    newest: u64,
    at: Duration,
    /// The newest sample that was removed, and when it had arrived.
    gone: Option<(u64, Duration)>,
}

/// The samples of one topic that a client lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay<T> {
    /// Samples that can be replayed, in order of arrival.
    pub samples: Vec<T>,
    /// Samples that cannot: of a writer, those after the first number and before the second.
    pub gaps: Vec<(Guid, u64, u64)>,
}

impl<T> Default for Replay<T> {
    fn default() -> Self {
        Replay { samples: Vec::new(), gaps: Vec::new() }
    }
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Ring::new(RingLimits::default())
    }
}

impl<T> Ring<T> {
    /// An empty ring.
    pub fn new(limits: RingLimits) -> Ring<T> {
        Ring { limits, entries: VecDeque::new(), bytes: 0, writers: HashMap::new() }
    }

    /// Stores a sample of `bytes` that arrives at `now` (monotonic), and evicts what no longer
    /// fits. A sample that is not newer than its writer's newest is a duplicate and not stored.
    pub fn push(&mut self, id: SampleId, now: Duration, bytes: usize, value: T) {
        if let Some(account) = self.writers.get(&id.source) {
            if account.newest >= id.seq {
                if account.newest - id.seq < WINDOW {
                    return;
                }
                // The writer restarted: samples of its previous run have no place in the order.
                self.forget(id.source);
            }
        } else if self.writers.len() >= REPLAY_WRITERS_PER_TOPIC {
            let silent = self.writers.iter().min_by_key(|(_, account)| account.at).map(|(&guid, _)| guid);
            silent.into_iter().for_each(|guid| self.forget(guid));
        }
        let account = WriterState { newest: id.seq, at: now, gone: None };
        let known = self.writers.entry(id.source).or_insert(account);
        (known.newest, known.at) = (id.seq, now);
        self.bytes += bytes;
        self.entries.push_back(Entry { id, at: now, bytes, value });
        while self.bytes > self.limits.bytes || self.entries.len() > self.limits.samples {
            self.pop();
        }
        self.expire(now);
    }

    /// Removes samples that are too old at `now`.
    pub fn expire(&mut self, now: Duration) {
        while let Some(entry) = self.entries.front() {
            let age = now.saturating_sub(entry.at);
            let history = self.entries.len() <= self.limits.old_samples && age <= self.limits.old_age;
            if age <= self.limits.age || history {
                return;
            }
            self.pop();
        }
    }

    /// Removes the oldest sample; returns the freed bytes, or `None` if the ring is empty.
    pub fn pop(&mut self) -> Option<usize> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes;
        if let Some(account) = self.writers.get_mut(&entry.id.source) {
            account.gone = Some((entry.id.seq, entry.at));
        }
        Some(entry.bytes)
    }

    fn forget(&mut self, writer: Guid) {
        self.writers.remove(&writer);
        let mut freed = 0;
        self.entries.retain(|entry| {
            let stays = entry.id.source != writer;
            freed += if stays { 0 } else { entry.bytes };
            stays
        });
        self.bytes -= freed;
    }

    /// The newest sequence number of every known writer.
    pub fn newest(&self) -> impl Iterator<Item = (Guid, u64)> {
        self.writers.iter().map(|(&writer, account)| (writer, account.newest))
    }

    /// Whether a newer sample of its writer was stored before.
    pub fn is_late(&self, id: SampleId) -> bool {
        let newest = self.writers.get(&id.source).map(|account| account.newest);
        newest.is_some_and(|newest| newest > id.seq && newest - id.seq < WINDOW)
    }

    /// Whether this sample is in the ring.
    pub fn holds(&self, id: SampleId) -> bool {
        let account = self.writers.get(&id.source);
        account.is_some_and(|account| {
            id.seq <= account.newest && account.gone.is_none_or(|(seq, _)| id.seq > seq)
        })
    }

    /// The samples that arrived after a time, with their times of arrival; the newest first.
    pub fn after(&self, at: Duration) -> impl Iterator<Item = (&T, Duration)> {
        let newer = self.entries.iter().rev().take_while(move |entry| entry.at > at);
        newer.map(|entry| (&entry.value, entry.at))
    }

    /// Bytes stored.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Samples stored.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the ring is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T: Clone> Ring<T> {
    /// The samples that a client lacks, by its cursors: the newest sample received from each writer. Of
    /// writers without a cursor it lacks the samples that arrived at or after `since`. `kept` are
    /// values stored beside the ring (the newest, the latched), replayed if the client lacks them.
    pub fn replay(
        &self,
        cursor: impl Fn(&Guid) -> Option<u64>,
        since: Duration,
        kept: Vec<(SampleId, T)>,
    ) -> Replay<T> {
        let wanted = |entry: &&Entry<T>| match cursor(&entry.id.source) {
            Some(seq) => entry.id.seq > seq && self.is_ahead(&entry.id.source, seq),
            None => entry.at >= since,
        };
        let ring: Vec<&Entry<T>> = self.entries.iter().filter(wanted).collect();
        let lacks = |id: &SampleId| match cursor(&id.source) {
            Some(seq) => id.seq > seq && self.is_ahead(&id.source, seq),
            None => true,
        };
        let mut ids: Vec<SampleId> = Vec::new();
        let mut samples = Vec::new();
        for (id, value) in kept {
            if lacks(&id) && !ring.iter().any(|entry| entry.id == id) {
                ids.push(id);
                samples.push(value);
            }
        }
        ids.extend(ring.iter().map(|entry| entry.id));
        samples.extend(ring.iter().map(|entry| entry.value.clone()));
        Replay { samples, gaps: self.gaps(&cursor, since, &ids) }
    }

    /// Whether this ring has samples of the writer's present run beyond `seq`. A cursor far ahead
    /// is from a previous run, or from an endpoint that receives sooner: nothing is missed.
    fn is_ahead(&self, writer: &Guid, seq: u64) -> bool {
        self.writers.get(writer).is_none_or(|account| account.newest > seq)
    }

    fn gaps(
        &self,
        cursor: &impl Fn(&Guid) -> Option<u64>,
        since: Duration,
        given: &[SampleId],
    ) -> Vec<(Guid, u64, u64)> {
        let mut gaps = Vec::new();
        for (&writer, account) in &self.writers {
            let Some(mut before) = cursor(&writer) else {
                if let Some((seq, _)) = account.gone.filter(|&(_, at)| at >= since) {
                    gaps.push((writer, seq.saturating_sub(1), seq.saturating_add(1)));
                }
                continue;
            };
            if account.newest <= before {
                continue;
            }
            for id in given.iter().filter(|id| id.source == writer) {
                if id.seq > before.saturating_add(1) {
                    gaps.push((writer, before, id.seq));
                }
                before = id.seq;
            }
            if account.newest > before {
                gaps.push((writer, before, account.newest.saturating_add(1)));
            }
        }
        gaps.sort_unstable();
        gaps
    }
}
