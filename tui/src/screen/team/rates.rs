//! How many messages go into each queue and out of it in a minute, by the counts of the last minute.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use roverline_protocol::api::queues::QueueDocument;

/// The time that is measured.
const SPAN: Duration = Duration::from_secs(60);
/// Time between two samples.
const STEP: Duration = Duration::from_secs(1);
/// A rate needs this much time.
const LEAST: Duration = Duration::from_secs(5);
/// Queues that are measured.
const MAX_QUEUES: usize = 200;

/// The counts of a queue at a moment.
#[derive(Clone, Copy, Debug)]
struct Counts {
    at: Duration,
    /// Messages that ever came.
    inward: u64,
    /// Those that are gone again, by whatever way.
    outward: u64,
}

/// The counts of the last minute.
#[derive(Clone, Debug, Default)]
pub struct QueueRates {
    queues: BTreeMap<String, VecDeque<Counts>>,
    sampled: Option<Duration>,
}

impl QueueRates {
    /// Forgets everything: the counts were not followed for a while.
    pub fn clear(&mut self) {
        *self = QueueRates::default();
    }

    /// Takes the counts of now, at most once a second.
    pub fn sample(&mut self, now: Duration, queues: &[QueueDocument]) {
        if self.sampled.is_some_and(|at| now.saturating_sub(at) < STEP) {
            return;
        }
        self.sampled = Some(now);
        self.queues.retain(|name, _| queues.iter().any(|queue| queue.name == *name));
        for queue in queues.iter().take(MAX_QUEUES) {
            let counts = self.queues.entry(queue.name.clone()).or_default();
            let present = queue.ready + queue.in_flight + queue.delayed + queue.dead;
            let outward = queue.enqueued.saturating_sub(present as u64);
            // A queue that was deleted and made again counts from zero.
            if counts.back().is_some_and(|last| queue.enqueued < last.inward) {
                counts.clear();
            }
            counts.push_back(Counts { at: now, inward: queue.enqueued, outward });
            while counts.front().is_some_and(|first| now.saturating_sub(first.at) > SPAN) {
                counts.pop_front();
            }
        }
    }

    /// Messages in and out in a minute; `None` while too little time was measured.
    pub fn of(&self, queue: &str) -> Option<(f64, f64)> {
        let counts = self.queues.get(queue)?;
        let (first, last) = (counts.front()?, counts.back()?);
        let time = last.at.saturating_sub(first.at);
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 * 60.0 / time.as_secs_f64();
        (time >= LEAST).then(|| (rate(first.inward, last.inward), rate(first.outward, last.outward)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(enqueued: u64, ready: usize, dead: usize) -> QueueDocument {
        QueueDocument {
            name: "samples".to_owned(),
            ready,
            in_flight: 0,
            delayed: 0,
            dead,
            enqueued,
            oldest_ns: None,
            max_deliveries: 5,
            visibility_ms: 1_000,
            node_id: String::new(),
        }
    }

    #[test]
    fn what_comes_and_goes_in_a_minute() {
        let mut rates = QueueRates::default();
        let at = Duration::from_secs;
        for s in 0..200_u64 {
            // Two come each second, one goes.
            rates.sample(at(s), &[queue(2 * s, s as usize, 0)]);
            rates.sample(at(s) + Duration::from_millis(250), &[queue(9_999, 0, 0)]);
            assert_eq!(rates.of("samples").is_some(), s >= 5, "{s}");
            assert!(rates.queues["samples"].len() <= 61);
        }
        assert_eq!(rates.of("samples"), Some((120.0, 60.0)));
        // Dead messages are still there.
        rates.clear();
        for s in 0..10 {
            rates.sample(at(s), &[queue(s, 0, s as usize)]);
        }
        assert_eq!(rates.of("samples"), Some((60.0, 0.0)));
        rates.sample(at(20), &[queue(1, 1, 0)]);
        assert_eq!(rates.of("samples"), None, "another queue of that name");
        rates.sample(at(21), &[]);
        assert_eq!(rates.of("samples"), None);
    }
}
