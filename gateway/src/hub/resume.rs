//! The resume state of a session: which samples it missed, and how many may be replayed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use roverline_protocol::native::{Cursor, FLAG_REPLAYED, FLAG_STORED, Gap};
use roverline_protocol::resume::Replay;
use roverline_protocol::{Delivery, Guid};
use roverline_source::RawSample;

use crate::hub::topic::Topic;
use crate::limits;

/// Cost of a replayed sample beyond its payload: headers and its queue entry.
const REPLAY_SAMPLE_OVERHEAD_BYTES: usize = 64;
/// Bytes replayed to one client at a time on topics that it is subscribed to: live samples must not wait for them.
/// The client asks again for the rest.
const REPAIR_BYTES: usize = 32 << 10;
/// Samples replayed to one client at a time.
const REPLAY_CLIENT_SAMPLES: usize = limits::OUTBOX_EVERY_FRAMES / 4 * 3;

/// The resume state of one session, from its `resume` request to its end.
#[derive(Debug, Default)]
pub(super) struct ResumeState {
    cursors: HashMap<Guid, u64>,
    /// For writers without a cursor, samples after this time (monotonic) count as missed.
    since: Duration,
    /// When the client sent the request; it does not apply to much later subscriptions.
    pub(super) at: Duration,
    budget: ReplayBudget,
    pub(super) replayed: u64,
    gaps: Vec<Gap>,
    /// The topics whose missed samples were looked for: several patterns may match one.
    visited: HashSet<u32>,
    /// Bytes replayed on topics that the session was subscribed to already.
    repaired_bytes: usize,
}

/// The replay budget left to a session, which bounds its queued data.
#[derive(Debug)]
struct ReplayBudget {
    bytes: usize,
    samples: usize,
}

impl Default for ReplayBudget {
    fn default() -> Self {
        ReplayBudget { bytes: limits::REPLAY_CLIENT_BYTES, samples: REPLAY_CLIENT_SAMPLES }
    }
}

impl ResumeState {
    /// Creates the state for a `resume` request received at `now` (monotonic).
    pub(super) fn new(cursors: Vec<Cursor>, age: Duration, now: Duration) -> ResumeState {
        ResumeState {
            cursors: cursors.into_iter().map(|cursor| (cursor.source, cursor.seq)).collect(),
            since: now.saturating_sub(age),
            at: now,
            ..ResumeState::default()
        }
    }

    /// Whether the client has a cursor of this writer.
    pub(super) fn has_cursor_of(&self, writer: Guid) -> bool {
        self.cursors.contains_key(&writer)
    }

    /// Whether missed samples of a topic that the session is subscribed to already are still to be replayed: every
    /// sample of the topic counts, the client sent a cursor of one of its writers, and no earlier `subscribe` after
    /// this `resume` matched it.
    pub(super) fn may_repair(&self, topic: &Topic, throttled: bool) -> bool {
        let counts = !throttled && topic.route.delivery == Delivery::Every;
        let is_new = !self.visited.contains(&topic.info.id);
        counts && is_new && topic.ring.newest().any(|(writer, _)| self.has_cursor_of(writer))
    }

    /// Returns the samples replayed and the gaps found since the last call, and resets the budget.
    pub(super) fn take_report(&mut self) -> (u64, Vec<Gap>) {
        self.budget = ReplayBudget::default();
        (std::mem::take(&mut self.replayed), std::mem::take(&mut self.gaps))
    }

    /// The samples of a topic that the session missed, each with its replayed or stored flag.
    pub(super) fn missing_samples(&mut self, topic: &Topic, throttled: bool) -> Vec<(RawSample, u8)> {
        self.visited.insert(topic.info.id);
        let stored = topic.retained().into_iter().map(|sample| (sample.id, sample)).collect();
        let cursor = |writer: &Guid| self.cursors.get(writer).copied();
        let Replay { samples, gaps } = topic.ring.replay(cursor, self.since, stored);
        if throttled || topic.route.delivery == Delivery::Latest {
            // The session expects intermediate values to be skipped here: only the newest one is missing.
            return samples.into_iter().last().map(|sample| (sample, FLAG_STORED)).into_iter().collect();
        }
        let id = topic.info.id;
        let gaps = gaps.into_iter().map(|(source, after, before)| Gap { topic: id, source, after, before });
        self.gaps.extend(gaps);
        let fitting = self.budget.charge(&samples);
        self.record_gaps(id, &samples[..samples.len() - fitting]);
        let flag = |sample: &RawSample| match topic.ring.holds(sample.id) {
            true => FLAG_REPLAYED,
            false => FLAG_STORED,
        };
        let first = samples.len() - fitting;
        samples.into_iter().skip(first).map(|sample| (flag(&sample), sample)).map(|(f, s)| (s, f)).collect()
    }

    /// The oldest samples that the session missed on a topic that it is subscribed to, as far as they fit a repair.
    pub(super) fn samples_to_repair(&mut self, topic: &Topic) -> Vec<RawSample> {
        self.visited.insert(topic.info.id);
        let cursor = |writer: &Guid| self.cursors.get(writer).copied();
        // Of writers without a cursor nothing is missing, and neither is a stored value.
        let Replay { samples, gaps } = topic.ring.replay(cursor, Duration::MAX, Vec::new());
        let id = topic.info.id;
        self.gaps.extend(gaps.into_iter().map(|(source, after, before)| Gap {
            topic: id,
            source,
            after,
            before,
        }));
        let mut fitting = Vec::new();
        for sample in samples {
            let bytes = sample.payload.len() + REPLAY_SAMPLE_OVERHEAD_BYTES;
            // The first one always fits: a large one would never be replayed else.
            if self.repaired_bytes > 0 && self.repaired_bytes + bytes > REPAIR_BYTES {
                break;
            }
            self.repaired_bytes += bytes;
            fitting.push(sample);
        }
        fitting
    }

    /// Records gaps for the samples that exceed the budget.
    fn record_gaps(&mut self, topic: u32, samples: &[RawSample]) {
        let mut spans: HashMap<Guid, (u64, u64)> = HashMap::new();
        for sample in samples {
            let span = spans.entry(sample.id.source).or_insert((sample.id.seq, sample.id.seq));
            span.1 = span.1.max(sample.id.seq);
        }
        self.gaps.extend(spans.into_iter().map(|(source, (first, last))| Gap {
            topic,
            source,
            after: first.saturating_sub(1),
            before: last.saturating_add(1),
        }));
    }
}

impl ReplayBudget {
    /// Returns how many of the newest samples fit, and charges them to the budget.
    fn charge(&mut self, samples: &[RawSample]) -> usize {
        let mut fitting = 0;
        for sample in samples.iter().rev() {
            let bytes = sample.payload.len() + REPLAY_SAMPLE_OVERHEAD_BYTES;
            if self.samples == 0 || bytes > self.bytes {
                break;
            }
            (self.bytes, self.samples) = (self.bytes - bytes, self.samples - 1);
            fitting += 1;
        }
        fitting
    }
}
