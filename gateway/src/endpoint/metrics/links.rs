//! Metrics of clients' links. Clients are no labels: histograms and worst values by dialect.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use roverline_protocol::api::metrics::LinkDocument;
use roverline_protocol::status::UpstreamDocument;

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Exposition;
use crate::endpoint::sessions::SessionInfo;
use crate::histogram::{Histogram, NETWORK_BOUNDS_S};

/// Links that are listed in `/api/v2/metrics`.
const LISTED_SESSIONS: usize = 64;
/// Endpoints of the rover with series of their own.
const UPLINK_ENTRIES: usize = 16;

/// What happened on all links, by dialect.
#[derive(Default)]
pub struct LinkCounters(Mutex<BTreeMap<&'static str, DialectLinks>>);

struct DialectLinks {
    rtt: Histogram,
    pings: u64,
    lost: u64,
    received: u64,
    received_bytes: u64,
}

impl Default for DialectLinks {
    fn default() -> DialectLinks {
        DialectLinks {
            rtt: Histogram::new(NETWORK_BOUNDS_S),
            pings: 0,
            lost: 0,
            received: 0,
            received_bytes: 0,
        }
    }
}

impl LinkCounters {
    /// Adds what happened on a session's link since the last call.
    pub fn count(&self, session: &SessionInfo) {
        let counts = session.outbox().take_link_counts();
        let mut tables = self.0.lock();
        let links = tables.entry(session.dialect()).or_default();
        counts.round_trips.into_iter().for_each(|round_trip| links.rtt.add(round_trip));
        links.pings += counts.pings;
        links.lost += counts.lost;
        links.received += counts.received;
        links.received_bytes += counts.received_bytes;
    }

    fn render(&self, page: &mut Exposition) {
        let tables = self.0.lock();
        let name = "roverline_link_rtt_seconds";
        page.family(
            "histogram",
            name,
            "Round trips of WebSocket pings to clients, one a second and session.",
        );
        for (dialect, links) in &*tables {
            page.histogram(name, &[("dialect", dialect)], &links.rtt.snapshot());
        }
        let mut family = |name, help, value: fn(&DialectLinks) -> u64| {
            page.family("counter", name, help);
            for (dialect, links) in &*tables {
                page.sample(name, &[("dialect", dialect)], value(links) as f64);
            }
        };
        family("roverline_link_pings_total", "Pings that were answered or are lost.", |links| links.pings);
        family("roverline_link_lost_pings_total", "Pings without an answer for 10 s.", |links| links.lost);
        family("roverline_dialect_received_total", "Messages received from clients.", |links| links.received);
        family("roverline_dialect_received_bytes_total", "Bytes of these messages.", |links| {
            links.received_bytes
        });
    }
}

/// Adds the links of clients, and of a relay to its rover, to the page.
pub(super) fn render(page: &mut Exposition, endpoint: &Endpoint, sessions: &[Arc<SessionInfo>]) {
    endpoint.counters.links.render(page);
    worst(page, sessions);
    uplinks(page, &endpoint.hub.upstream());
}

fn worst(page: &mut Exposition, sessions: &[Arc<SessionInfo>]) {
    let links: Vec<LinkDocument> = sessions.iter().map(|session| session.link_document()).collect();
    let mut family = |name, help, value: fn(&LinkDocument) -> Option<f64>| {
        let mut worst: BTreeMap<&str, f64> = BTreeMap::new();
        for (link, value) in links.iter().filter_map(|link| Some((link, value(link)?))) {
            let entry = worst.entry(&link.dialect).or_insert(value);
            *entry = entry.max(value);
        }
        page.family("gauge", name, help);
        for (dialect, value) in worst {
            page.sample(name, &[("dialect", dialect)], value);
        }
    };
    family("roverline_link_rtt_max_seconds", "The longest smoothed round trip of a session now.", |link| {
        link.rtt_ms.map(|ms| ms / 1e3)
    });
    family("roverline_link_jitter_max_seconds", "The largest jitter of a session now.", |link| {
        link.jitter_ms.map(|ms| ms / 1e3)
    });
    family("roverline_link_loss_max_ratio", "The largest share of lost pings of a session now.", |link| {
        link.loss
    });
}

fn uplinks(page: &mut Exposition, upstream: &[UpstreamDocument]) {
    let mut family = |kind, name, help, value: fn(&UpstreamDocument) -> Option<f64>| {
        page.family(kind, name, help);
        for one in upstream.iter().take(UPLINK_ENTRIES) {
            if let Some(value) = value(one) {
                page.sample(name, &[("url", &one.url)], value);
            }
        }
    };
    let gauge = "gauge";
    family(
        gauge,
        "roverline_uplink_rtt_seconds",
        "Smoothed round trip to an endpoint of the rover.",
        |one| one.rtt_ms.map(|ms| ms / 1e3),
    );
    family(gauge, "roverline_uplink_jitter_seconds", "Mean deviation of these round trips.", |one| {
        one.jitter_ms.map(|ms| ms / 1e3)
    });
    family(
        gauge,
        "roverline_uplink_loss_ratio",
        "Share of lost probes of an endpoint of the rover.",
        |one| one.rtt_ms.and(one.loss),
    );
    family(
        gauge,
        "roverline_uplink_active",
        "1 for the endpoint of the rover that serves this relay.",
        |one| Some(f64::from(u8::from(one.state == "active"))),
    );
    let kind = "counter";
    family(kind, "roverline_uplink_received_total", "Messages from an endpoint of the rover.", |one| {
        Some(one.received as f64)
    });
    family(kind, "roverline_uplink_received_bytes_total", "Bytes from an endpoint of the rover.", |one| {
        one.received_bytes.map(|bytes| bytes as f64)
    });
}

/// The links for `/api/v2/metrics`, the worst first; and how many were left out.
pub(crate) fn documents(sessions: &[Arc<SessionInfo>]) -> (Vec<LinkDocument>, usize) {
    worst_first(sessions.iter().map(|session| session.link_document()).collect())
}

fn worst_first(mut links: Vec<LinkDocument>) -> (Vec<LinkDocument>, usize) {
    // As the client library ranks links: round trip, four times the jitter, and 5 ms per percent of loss.
    let cost = |link: &LinkDocument| {
        link.rtt_ms.unwrap_or_default()
            + 4.0 * link.jitter_ms.unwrap_or_default()
            + 500.0 * link.loss.unwrap_or_default()
    };
    links.sort_by(|a, b| cost(b).total_cmp(&cost(a)).then(a.session.cmp(&b.session)));
    let left_out = links.len().saturating_sub(LISTED_SESSIONS);
    links.truncate(LISTED_SESSIONS);
    (links, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_links_are_listed() {
        let link = |session| LinkDocument {
            session,
            peer: String::new(),
            client: String::new(),
            dialect: "native".to_owned(),
            rtt_ms: (session > 0).then_some(session as f64),
            jitter_ms: None,
            loss: (session == 3).then_some(1.0),
            sent_bytes_per_s: 0.0,
            received_bytes_per_s: 0.0,
        };
        let (links, left_out) = worst_first((0..100).map(link).collect());
        assert_eq!((links[0].session, links[1].session, left_out), (3, 99, 100 - LISTED_SESSIONS));
    }

    #[test]
    fn a_relay_shows_what_it_has_measured_only() {
        let one = UpstreamDocument {
            url: "ws://rover:8080".to_owned(),
            tier: None,
            state: "active".to_owned(),
            rtt_ms: Some(20.0),
            jitter_ms: None,
            loss: Some(0.25),
            received: 7,
            received_bytes: None,
            last_error: None,
        };
        let down = UpstreamDocument {
            url: "ws://rover:8081".to_owned(),
            rtt_ms: None,
            state: "down".to_owned(),
            ..one.clone()
        };
        let mut page = Exposition::default();
        uplinks(&mut page, &[one, down]);
        let text = page.finish();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "roverline_uplink_rtt_seconds{url=\"ws://rover:8080\"} 0.02",
                "roverline_uplink_loss_ratio{url=\"ws://rover:8080\"} 0.25",
                "roverline_uplink_active{url=\"ws://rover:8080\"} 1",
                "roverline_uplink_active{url=\"ws://rover:8081\"} 0",
                "roverline_uplink_received_total{url=\"ws://rover:8080\"} 7",
                "roverline_uplink_received_total{url=\"ws://rover:8081\"} 7",
            ]
        );
    }
}
