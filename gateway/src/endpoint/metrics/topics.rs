//! Per-topic metrics, limited to topics with an expected rate and the most urgent ones, so that neither thousands of topics nor invented
//! names determine the cost of a scrape.

use roverline_protocol::Priority;
use roverline_protocol::api::metrics::TopicRateDocument;
use roverline_source::clock::monotonic;

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Exposition;
use crate::hub::Topic;

/// Topics with series of their own in `/metrics`, and in `/api/v2/metrics`; the least urgent are left out.
const METRICS_TOPICS: usize = 100;

/// The values exported for one topic.
struct TopicSeries {
    name: String,
    samples: u64,
    bytes: u64,
    rate_hz: f64,
    expected_rate_hz: Option<f64>,
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
    family("gauge", "roverline_topic_rate_hz", "Samples of a topic per second, recently.", |t| {
        Some(t.rate_hz)
    });
    family(
        "gauge",
        "roverline_topic_expected_rate_hz",
        "Samples per second that are expected of a topic; absent if none are.",
        |t| t.expected_rate_hz,
    );
    page.one(
        "gauge",
        "roverline_topics_without_series",
        "Topics in scope that have no series of their own because there are too many.",
        left_out as f64,
    );
}

/// The rates for `/api/v2/metrics`, sorted by name, and how many topics were left out.
pub(crate) fn rates(endpoint: &Endpoint) -> (Vec<TopicRateDocument>, usize) {
    let (topics, left_out) = series(endpoint);
    let document = |TopicSeries { name, rate_hz, expected_rate_hz, age_s, .. }| TopicRateDocument {
        name,
        rate_hz,
        expected_rate_hz,
        age_s,
    };
    (topics.into_iter().map(document).collect(), left_out)
}

/// The exported topics sorted by name, and how many were left out.
fn series(endpoint: &Endpoint) -> (Vec<TopicSeries>, usize) {
    let now = monotonic();
    endpoint.hub.with_topics(|topics| {
        let mut topics: Vec<&mut Topic> = topics.collect();
        let left_out = choose(&mut topics, |topic| {
            (topic.route.expected_rate_hz.is_none(), topic.info.priority, &topic.info.name)
        });
        let show = |topic: &mut Topic| {
            let (samples, bytes) = topic.meter.totals();
            TopicSeries {
                name: topic.info.name.clone(),
                samples,
                bytes,
                rate_hz: topic.meter.rates(now).0,
                expected_rate_hz: endpoint
                    .alarms
                    .expected_rate_hz(&topic.info.name, topic.route.expected_rate_hz),
                age_s: topic.latest.as_ref().map(|latest| now.saturating_sub(latest.at).as_secs_f64()),
                listeners: topic.subscriber_count(),
            }
        };
        (topics.into_iter().map(show).collect(), left_out)
    })
}

/// Keeps the topics whose rate is expected, then the most urgent ones, up to the limit, each name once; returns how many
/// were left out. The choice depends only on route and name, so series do not change between scrapes.
fn choose<T>(topics: &mut Vec<T>, key: impl Fn(&T) -> (bool, Priority, &String)) -> usize {
    topics.sort_by(|a, b| key(a).cmp(&key(b)));
    topics.dedup_by(|a, b| key(a).2 == key(b).2);
    let left_out = topics.len().saturating_sub(METRICS_TOPICS);
    topics.truncate(METRICS_TOPICS);
    topics.sort_by(|a, b| key(a).2.cmp(key(b).2));
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
        let is_expected = |name: &str| name == "/camera/149";
        let left_out = choose(&mut topics, |(priority, name)| (!is_expected(name), *priority, name));
        assert_eq!((topics.len(), left_out), (super::METRICS_TOPICS, 51));
        assert!(topics.iter().any(|(_, name)| name == "/z/stop"));
        assert!(topics.iter().any(|(_, name)| is_expected(name)));
        assert!(topics.is_sorted_by(|a, b| a.1 < b.1));
    }
}
