//! What one session subscribes: several subscriptions of one topic are one to the hub.

use std::collections::{BTreeMap, HashMap};

use roverline_protocol::limits;

use crate::dialect::rosbridge::request::Subscribe;
use crate::dialect::rosbridge::{Compression, Form};
use crate::hub;

/// How one component of a client wants a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Terms {
    throttle_ms: f64,
    /// Zero: no bound but ours.
    queue_length: u32,
    fragment_bytes: Option<u32>,
    pub(super) compression: Compression,
}

/// One topic.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// Written without its slash.
    pub(super) relative: bool,
    /// As the client says.
    pub(super) type_name: Option<String>,
    /// Whether the hub knows of it; a topic of another type than wanted is not subscribed.
    pub(super) wired: bool,
    /// By the subscription's id.
    components: BTreeMap<Option<String>, Terms>,
}

/// All of a session's.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    pub(super) topics: HashMap<String, Topic>,
    count: usize,
}

impl Terms {
    /// From what a client says; what is out of range is taken for the nearest that is not.
    pub(super) fn new(wish: &Subscribe) -> Result<Terms, String> {
        let count = |number: Option<f64>| number.filter(|n| *n >= 1.0).map(|n| n.min(u32::MAX.into()) as u32);
        let compression = compression(wish.compression.as_deref())?;
        Ok(Terms {
            throttle_ms: wish.throttle_rate.unwrap_or(0.0).clamp(0.0, 1e6),
            queue_length: count(wish.queue_length).unwrap_or(0),
            fragment_bytes: count(wish.fragment_size),
            compression,
        })
    }
}

/// A compression by its name.
pub(super) fn compression(name: Option<&str>) -> Result<Compression, String> {
    Ok(match name {
        None | Some("" | "none") => Compression::None,
        Some("png") => Compression::Png,
        Some("cbor") => Compression::Cbor,
        Some("cbor-raw") => Compression::CborRaw,
        Some(_) => return Err("a compression is none, png, cbor or cbor-raw".to_owned()),
    })
}

impl Topic {
    /// What suits all components: the lowest throttle rate, the smallest pieces, the longest queue.
    pub(super) fn wish(&self, name: &str) -> hub::Wish {
        let all = || self.components.values();
        let throttle_ms = all().map(|terms| terms.throttle_ms).fold(f64::INFINITY, f64::min);
        let unbounded = all().any(|terms| terms.queue_length == 0);
        let longest = all().map(|terms| terms.queue_length).max();
        let form = Form {
            compression: self.compression(),
            fragment_bytes: all().filter_map(|terms| terms.fragment_bytes).min(),
            relative: self.relative,
        };
        hub::Wish {
            patterns: vec![name.to_owned()],
            // Faster than that is no throttle.
            max_rate_hz: (throttle_ms >= 0.1 && throttle_ms.is_finite()).then(|| 1_000.0 / throttle_ms),
            scopes: None,
            type_name: None,
            form: Some(hub::Form::Rosbridge(form)),
            queue_length: longest.filter(|_| !unbounded),
        }
    }

    pub(super) fn compression(&self) -> Compression {
        self.components.values().map(|terms| terms.compression).max().unwrap_or_default()
    }
}

impl Subscriptions {
    /// Adds a component's subscription; one of the same id gives way.
    pub(super) fn add(
        &mut self,
        topic: &str,
        id: Option<String>,
        terms: Terms,
    ) -> Result<&mut Topic, String> {
        let known = self.topics.get(topic).is_some_and(|topic| topic.components.contains_key(&id));
        if !known && self.count >= limits::PATTERNS_PER_SESSION {
            return Err(format!("a session may have {} subscriptions", limits::PATTERNS_PER_SESSION));
        }
        self.count += usize::from(!known);
        let topic = self.topics.entry(topic.to_owned()).or_default();
        topic.components.insert(id, terms);
        Ok(topic)
    }

