//! The series of topics: of so many at most, the most urgent first, so that neither a rover with
//! thousands of topics nor one that makes up names decides what a scrape costs.

use roverline_protocol::{Priority, limits};
use roverline_source::clock::monotonic;

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Page;
use crate::hub::Topic;

/// What is shown of a topic.
struct Shown {
    name: String,
    samples: u64,
    bytes: u64,
    age_s: Option<f64>,
    listeners: usize,
}

pub(crate) fn render(page: &mut Page, endpoint: &Endpoint) {
    let (topics, left_out) = shown(endpoint);
    let mut family = |kind, name, help, value: fn(&Shown) -> Option<f64>| {
        page.family(kind, name, help);
        for topic in &topics {
            if let Some(value) = value(topic) {
                page.sample(name, &[("topic", &topic.name)], value);
            }
        }
    };
    family("counter", "roverline_topic_samples_total", "Samples of a topic.", |t| Some(t.samples as f64));
    family("counter", "roverline_topic_bytes_total", "Bytes of a topic.", |t| Some(t.bytes as f64));
    family(
        "gauge",
        "roverline_topic_age_seconds",
        "Since the newest sample of a topic; absent before the first.",
        |t| t.age_s,
    );
    family("gauge", "roverline_topic_listeners", "Sessions that listen to a topic.", |t| {
        Some(t.listeners as f64)
    });
    page.one(
        "gauge",
        "roverline_topics_without_series",
        "Topics in scope that have no series of their own because there are too many.",
        left_out as f64,
    );
}

/// The topics with series of their own, by name, and how many have none.
fn shown(endpoint: &Endpoint) -> (Vec<Shown>, usize) {
    let now = monotonic();
    endpoint.hub.with_topics(|topics| {
        let mut topics: Vec<&mut Topic> = topics.collect();
        let left_out = choose(&mut topics, |topic| (topic.info.priority, &topic.info.name));
        let show = |topic: &mut Topic| {
            let (samples, bytes) = topic.meter.totals();
            Shown {
                name: topic.info.name.clone(),
                samples,
                bytes,
                age_s: topic.latest.as_ref().map(|latest| now.saturating_sub(latest.at).as_secs_f64()),
                listeners: topic.listeners.len(),
            }
        };
        (topics.into_iter().map(show).collect(), left_out)
    })
}

/// Keeps as many as there may be, each name once, the most urgent first; how many are left out. Which
/// they are depends on names only: series do not come and go with every scrape.
fn choose<T>(topics: &mut Vec<T>, key: impl Fn(&T) -> (Priority, &String)) -> usize {
    topics.sort_by(|a, b| key(a).cmp(&key(b)));
    topics.dedup_by(|a, b| key(a).1 == key(b).1);
    let left_out = topics.len().saturating_sub(limits::METRICS_TOPICS);
    topics.truncate(limits::METRICS_TOPICS);
    topics.sort_by(|a, b| key(a).1.cmp(key(b).1));
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urgent_ones_stay() {
        let mut topics: Vec<_> = (0..150).map(|n| (Priority::Sensors, format!("/camera/{n:03}"))).collect();
        topics.push((Priority::Emergency, "/z/stop".to_owned()));
        topics.push((Priority::Sensors, "/camera/000".to_owned()));
        let left_out = choose(&mut topics, |(priority, name)| (*priority, name));
        assert_eq!((topics.len(), left_out), (limits::METRICS_TOPICS, 51));
        assert!(topics.iter().any(|(_, name)| name == "/z/stop"));
        assert!(topics.is_sorted_by(|a, b| a.1 < b.1));
    }
}
