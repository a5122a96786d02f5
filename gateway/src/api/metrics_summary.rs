//! A summary of an endpoint's metrics.

use bytes::Bytes;
use roverline_protocol::api::MetricsDocument;
use roverline_source::clock::monotonic;

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::{links, topics};

/// The body of `GET /api/v2/metrics`, at most a second old.
pub(crate) async fn body(endpoint: &Endpoint) -> Bytes {
    if let Some(body) = endpoint.summary.fresh(monotonic()) {
        return body;
    }
    let document = summary(endpoint).await;
    // Our own documents always serialize.
    let body = Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
    endpoint.summary.store(body.clone(), monotonic());
    body
}

async fn summary(endpoint: &Endpoint) -> MetricsDocument {
    let system = endpoint.system.read().await;
    let health = endpoint.health();
    let all = endpoint.sessions();
    let sessions: Vec<_> = all.iter().map(|session| session.document()).collect();
    let (links, links_left_out) = links::documents(&all);
    let (nodes, nodes_left_out) = endpoint.node_ages.documents(monotonic());
    let (topics, topics_left_out) = topics::rates(endpoint);
    MetricsDocument {
        tier: endpoint.tier,
        status: health.endpoint.status,
        uptime_s: health.uptime_s,
        source: health.source,
        clients: health.endpoint.clients,
        max_clients: health.endpoint.max_clients,
        standbys: sessions.iter().filter(|session| session.standby).count(),
        queued_bytes: sessions.iter().map(|session| session.queued_bytes).sum(),
        counters: endpoint.counter_document(),
        dialects: endpoint.counters.dialects.documents(&sessions),
        cpu_s: system.process.cpu_s,
        resident_bytes: system.process.resident_bytes,
        process: system.process.clone(),
        runtime: endpoint.watchdog.document(),
        computer: system.computer.clone(),
        links,
        links_left_out,
        nodes,
        nodes_left_out,
        heartbeats: endpoint.heartbeats(),
        topics,
        topics_left_out,
    }
}
