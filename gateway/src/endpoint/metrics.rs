//! The `/metrics` page for Prometheus. Names follow its conventions: base units, a prefix, `_total`. Label
//! values are bounded: kinds, scopes, levels, peers and a limited number of topics; clients are never
//! labels.

mod alarms;
pub mod commands;
mod coordination;
pub mod dialects;
pub(super) mod exposition;
pub mod fairness;
pub mod histogram;
mod latency;
pub mod links;
mod log;
mod nodes;
mod quotas;
pub(crate) mod summary_cache;
mod system;
pub mod tls;
pub(crate) mod topics;
mod traces;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use roverline_protocol::api::DialectDocument;
use roverline_protocol::status::{EventKind, HealthStatus, Origin, PeerDocument, SessionDocument};

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Exposition;

/// The media type of the page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const STATUSES: [HealthStatus; 4] =
    [HealthStatus::Healthy, HealthStatus::Degraded, HealthStatus::Unhealthy, HealthStatus::Down];

/// Renders the whole page.
pub(crate) async fn render(endpoint: &Endpoint) -> String {
    let system = endpoint.system.read().await;
    let mut page = Exposition::default();
    status(&mut page, endpoint);
    counters(&mut page, endpoint);
    endpoint.counters.fairness.render(&mut page);
    endpoint.counters.tls.render(&mut page);
    endpoint.counters.commands.render(&mut page);
    endpoint.watchdog.render(&mut page);
    quotas::render(&mut page, &endpoint.coordination);
    coordination::render(&mut page, &endpoint.coordination);
    traces::render(&mut page, endpoint);
    alarms::render(&mut page, endpoint);
    log::render(&mut page, endpoint);
    let (wrong, limited) = endpoint.access.attempts().counts();
    let what = "Wrong tokens that clients showed.";
    page.one("counter", "roverline_wrong_tokens_total", what, wrong as f64);
    let what = "Wrong tokens beyond the limit of their address.";
    page.one("counter", "roverline_limited_tokens_total", what, limited as f64);
    let what = "Requests through a proxy that is not trusted, or that does not say for whom.";
    page.one(
        "counter",
        "roverline_unknown_proxy_requests_total",
        what,
        endpoint.access.proxies().unknown() as f64,
    );
    page.one(
        "counter",
        "roverline_encoding_dropped_total",
        "Large samples dropped because too many waited to be encoded, once for each client.",
        endpoint.hub.encoding_dropped() as f64,
    );
    let all = endpoint.sessions();
    links::render(&mut page, endpoint, &all);
    let sessions: Vec<_> = all.iter().map(|session| session.document()).collect();
    clients(&mut page, endpoint, &sessions);
    dialects(&mut page, endpoint, &sessions);
    topics::render(&mut page, endpoint);
    nodes::render(&mut page, endpoint);
    latency::render(&mut page, endpoint);
    peers(&mut page, &endpoint.peers.entries());
    page.family("counter", "roverline_events_total", "What happened, by kind.");
    let counts = endpoint.events.counts();
    // All of them, so that one that has not happened yet reads as zero.
    for kind in EventKind::ALL {
        let count = counts.get(&kind).copied().unwrap_or(0);
        page.sample("roverline_events_total", &[("kind", kind.word())], count as f64);
    }
    let name = "roverline_client_failover_blackout_seconds";
    page.family("histogram", name, "How long clients heard nothing when they went over to another endpoint.");
    page.histogram(name, &[], &endpoint.counters.failovers.snapshot());
    system::render(&mut page, endpoint, &system);
    page.finish()
}

fn status(page: &mut Exposition, endpoint: &Endpoint) {
    let health = endpoint.health();
    let own = &health.endpoint;
    let name = "roverline_build_info";
    page.family("gauge", name, "Always 1; the labels say what runs.");
    let labels = [
        ("version", own.version.as_str()),
        ("tier", own.tier.name()),
        ("source", endpoint.source_kind.name()),
    ];
    page.sample(name, &labels, 1.0);
    let name = "roverline_endpoint_status";
    page.family("gauge", name, "1 for the status that the endpoint has, 0 for the others.");
    for status in STATUSES {
        page.sample(name, &[("status", status.word())], f64::from(u8::from(own.status == status)));
    }
    let draining = f64::from(u8::from(own.draining));
    page.one(
        "gauge",
        "roverline_endpoint_draining",
        "1 while the endpoint asks its clients to leave.",
        draining,
    );
    let name = "roverline_endpoint_covers";
    page.family("gauge", name, "1 for every tier that this endpoint covers because it is down.");
    for tier in roverline_protocol::Tier::ALL {
        let covers = own.covers.contains(&tier);
        page.sample(name, &[("tier", tier.name())], f64::from(u8::from(covers)));
    }
    page.one("gauge", "roverline_uptime_seconds", "Since the process began to serve.", health.uptime_s);
    page.one("gauge", "roverline_topics", "Topics in scope.", health.source.topics as f64);
    let name = "roverline_source_age_seconds";
    page.family("gauge", name, "Since the newest sample of the source; absent before the first.");
    if let Some(age) = health.source.age_s {
        page.sample(name, &[], age);
    }
    let name = "roverline_scope_freshness_seconds";
    page.family("gauge", name, "Since the newest sample of a scope; absent before its first.");
    for (scope, age) in &health.freshness_s {
        page.sample(name, &[("scope", scope.name())], *age);
    }
}

