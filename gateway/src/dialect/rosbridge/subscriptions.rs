//! The subscriptions of one session: several subscriptions of one topic are merged into one for the hub.

use std::collections::{BTreeMap, HashMap};

use roverline_protocol::limits;

use crate::dialect::rosbridge::error::Limit;
use crate::dialect::rosbridge::malformed::MalformedMessage;
use crate::dialect::rosbridge::request::Subscribe;
use crate::dialect::rosbridge::{Compression, SampleFormat};
use crate::hub::SubscribeOptions;

/// The options of one component's subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ComponentOptions {
    throttle_ms: f64,
    /// Zero: bounded only by the outbox.
    queue_length: u32,
    fragment_bytes: Option<u32>,
    pub(super) compression: Compression,
}

/// One topic.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// The client writes it without its slash.
    pub(super) relative: bool,
    /// The type that the client named.
    pub(super) type_name: Option<String>,
    /// Whether the hub has the subscription; a topic of another type than expected is not subscribed.
    pub(super) attached: bool,
    /// By the subscription's id.
    components: BTreeMap<Option<String>, ComponentOptions>,
}

/// All subscriptions of a session.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    pub(super) topics: HashMap<String, Topic>,
    count: usize,
}

impl ComponentOptions {
    /// From a client's request; values out of range are clamped.
    pub(super) fn new(request: &Subscribe) -> Result<ComponentOptions, MalformedMessage> {
        let count = |number: Option<f64>| number.filter(|n| *n >= 1.0).map(|n| n.min(u32::MAX.into()) as u32);
        let compression = compression(request.compression.as_deref())?;
        Ok(ComponentOptions {
            throttle_ms: request.throttle_rate.unwrap_or(0.0).clamp(0.0, 1e6),
            queue_length: count(request.queue_length).unwrap_or(0),
            fragment_bytes: count(request.fragment_size),
            compression,
        })
    }
}

/// A compression by its name.
pub(super) fn compression(name: Option<&str>) -> Result<Compression, MalformedMessage> {
    Ok(match name {
        None | Some("" | "none") => Compression::None,
        Some("png") => Compression::Png,
        Some("cbor") => Compression::Cbor,
        Some("cbor-raw") => Compression::CborRaw,
        Some(_) => return Err(MalformedMessage::Form("a compression is none, png, cbor or cbor-raw")),
    })
}

/// The power of two below a fragment size: clients that choose nearly the same one share their frames.
fn shared_size(bytes: u32) -> u32 {
    bytes.checked_ilog2().map_or(0, |power| 1 << power)
}

impl Topic {
    /// The options that suit all components: the lowest throttle rate, the smallest fragments, the
    /// longest queue.
    pub(super) fn subscribe_options(&self, name: &str) -> SubscribeOptions {
        let all = || self.components.values();
        let throttle_ms = all().map(|options| options.throttle_ms).fold(f64::INFINITY, f64::min);
        let unbounded = all().any(|options| options.queue_length == 0);
        let longest = all().map(|options| options.queue_length).max();
        let format = SampleFormat {
            compression: self.compression(),
            fragment_bytes: all().filter_map(|options| options.fragment_bytes).min().map(shared_size),
            relative: self.relative,
        };
        SubscribeOptions {
            patterns: vec![name.to_owned()],
            // A shorter interval is no throttle.
            max_rate_hz: (throttle_ms >= 0.1 && throttle_ms.is_finite()).then(|| 1_000.0 / throttle_ms),
            scopes: None,
            type_name: None,
            format: Some(format.frame_format()),
            queue_length: longest.filter(|_| !unbounded),
        }
    }

    pub(super) fn compression(&self) -> Compression {
        self.components.values().map(|options| options.compression).max().unwrap_or_default()
    }
}

impl Subscriptions {
    /// Adds a component's subscription; it replaces one of the same id.
    pub(super) fn add(
        &mut self,
        topic: &str,
        id: Option<String>,
        options: ComponentOptions,
    ) -> Result<&mut Topic, Limit> {
        let known = self.topics.get(topic).is_some_and(|topic| topic.components.contains_key(&id));
        if !known && self.count >= limits::PATTERNS_PER_SESSION {
            return Err(Limit::Subscriptions);
        }
        self.count += usize::from(!known);
        let topic = self.topics.entry(topic.to_owned()).or_default();
        topic.components.insert(id, options);
        Ok(topic)
    }

    /// Removes a component's subscription, or all of the topic; returns what is left of it. `None` if
    /// there was no such subscription.
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

    fn options(throttle: f64, queue: f64, fragment: Option<f64>, compression: &str) -> ComponentOptions {
        ComponentOptions::new(&Subscribe {
            throttle_rate: Some(throttle),
            queue_length: Some(queue),
            fragment_size: fragment,
            compression: Some(compression.to_owned()),
            ..Subscribe::default()
        })
        .unwrap()
    }

    fn format(topic: &Topic) -> SampleFormat {
        SampleFormat::from_options(topic.subscribe_options("/a").format.unwrap().options())
    }

    #[test]
    fn several_subscriptions_of_a_topic_are_one() {
        let mut all = Subscriptions::default();
        let mut add = |id: &str, options| {
            all.add("/a", Some(id.to_owned()), options).map(|topic| topic.subscribe_options("/a"))
        };
        let merged = add("1", options(500.0, 5.0, Some(4_000.0), "none")).unwrap();
        assert_eq!((merged.max_rate_hz, merged.queue_length), (Some(2.0), Some(5)));
        let merged = add("2", options(100.0, 1.0, Some(900.0), "png")).unwrap();
        assert_eq!((merged.max_rate_hz, merged.queue_length), (Some(10.0), Some(5)));
        let topic = all.add("/a", None, options(0.0, 0.0, None, "cbor")).unwrap();
        assert_eq!(
            (topic.subscribe_options("/a").max_rate_hz, topic.subscribe_options("/a").queue_length),
            (None, None)
        );
        assert_eq!((format(topic).compression, format(topic).fragment_bytes), (Compression::Cbor, Some(512)));
        let left = all.remove("/a", &Some("2".to_owned())).unwrap().unwrap();
        assert_eq!(format(left).fragment_bytes, Some(2_048));
        assert!(all.remove("/a", &Some("2".to_owned())).is_none());
        assert!(all.remove("/a", &None).unwrap().is_none());
        assert_eq!((all.count, all.topics.len()), (0, 0));
        assert!(compression(Some("zip")).is_err());
    }

    #[test]
    fn ten_thousand_are_refused_and_ids_may_come_again() {
        let mut all = Subscriptions::default();
        let one = options(0.0, 0.0, None, "none");
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
                    all.add(&topic, id, options(0.0, 0.0, None, "none")).unwrap();
                } else {
                    all.remove(&topic, &id);
                }
                prop_assert_eq!(all.count, all.topics.values().map(|topic| topic.components.len()).sum::<usize>());
                prop_assert!(all.topics.values().all(|topic| !topic.components.is_empty()));
            }
        }

        #[test]
        fn any_numbers_make_valid_options(throttle: f64, queue: f64, fragment: f64) {
            let mut all = Subscriptions::default();
            let merged = all.add("/a", None, options(throttle, queue, Some(fragment), "none")).unwrap().subscribe_options("/a");
            prop_assert!(merged.max_rate_hz.is_none_or(|rate| rate > 0.0 && rate <= 10_000.0));
        }
    }
}
