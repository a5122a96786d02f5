//! What a client that comes back is given: of each topic what it lacks, before anything live.

use std::collections::HashMap;
use std::time::Duration;

use roverline_protocol::native::{Cursor, FLAG_REPLAYED, FLAG_STORED, Gap};
use roverline_protocol::resume::Replay;
use roverline_protocol::{Delivery, Guid, limits};
use roverline_source::RawSample;

use crate::hub::fanout::{Encoder, Form, send};
use crate::hub::subscription::Subscriber;
use crate::hub::topic::Topic;
use crate::hub::{Hub, SubscriberId};

/// A `resume` holds for the subscriptions that follow it within this time.
const VALID: Duration = Duration::from_millis(limits::RESUME_VALID_MS);

/// What a session has, from when it resumed until it ends.
#[derive(Debug, Default)]
pub(crate) struct Resumed {
    cursors: HashMap<Guid, u64>,
    /// Of other writers it misses what came after this (monotonic).
    since: Duration,
    /// When it said so. What it subscribes much later has nothing to do with it.
    at: Duration,
    room: Room,
    replayed: u64,
    gaps: Vec<Gap>,
}

/// How much may still be replayed to a session: what waits for it is bounded.
#[derive(Debug)]
struct Room {
    bytes: usize,
    samples: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room { bytes: limits::REPLAY_CLIENT_BYTES, samples: limits::REPLAY_CLIENT_SAMPLES }
    }
}

impl Resumed {
    /// What a session said at `now` (monotonic).
    pub(super) fn new(cursors: Vec<Cursor>, age: Duration, now: Duration) -> Resumed {
        Resumed {
            cursors: cursors.into_iter().map(|cursor| (cursor.source, cursor.seq)).collect(),
            since: now.saturating_sub(age),
            at: now,
            ..Resumed::default()
        }
    }

    /// What has been replayed since this was asked last.
    pub(super) fn take_account(&mut self) -> (u64, Vec<Gap>) {
        self.room = Room::default();
        (std::mem::take(&mut self.replayed), std::mem::take(&mut self.gaps))
    }

    /// What the session lacks of a topic, and which of it was live once.
    fn lacks(&mut self, topic: &Topic, throttled: bool) -> Vec<(RawSample, u8)> {
        let stored = topic.stored().into_iter().map(|sample| (sample.id, sample)).collect();
        let cursor = |writer: &Guid| self.cursors.get(writer).copied();
        let Replay { samples, gaps } = topic.ring.replay(cursor, self.since, stored);
        if throttled || topic.route.delivery == Delivery::Latest {
            // Between the values that it got there were others before: the newest is all it misses.
            return samples.into_iter().last().map(|sample| (sample, FLAG_STORED)).into_iter().collect();
        }
        let id = topic.info.id;
        let gaps = gaps.into_iter().map(|(source, after, before)| Gap { topic: id, source, after, before });
        self.gaps.extend(gaps);
        let fitting = self.room.take(&samples);
        self.cut(id, &samples[..samples.len() - fitting]);
        let flag = |sample: &RawSample| match topic.ring.holds(sample.id) {
            true => FLAG_REPLAYED,
            false => FLAG_STORED,
        };
        let first = samples.len() - fitting;
        samples.into_iter().skip(first).map(|sample| (flag(&sample), sample)).map(|(f, s)| (s, f)).collect()
    }

    /// Names what there is no room for.
    fn cut(&mut self, topic: u32, samples: &[RawSample]) {
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

impl Room {
    /// How many of the newest fit; they are taken account of.
    fn take(&mut self, samples: &[RawSample]) -> usize {
        let mut fitting = 0;
        for sample in samples.iter().rev() {
            let bytes = sample.payload.len() + limits::REPLAY_SAMPLE_OVERHEAD_BYTES;
            if self.samples == 0 || bytes > self.bytes {
                break;
            }
            (self.bytes, self.samples) = (self.bytes - bytes, self.samples - 1);
            fitting += 1;
        }
        fitting
    }
}

impl Hub {
    /// The session resumes: topics that it subscribes from now on are replayed from where its cursors
    /// stand, and writers without one from `age` ago.
    pub fn resume(&self, id: SubscriberId, cursors: Vec<Cursor>, age: Duration) {
        let now = roverline_source::clock::monotonic();
        if let Some(subscriber) = self.lock().subscribers.get_mut(&id) {
            subscriber.resumed = Some(Resumed::new(cursors, age, now));
        }
    }

    /// Sends a newly connected subscriber what it lacks of a topic.
    pub(super) fn catch_up(
        &self,
        topic: &Topic,
        listener: (Form, Option<u32>),
        subscriber: &mut Subscriber,
        throttled: bool,
    ) {
        let now = roverline_source::clock::monotonic();
        subscriber.resumed.take_if(|resumed| now.saturating_sub(resumed.at) > VALID);
        let Some(resumed) = &mut subscriber.resumed else {
            for sample in topic.stored() {
                self.send_stored(topic, listener, &subscriber.outbox, &sample);
            }
            return;
        };
        for (sample, flag) in resumed.lacks(topic, throttled) {
            if flag == FLAG_STORED {
                self.send_stored(topic, listener, &subscriber.outbox, &sample);
                continue;
            }
            let mut encoder = Encoder::new(&topic.info, topic.plan.as_deref(), &sample, flag);
            let (form, queue_length) = listener;
            send(&topic.info, queue_length, &subscriber.outbox, encoder.frame(form), now);
            if let Some(resumed) = &mut subscriber.resumed {
                resumed.replayed += 1;
            }
        }
    }
}

/// Lets go of samples until all rings together hold what an endpoint may: the least urgent first, of
/// those the fullest. Somewhat more than needed, so that it is rarely done.
pub(super) fn shrink(topics: &mut HashMap<u32, Topic>, total: &mut usize) {
    let goal = limits::REPLAY_BYTES / 8 * 7;
    while *total > goal {
        let fullest = |topic: &&mut Topic| (topic.route.priority, topic.ring.bytes());
        let Some(topic) = topics.values_mut().filter(|topic| !topic.ring.is_empty()).max_by_key(fullest)
        else {
            return;
        };
        while *total > goal
            && let Some(freed) = topic.ring.pop()
        {
            *total -= freed;
        }
    }
}

#[cfg(test)]
mod tests;
