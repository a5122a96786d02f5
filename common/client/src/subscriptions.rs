//! The program's subscriptions. Handles change them, and the manager sends the difference: thousands of topics are
//! one message, and no full queue loses one of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use roverline_protocol::limits;
use roverline_protocol::topic_pattern::TopicPattern;
use tokio::sync::Notify;

/// Bytes of patterns in one message: a quarter of what an endpoint takes.
const PATTERN_BYTES_PER_MESSAGE: usize = limits::INBOUND_MESSAGE_BYTES / 4;

/// One subscription.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Subscription {
    pub(crate) max_rate_hz: Option<f64>,
    /// Changes when the program subscribes anew.
    number: u64,
}

/// Subscriptions by pattern.
pub(crate) type ByPattern = BTreeMap<String, Subscription>;

#[derive(Debug, Default)]
struct Wanted {
    patterns: ByPattern,
    next_number: u64,
    is_changed: bool,
    /// The first pattern that was not taken, why, and how many there were.
    refused: Option<(String, String, usize)>,
}

/// The subscriptions that the program wants, shared by the link's handles and its manager.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscriptions {
    shared: Arc<Mutex<Wanted>>,
    changed: Arc<Notify>,
}

/// The changes since the manager last looked.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Changes {
    pub(crate) removed: Vec<String>,
    pub(crate) added: Vec<(Option<f64>, Vec<String>)>,
    /// The message for the program about patterns that were not accepted.
    pub(crate) refused: Option<String>,
}

impl Subscriptions {
    pub(crate) fn subscribe<S: AsRef<str>>(&self, patterns: &[S], max_rate_hz: Option<f64>) {
        let mut wanted = self.shared.lock();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            wanted.subscribe(pattern, max_rate_hz);
        }
        wanted.is_changed = true;
        self.changed.notify_one();
    }

    pub(crate) fn unsubscribe<S: AsRef<str>>(&self, patterns: &[S]) {
        let mut wanted = self.shared.lock();
        for pattern in patterns {
            wanted.patterns.remove(pattern.as_ref());
        }
        wanted.is_changed = true;
        self.changed.notify_one();
    }

    /// Waits until a handle has changed something.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The difference to `known`, which then is what is wanted.
    pub(crate) fn take_changes(&self, known: &mut ByPattern) -> Option<Changes> {
        let mut wanted = self.shared.lock();
        if !std::mem::take(&mut wanted.is_changed) {
            return None;
        }
        let is_gone = |(name, old): &(&String, &Subscription)| {
            wanted.patterns.get(*name).is_none_or(|new| new.number != old.number)
        };
        let removed = known.iter().filter(is_gone).map(|(name, _)| name.clone()).collect();
        let is_new = |(name, new): &(&String, &Subscription)| known.get(*name) != Some(*new);
        let added = by_rate(wanted.patterns.iter().filter(is_new));
        let refused = wanted.refused.take().map(|(pattern, why, count)| {
            let others = if count > 1 { format!(", and {} others", count - 1) } else { String::new() };
            format!("not subscribed: {pattern}{others}: {why}")
        });
        known.clone_from(&wanted.patterns);
        Some(Changes { removed, added, refused })
    }
}

impl Wanted {
    fn subscribe(&mut self, pattern: &str, max_rate_hz: Option<f64>) {
        let known = self.patterns.get(pattern);
        if known.is_some_and(|known| known.max_rate_hz == max_rate_hz) {
            return;
        }
        // One bad pattern must not cost the others of its message.
        let refused = match TopicPattern::parse(pattern) {
            Err(error) => Some(error.to_string()),
            Ok(_) if known.is_none() && self.patterns.len() >= limits::PATTERNS_PER_SESSION => {
                Some(format!("an endpoint takes {} subscriptions", limits::PATTERNS_PER_SESSION))
            }
            Ok(_) => None,
        };
        if let Some(why) = refused {
            self.refused.get_or_insert_with(|| (pattern.to_owned(), why, 0)).2 += 1;
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.patterns.insert(pattern.to_owned(), Subscription { max_rate_hz, number });
    }
}

/// The patterns of each rate.
pub(crate) fn by_rate<'a>(
    patterns: impl Iterator<Item = (&'a String, &'a Subscription)>,
) -> Vec<(Option<f64>, Vec<String>)> {
    let mut by_rate: Vec<(Option<f64>, Vec<String>)> = Vec::new();
    for (pattern, Subscription { max_rate_hz, .. }) in patterns {
        match by_rate.iter_mut().find(|(other, _)| other == max_rate_hz) {
            Some((_, same)) => same.push(pattern.clone()),
            None => by_rate.push((*max_rate_hz, vec![pattern.clone()])),
        }
    }
    by_rate
}

/// Splits patterns into what fits one message.
pub(crate) fn messages(patterns: Vec<String>) -> Vec<Vec<String>> {
    let (mut all, mut bytes) = (Vec::<Vec<String>>::new(), 0);
    for pattern in patterns {
        bytes += pattern.len();
        match all.last_mut().filter(|_| bytes <= PATTERN_BYTES_PER_MESSAGE) {
            Some(last) => last.push(pattern),
            None => {
                bytes = pattern.len();
                all.push(vec![pattern]);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_sent_once_and_by_rate() {
        let (subscriptions, mut known) = (Subscriptions::default(), ByPattern::new());
        assert_eq!(subscriptions.take_changes(&mut known), None);
        subscriptions.subscribe(&["/a", "/b"], None);
        subscriptions.subscribe(&["/c"], Some(2.0));
        let changes = subscriptions.take_changes(&mut known).unwrap();
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(changes.added, [(None, of(&["/a", "/b"])), (Some(2.0), of(&["/c"]))]);
        subscriptions.subscribe(&["/a"], None);
        assert_eq!(subscriptions.take_changes(&mut known), Some(Changes::default()), "it is subscribed");
        subscriptions.unsubscribe(&["/b"]);
        subscriptions.unsubscribe(&["/a"]);
        subscriptions.subscribe(&["/a"], None);
        let changes = subscriptions.take_changes(&mut known).unwrap();
        assert_eq!((changes.removed, changes.added), (of(&["/a", "/b"]), vec![(None, of(&["/a"]))]), "anew");
    }

    #[test]
    fn what_is_not_taken_is_said() {
        let (subscriptions, mut known) = (Subscriptions::default(), ByPattern::new());
        let names: Vec<String> = (0..limits::PATTERNS_PER_SESSION + 3).map(|n| format!("/t{n}")).collect();
        subscriptions.subscribe(&names, None);
        let changes = subscriptions.take_changes(&mut known).unwrap();
        let why = changes.refused.unwrap();
        assert_eq!(why, "not subscribed: /t1024, and 2 others: an endpoint takes 1024 subscriptions");
        assert_eq!(known.len(), limits::PATTERNS_PER_SESSION);
        subscriptions.unsubscribe(&names);
        subscriptions.subscribe(&["/a[", "/b"], None);
        let changes = subscriptions.take_changes(&mut known).unwrap();
        assert!(changes.refused.unwrap().starts_with("not subscribed: /a[: "));
        assert_eq!(changes.added, [(None, vec!["/b".to_owned()])]);
    }

    #[test]
    fn a_message_is_never_too_long() {
        let patterns: Vec<String> = (0..1_024).map(|n| format!("/{n:0>1000}")).collect();
        let messages = messages(patterns.clone());
        assert!(
            messages.iter().all(|m| m.iter().map(String::len).sum::<usize>() <= PATTERN_BYTES_PER_MESSAGE)
        );
        assert_eq!((messages.len(), messages.concat()), (4, patterns));
    }
}