fn counters(page: &mut Exposition, endpoint: &Endpoint) {
    let counters = endpoint.counter_document();
    for (name, help, value) in [
        ("roverline_connections_total", "Connections accepted.", counters.connections),
        (
            "roverline_refused_full_total",
            "Clients turned away because the endpoint was full.",
            counters.refused_full,
        ),
        ("roverline_bad_input_total", "Requests and messages that were not understood.", counters.bad_input),
        ("roverline_samples_total", "Samples from the source.", counters.samples),
        ("roverline_ingress_dropped_total", "Samples lost between source and hub.", counters.ingress_dropped),
        ("roverline_delivered_total", "Messages delivered to clients.", counters.delivered),
        ("roverline_dropped_total", "Samples not delivered to a slow client.", counters.dropped),
        ("roverline_shed_total", "Samples not sent because a link does not carry them.", counters.shed),
        ("roverline_replayed_total", "Samples replayed to clients that resumed.", counters.replayed),
        ("roverline_replay_missing_total", "Samples that could not be replayed.", counters.replay_missing),
        (
            "roverline_rejoins_total",
            "Times that the source joined the ROS graph anew for a writer that another endpoint hears.",
            endpoint.counters.rejoins.load(Ordering::Relaxed),
        ),
    ] {
        page.one("counter", name, help, value as f64);
    }
}

fn clients(page: &mut Exposition, endpoint: &Endpoint, sessions: &[SessionDocument]) {
    let standbys = sessions.iter().filter(|session| session.standby).count();
    let queued: usize = sessions.iter().map(|session| session.queued_bytes).sum();
    for (name, help, value) in [
        ("roverline_clients", "Clients now.", endpoint.capacity().clients()),
        ("roverline_clients_max", "Clients at most.", endpoint.capacity().max_clients()),
        ("roverline_standbys", "Sessions that only stand by.", standbys),
        ("roverline_queued_bytes", "Bytes that wait for clients.", queued),
    ] {
        page.one("gauge", name, help, value as f64);
    }
    let mut kinds: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for session in sessions {
        let level = serde_json::to_value(session.service).ok();
        let level = level.and_then(|level| level.as_str().map(str::to_owned)).unwrap_or_default();
        *kinds.entry((&session.dialect, level)).or_default() += 1;
    }
    let name = "roverline_sessions";
    page.family("gauge", name, "Sessions by dialect and by the service that their links allow.");
    for ((dialect, level), count) in &kinds {
        page.sample(name, &[("dialect", dialect), ("service", level)], *count as f64);
    }
}

fn dialects(page: &mut Exposition, endpoint: &Endpoint, sessions: &[SessionDocument]) {
    let all = endpoint.counters.dialects.documents(sessions);
    let mut family = |kind, name, help, value: fn(&DialectDocument) -> f64| {
        page.family(kind, name, help);
        for (dialect, counts) in &all {
            page.sample(name, &[("dialect", dialect)], value(counts));
        }
    };
    let kind = "counter";
    family("gauge", "roverline_dialect_sessions", "Sessions by dialect.", |counts| counts.sessions as f64);
    family(kind, "roverline_dialect_delivered_total", "Messages delivered by dialect.", |counts| {
        counts.delivered as f64
    });
    family(kind, "roverline_dialect_delivered_bytes_total", "Bytes delivered by dialect.", |counts| {
        counts.delivered_bytes as f64
    });
    family(
        kind,
        "roverline_dialect_dropped_total",
        "Samples not delivered to slow clients, by dialect.",
        |counts| counts.dropped as f64,
    );
}

fn peers(page: &mut Exposition, peers: &[(Origin, PeerDocument)]) {
    let unproven = peers.iter().filter(|(_, peer)| peer.unproven.is_some()).count();
    let what = "Peers that have not proven that they belong to this rover.";
    page.one("gauge", "roverline_peers_unproven", what, unproven as f64);
    // Any computer can announce any address, so as labels the addresses would be unbounded.
    let is_stranger =
        |(origin, peer): &&(Origin, PeerDocument)| *origin != Origin::Config && peer.age_s.is_none();
    let peers: Vec<_> = peers.iter().filter(|peer| !is_stranger(peer)).collect();
    let address = |peer: &PeerDocument| peer.endpoint.address.clone().unwrap_or_default();
    let name = "roverline_peer_status";
    page.family("gauge", name, "1 for the status that a peer has, 0 for the others.");
    for (_, peer) in &peers {
        for status in STATUSES {
            let is = f64::from(u8::from(peer.endpoint.status == status));
            let tier = peer.endpoint.tier.name();
            page.sample(name, &[("tier", tier), ("address", &address(peer)), ("status", status.word())], is);
        }
    }
    let name = "roverline_peer_rtt_seconds";
    page.family("gauge", name, "How long a peer's last answer took; absent before the first.");
    for (_, peer) in &peers {
        let Some(rtt) = peer.rtt_ms else { continue };
        page.sample(name, &[("tier", peer.endpoint.tier.name()), ("address", &address(peer))], rtt / 1e3);
    }
}