    /// Takes a component's subscription back, or all of the topic; what is left of it. None if there
    /// was no such one.
    pub(super) fn remove(&mut self, topic: &str, id: &Option<String>) -> Option<Option<&mut Topic>> {
        let entry = self.topics.get_mut(topic)?;
        let gone = match id {
            None => std::mem::take(&mut entry.components).len(),
            Some(_) => usize::from(entry.components.remove(id).is_some()),
        };
        if gone == 0 {
            return None;
        }
        self.count -= gone;
        if entry.components.is_empty() {
            self.topics.remove(topic);
            return Some(None);
        }
        Some(self.topics.get_mut(topic))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(throttle: f64, queue: f64, fragment: Option<f64>, compression: &str) -> Terms {
        Terms::new(&Subscribe {
            throttle_rate: Some(throttle),
            queue_length: Some(queue),
            fragment_size: fragment,
            compression: Some(compression.to_owned()),
            ..Subscribe::default()
        })
        .unwrap()
    }

    fn form(topic: &Topic) -> Form {
        match topic.wish("/a").form {
            Some(hub::Form::Rosbridge(form)) => form,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn several_subscriptions_of_a_topic_are_one() {
        let mut all = Subscriptions::default();
        let mut add =
            |id: &str, terms| all.add("/a", Some(id.to_owned()), terms).map(|topic| topic.wish("/a"));
        let wish = add("1", terms(500.0, 5.0, Some(4_000.0), "none")).unwrap();
        assert_eq!((wish.max_rate_hz, wish.queue_length), (Some(2.0), Some(5)));
        let wish = add("2", terms(100.0, 1.0, Some(900.0), "png")).unwrap();
        assert_eq!((wish.max_rate_hz, wish.queue_length), (Some(10.0), Some(5)));
        let topic = all.add("/a", None, terms(0.0, 0.0, None, "cbor")).unwrap();
        assert_eq!((topic.wish("/a").max_rate_hz, topic.wish("/a").queue_length), (None, None));
        assert_eq!((form(topic).compression, form(topic).fragment_bytes), (Compression::Cbor, Some(900)));
        let left = all.remove("/a", &Some("2".to_owned())).unwrap().unwrap();
        assert_eq!(form(left).fragment_bytes, Some(4_000));
        assert!(all.remove("/a", &Some("2".to_owned())).is_none());
        assert!(all.remove("/a", &None).unwrap().is_none());
        assert_eq!((all.count, all.topics.len()), (0, 0));
        assert!(compression(Some("zip")).is_err());
    }

    #[test]
    fn ten_thousand_are_refused_and_ids_may_come_again() {
        let mut all = Subscriptions::default();
        let one = terms(0.0, 0.0, None, "none");
        let taken =
            (0..10_000).filter(|n| all.add(&format!("/t{}", n / 2), Some(n.to_string()), one).is_ok());
        assert_eq!(taken.count(), limits::PATTERNS_PER_SESSION);
        assert!(all.add("/t0", Some("0".to_owned()), one).is_ok());
        assert!(all.add("/t0", Some("new".to_owned()), one).is_err());
    }

    proptest! {
        #[test]
        fn the_count_is_right(steps in prop::collection::vec((any::<bool>(), 0..4u8, prop::option::of(0..4u8)), 0..80)) {
            let mut all = Subscriptions::default();
            for (add, topic, id) in steps {
                let (topic, id) = (format!("/{topic}"), id.map(|id| id.to_string()));
                if add {
                    all.add(&topic, id, terms(0.0, 0.0, None, "none")).unwrap();
                } else {
                    all.remove(&topic, &id);
                }
                prop_assert_eq!(all.count, all.topics.values().map(|topic| topic.components.len()).sum::<usize>());
                prop_assert!(all.topics.values().all(|topic| !topic.components.is_empty()));
            }
        }

        #[test]
        fn any_numbers_make_a_wish(throttle: f64, queue: f64, fragment: f64) {
            let mut all = Subscriptions::default();
            let wish = all.add("/a", None, terms(throttle, queue, Some(fragment), "none")).unwrap().wish("/a");
            prop_assert!(wish.max_rate_hz.is_none_or(|rate| rate > 0.0 && rate <= 10_000.0));
        }
    }
}
