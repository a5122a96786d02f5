//! The last samples of one topic, for clients that come back.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::{Guid, SampleId, limits};

/// A sequence number this far behind is not late but of a writer that began anew.
const WINDOW: u64 = 4_096;

/// What a ring may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Bytes of all samples.
    pub bytes: usize,
    /// Samples.
    pub samples: usize,
    /// Age beyond which a sample goes.
    pub age: Duration,
    /// So many may be older than that: of a topic that seldom says anything, its history.
    pub old_samples: usize,
    /// Age beyond which these go as well.
    pub old_age: Duration,
}

impl Default for RingLimits {
    fn default() -> Self {
        RingLimits {
            bytes: limits::REPLAY_TOPIC_BYTES,
            samples: limits::REPLAY_TOPIC_SAMPLES,
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
    writers: HashMap<Guid, Account>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    id: SampleId,
    at: Duration,
    bytes: usize,
    value: T,
}

/// What is known of a writer, whether or not its samples are still here.
#[derive(Clone, Copy, Debug)]
struct Account {
    newest: u64,
    at: Duration,
    /// The newest sample that had to go, and when it had come.
    gone: Option<(u64, Duration)>,
}

/// What a client misses of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay<T> {
    /// What can be given, in order of arrival.
    pub samples: Vec<T>,
    /// What cannot: of a writer, the samples after the first number and before the second.
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
    /// An empty one.
    pub fn new(limits: RingLimits) -> Ring<T> {
        Ring { limits, entries: VecDeque::new(), bytes: 0, writers: HashMap::new() }
    }

    /// Keeps a sample of `bytes` that arrives at `now` (monotonic), and lets go of what no longer
    /// fits. One that is not newer than its writer's newest is an echo and not kept.
    pub fn push(&mut self, id: SampleId, now: Duration, bytes: usize, value: T) {
        if let Some(account) = self.writers.get(&id.source) {
            if account.newest >= id.seq {
                if account.newest - id.seq < WINDOW {
                    return;
                }
                // Began anew: what it wrote in its former life has no place in the order.
                self.forget(id.source);
            }
        } else if self.writers.len() >= limits::REPLAY_WRITERS_PER_TOPIC {
            let silent = self.writers.iter().min_by_key(|(_, account)| account.at).map(|(&guid, _)| guid);
            silent.into_iter().for_each(|guid| self.forget(guid));
        }
        let account = Account { newest: id.seq, at: now, gone: None };
        let known = self.writers.entry(id.source).or_insert(account);
        (known.newest, known.at) = (id.seq, now);
        self.bytes += bytes;
        self.entries.push_back(Entry { id, at: now, bytes, value });
        while self.bytes > self.limits.bytes || self.entries.len() > self.limits.samples {
            self.pop();
        }
        self.expire(now);
    }

    /// Lets go of what is too old at `now`.
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

    /// Lets go of the oldest sample; how many bytes that gave, `None` when there is none.
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

    /// The newest sequence number of every writer heard.
    pub fn newest(&self) -> impl Iterator<Item = (Guid, u64)> {
        self.writers.iter().map(|(&writer, account)| (writer, account.newest))
    }

    /// Whether this sample is here.
    pub fn holds(&self, id: SampleId) -> bool {
        let account = self.writers.get(&id.source);
        account.is_some_and(|account| {
            id.seq <= account.newest && account.gone.is_none_or(|(seq, _)| id.seq > seq)
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Samples held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T: Clone> Ring<T> {
    /// What a client misses that has received each writer's samples up to its cursor. Of writers
    /// without a cursor it misses what came at or after `since`. `kept` are values that were kept
    /// beside the ring (the newest, the latched), and are given where the client lacks them.
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

    /// Whether this ring has heard the writer's present life beyond `seq`. A cursor far ahead is of
    /// a former life, or of an endpoint that hears sooner: nothing is missed.
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
