//! The first messages of new writers, held until the known readers match. A volatile message never reaches a reader
//! that matches after it was written.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use roverline_protocol::Guid;

use crate::Qos;
use crate::dds::engine::{Discovered, Names};
use crate::dds::outgoing::Outgoing;

/// How long a message waits for its readers.
const MATCH_TIMEOUT_MS: u64 = 500;
/// Interval at which the matches are checked meanwhile.
pub(super) const POLL_MS: u64 = 5;
/// Messages of one topic that wait; with one more, all are sent.
const MAX_HELD: usize = 64;

/// The messages that wait, by topic.
#[derive(Default)]
pub(super) struct FirstMessages(HashMap<String, Held>);

struct Held {
    until: Instant,
    readers: BTreeSet<Guid>,
    messages: VecDeque<Outgoing>,
}

impl FirstMessages {
    /// Whether messages wait.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A writer has been opened whose readers `readers` are known.
    pub(super) fn opened(&mut self, topic: &str, readers: BTreeSet<Guid>, now: Instant) {
        if !readers.is_empty() {
            let until = now + Duration::from_millis(MATCH_TIMEOUT_MS);
            self.0.insert(topic.to_owned(), Held { until, readers, messages: VecDeque::new() });
        }
    }

    /// Holds a message if its topic waits; otherwise returns what is to be sent now, in order.
    pub(super) fn hold(&mut self, message: Outgoing) -> VecDeque<Outgoing> {
        let Some(held) = self.0.get_mut(&message.topic) else { return VecDeque::from([message]) };
        held.messages.push_back(message);
        if held.messages.len() <= MAX_HELD {
            return VecDeque::new();
        }
        let topic = held.messages.front().map(|message| message.topic.clone()).unwrap_or_default();
        self.0.remove(&topic).map(|held| held.messages).unwrap_or_default()
    }

    /// The messages that wait no longer: all their readers match, or the time is over. `matched` are the readers
    /// that match a topic's writer.
    pub(super) fn ready(
        &mut self,
        now: Instant,
        mut matched: impl FnMut(&str) -> BTreeSet<Guid>,
    ) -> VecDeque<Outgoing> {
        let mut ready = VecDeque::new();
        self.0.retain(|topic, held| {
            let wait = held.until > now && !held.readers.is_subset(&matched(topic));
            if !wait {
                ready.append(&mut held.messages);
            }
            wait
        });
        ready
    }
}

/// The readers that a writer of this QoS will match.
pub(super) fn readers_of(readers: Vec<Discovered>, names: &Names, qos: Qos) -> BTreeSet<Guid> {
    let served = |reader: &Discovered| {
        reader.topic == names.0
            && reader.type_name == names.1
            && reader.qos.reliable <= qos.reliable
            && reader.qos.transient_local <= qos.transient_local
    };
    readers.into_iter().filter(served).map(|reader| reader.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: Guid = Guid([3; 16]);

    fn message(topic: &str, n: i64) -> Outgoing {
        Outgoing {
            topic: topic.into(),
            type_name: "std_msgs/msg/Bool".into(),
            qos: Qos::default(),
            payload: None,
            source_time_ns: n,
            keeper: Default::default(),
        }
    }

    fn numbers(messages: &VecDeque<Outgoing>) -> Vec<i64> {
        messages.iter().map(|message| message.source_time_ns).collect()
    }

    #[test]
    fn messages_wait_for_their_readers_in_order() {
        let (mut first, now) = (FirstMessages::default(), Instant::now());
        first.opened("/a", [READER].into(), now);
        first.opened("/b", BTreeSet::new(), now);
        assert!(first.hold(message("/a", 1)).is_empty() && first.hold(message("/a", 2)).is_empty());
        assert_eq!(numbers(&first.hold(message("/b", 3))), [3], "no reader to wait for");
        assert!(first.ready(now, |_| BTreeSet::new()).is_empty());
        assert_eq!(numbers(&first.ready(now, |_| [READER].into())), [1, 2]);
        assert!(first.is_empty());
        assert_eq!(numbers(&first.hold(message("/a", 4))), [4]);
    }

    #[test]
    fn a_wait_is_bounded_in_time_and_number() {
        let (mut first, now) = (FirstMessages::default(), Instant::now());
        first.opened("/a", [READER].into(), now);
        for n in 0..MAX_HELD as i64 {
            assert!(first.hold(message("/a", n)).is_empty());
        }
        assert_eq!(first.hold(message("/a", 64)).len(), MAX_HELD + 1);
        first.opened("/a", [READER].into(), now);
        assert!(first.hold(message("/a", 1)).is_empty());
        let later = now + Duration::from_millis(MATCH_TIMEOUT_MS);
        assert_eq!(numbers(&first.ready(later, |_| BTreeSet::new())), [1]);
    }

    #[test]
    fn only_readers_that_the_writer_can_serve_are_waited_for() {
        let names = ("rt/a".to_owned(), "std_msgs::msg::dds_::Bool_".to_owned());
        let reader = |id: u8, topic: &str, type_name: &str, reliable, transient_local| Discovered {
            id: Guid([id; 16]),
            topic: topic.into(),
            type_name: type_name.into(),
            qos: Qos { reliable, transient_local },
            history_depth: None,
        };
        let readers = vec![
            reader(1, "rt/a", &names.1, true, false),
            reader(2, "rt/a", &names.1, true, true),
            reader(3, "rt/b", &names.1, true, false),
            reader(4, "rt/a", "other", false, false),
            reader(5, "rt/a", &names.1, false, false),
        ];
        let of = |qos| readers_of(readers.clone(), &names, qos).iter().map(|id| id.0[0]).collect::<Vec<_>>();
        assert_eq!(of(Qos { reliable: true, transient_local: false }), [1, 5]);
        assert_eq!(of(Qos { reliable: true, transient_local: true }), [1, 2, 5]);
    }
}
