//! A short summary of an endpoint's metrics.

use roverline_protocol::api::MetricsDocument;

use crate::endpoint::{Endpoint, memory, metrics};

/// The body of `GET /api/v2/metrics`.
pub(crate) fn summary(endpoint: &Endpoint) -> MetricsDocument {
    let health = endpoint.health();
    let sessions: Vec<_> = endpoint.sessions().iter().map(|session| session.document()).collect();
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
        cpu_s: metrics::cpu_s(),
        resident_bytes: Some(memory::document().resident_bytes),
    }
}
