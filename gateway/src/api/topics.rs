//! Topics: types, rates, publishers and subscribers.

use roverline_protocol::api::{QosDocument, TopicDetail, TopicEntry, TopicList};
use roverline_source::Graph;
use roverline_source::clock::monotonic;

use crate::api::error::ApiError;
use crate::api::query::Paging;
use crate::endpoint::Endpoint;
use crate::hub::Topic;

/// One page of the topics.
pub(crate) fn list(endpoint: &Endpoint, paging: &Paging) -> TopicList {
    let graph = endpoint.ros.graph();
    let (mut topics, total, next) = endpoint.hub.with_topics(|topics| {
        let (part, total, next) = paging.part(topics.collect(), |topic: &&mut Topic| &topic.info.name);
        (part.into_iter().map(entry).collect::<Vec<_>>(), total, next)
    });
    for topic in &mut topics {
        add_expected(topic, endpoint);
        add_nodes(topic, &graph);
    }
    TopicList { topics, total, next }
}

/// One topic, with its type's definition.
pub(crate) fn one(endpoint: &Endpoint, name: &str) -> Result<TopicDetail, ApiError> {
    let name = full(name);
    let topic = endpoint
        .hub
        .with_topics(|mut topics| Iterator::find(&mut topics, |topic| topic.info.name == name).map(entry));
    let mut topic = topic.ok_or_else(|| unknown(&name))?;
    add_expected(&mut topic, endpoint);
    add_nodes(&mut topic, &endpoint.ros.graph());
    let definition = endpoint.hub.registry().text(&topic.type_name).ok();
    Ok(TopicDetail { topic, definition: definition.map(|text| text.to_string()) })
}

/// The definition of a message type.
pub(crate) fn definition(endpoint: &Endpoint, type_name: &str) -> Result<String, ApiError> {
    let text = endpoint.hub.registry().text(type_name);
    Ok(text.map_err(|error| ApiError::not_found(error.to_string()))?.to_string())
}

/// The name with its leading slash.
pub(crate) fn full(name: &str) -> String {
    format!("/{}", name.trim_start_matches('/'))
}

/// The problem for an unknown topic.
pub(crate) fn unknown(name: &str) -> ApiError {
    ApiError::not_found(format!("no topic {name} in the scopes of this endpoint; see /api/v2/topics"))
}

fn entry(topic: &mut Topic) -> TopicEntry {
    let now = monotonic();
    let (samples, bytes) = topic.meter.totals();
    let (rate_hz, bandwidth_bytes_per_s) = topic.meter.rates(now);
    TopicEntry {
        name: topic.info.name.clone(),
        type_name: topic.info.type_name.clone(),
        scopes: topic.info.scopes,
        priority: topic.info.priority,
        delivery: topic.info.delivery,
        max_rate_hz: topic.route.max_rate_hz,
        expected_rate_hz: topic.route.expected_rate_hz,
        qos: QosDocument { reliable: topic.qos.reliable, transient_local: topic.qos.transient_local },
        schema: topic.decoder.is_some(),
        samples,
        bytes,
        rate_hz,
        bandwidth_bytes_per_s,
        age_s: topic.latest.as_ref().map(|latest| now.saturating_sub(latest.at).as_secs_f64()),
        publishers: Vec::new(),
        subscribers: Vec::new(),
        listeners: topic.subscriber_count(),
    }
}

/// An operator may expect another rate than the routing table.
fn add_expected(topic: &mut TopicEntry, endpoint: &Endpoint) {
    topic.expected_rate_hz = endpoint.alarms.expected_rate_hz(&topic.name, topic.expected_rate_hz);
}

fn add_nodes(topic: &mut TopicEntry, graph: &Graph) {
    if let Some(known) = graph.topic(&topic.name) {
        topic.publishers.clone_from(&known.publishers);
        topic.subscribers.clone_from(&known.subscribers);
    }
}
