//! The newest message of each topic that the program publishes, until the serving endpoint's connection takes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

/// Topics that wait at a time.
const WAITING_TOPICS: usize = 64;

/// A message that is to be published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Publication {
    pub(crate) type_name: String,
    pub(crate) body: Value,
    /// It is useless after this time.
    pub(crate) ttl: Duration,
    pub(crate) token: Option<u64>,
}

/// The messages that wait, shared by the handle and the manager.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publications(Arc<Mutex<BTreeMap<String, (Publication, Instant)>>>);

impl Publications {
    /// Puts a message of a topic, in place of one that still waits. Returns whether nothing waited before, so that the
    /// manager has to know.
    pub(crate) fn put(&self, topic: &str, publication: Publication, now: Instant) -> bool {
        let mut waiting = self.0.lock();
        if waiting.len() >= WAITING_TOPICS && !waiting.contains_key(topic) {
            tracing::warn!(topic, "too many topics wait to be published");
            return false;
        }
        let was_empty = waiting.is_empty();
        waiting.insert(topic.to_owned(), (publication, now));
        was_empty
    }

    /// Takes a message that is not too old at `now`, with its topic and its age.
    pub(crate) fn take(&self, now: Instant) -> Option<(String, Publication, Duration)> {
        let mut waiting = self.0.lock();
        while let Some((topic, (publication, at))) = waiting.pop_first() {
            let age = now.saturating_duration_since(at);
            if age <= publication.ttl {
                return Some((topic, publication, age));
            }
        }
        None
    }

    /// Puts back a message that could not be sent, unless there is a newer one.
    pub(crate) fn put_back(&self, topic: String, publication: Publication, at: Instant) {
        self.0.lock().entry(topic).or_insert((publication, at));
    }

    /// True while messages wait.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.0.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn publication(n: u64) -> Publication {
        let ttl = Duration::from_millis(100);
        Publication { type_name: String::new(), body: json!(n), ttl, token: None }
    }

    #[test]
    fn the_newest_counts_and_what_is_too_old_is_dropped() {
        let (waiting, start) = (Publications::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(waiting.put("/a", publication(1), start), "the manager has to know");
        assert!(!waiting.put("/a", publication(2), at(50)));
        assert!(!waiting.put("/b", publication(3), at(50)));
        let (topic, taken, age) = waiting.take(at(60)).unwrap();
        assert_eq!((topic.as_str(), &taken.body, age.as_millis()), ("/a", &json!(2), 10));
        assert!(waiting.take(at(151)).is_none() && !waiting.is_waiting(), "too old");
        waiting.put("/a", publication(5), at(200));
        waiting.put_back(topic, taken, at(50));
        assert_eq!(waiting.take(at(200)).unwrap().1.body, json!(5));
        for n in 0..1_000 {
            waiting.put(&format!("/{n}"), publication(n), start);
        }
        assert_eq!(waiting.0.lock().len(), WAITING_TOPICS);
    }
}
