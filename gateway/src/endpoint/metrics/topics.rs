//! Per-topic metrics, limited to the most urgent topics so that neither thousands of topics nor invented
//! names determine the cost of a scrape.

use roverline_protocol::Priority;
use roverline_source::clock::monotonic;

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Exposition;
use crate::hub::Topic;

/// Topics with series of their own in `/metrics`; the least urgent are left out.
const METRICS_TOPICS: usize = 100;

/// The values exported for one topic.
struct TopicSeries {
    name: String,
    samples: u64,
    bytes: u64,
    age_s: Option<f64>,
    listeners: usize,
}

pub(crate) fn render(page: &mut Exposition, endpoint: &Endpoint) {
    let (topics, left_out) = series(endpoint);
    let mut family = |kind, name, help, value: fn(&TopicSeries) -> Option<f64>| {
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

/// The exported topics sorted by name, and how many were left out.
fn series(endpoint: &Endpoint) -> (Vec<TopicSeries>, usize) {
    let now = monotonic();
    endpoint.hub.with_topics(|topics| {
        let mut topics: Vec<&mut Topic> = topics.collect();
        let left_out = choose(&mut topics, |topic| (topic.info.priority, &topic.info.name));
        let show = |topic: &mut Topic| {
            let (samples, bytes) = topic.meter.totals();
            TopicSeries {
                name: topic.info.name.clone(),
                samples,
                bytes,
                age_s: topic.latest.as_ref().map(|latest| now.saturating_sub(latest.at).as_secs_f64()),
                listeners: topic.subscriber_count(),
            }
        };
        (topics.into_iter().map(show).collect(), left_out)
    })
}

/// Keeps the most urgent topics up to the limit, each name once; returns how many were left out. The choice
/// depends only on priority and name, so series do not change between scrapes.
fn choose<T>(topics: &mut Vec<T>, key: impl Fn(&T) -> (Priority, &String)) -> usize {
    topics.sort_by(|a, b| key(a).cmp(&key(b)));
    topics.dedup_by(|a, b| key(a).1 == key(b).1);
    let left_out = topics.len().saturating_sub(METRICS_TOPICS);
    topics.truncate(METRICS_TOPICS);
    topics.sort_by(|a, b| key(a).1.cmp(key(b).1));
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_topics_are_exported() {
        let mut topics: Vec<_> = (0..150).map(|n| (Priority::Sensors, format!("/camera/{n:03}"))).collect();
        topics.push((Priority::Emergency, "/z/stop".to_owned()));
        topics.push((Priority::Sensors, "/camera/000".to_owned()));
        let left_out = choose(&mut topics, |(priority, name)| (*priority, name));
        assert_eq!((topics.len(), left_out), (super::METRICS_TOPICS, 51));
        assert!(topics.iter().any(|(_, name)| name == "/z/stop"));
        assert!(topics.is_sorted_by(|a, b| a.1 < b.1));
    }
}
