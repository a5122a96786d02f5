//! The endpoint's counters: connections, malformed input, delivered and lost messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roverline_protocol::status::CounterDocument;

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::commands::CommandCounters;
use crate::endpoint::metrics::dialects::DialectCounters;
use crate::endpoint::metrics::fairness::FairnessCounters;
use crate::endpoint::metrics::histogram::FailoverHistogram;
use crate::endpoint::metrics::links::LinkCounters;
use crate::endpoint::metrics::tls::TlsCounters;

/// Counters since the process started serving.
#[derive(Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections rejected because the endpoint was full.
    pub refused_full: AtomicU64,
    /// Malformed requests and messages.
    pub bad_input: AtomicU64,
    /// Trace contexts of requests that are none; their traces begin here.
    pub invalid_trace_contexts: AtomicU64,
    /// Messages delivered in sessions that have ended.
    pub delivered: AtomicU64,
    /// Samples dropped in sessions that have ended.
    pub dropped: AtomicU64,
    /// Samples shed in sessions that have ended, because their links were too slow.
    pub shed: AtomicU64,
    /// The same by dialect.
    pub dialects: DialectCounters,
    /// Publications and calls of clients.
    pub commands: Arc<CommandCounters>,
    /// Round trips, lost pings and received messages by dialect.
    pub links: LinkCounters,
    /// Failover gaps reported by clients.
    pub failovers: FailoverHistogram,
    /// Refusals and closes that protect other clients.
    pub fairness: FairnessCounters,
    /// TLS handshakes.
    pub tls: TlsCounters,
    /// How often the source rejoined the ROS graph because of a writer that another endpoint hears.
    pub rejoins: AtomicU64,
}

impl Endpoint {
    /// The counters, including running sessions.
    pub fn counter_document(&self) -> CounterDocument {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let running: Vec<_> = self.sessions().iter().map(|session| session.outbox().stats()).collect();
        CounterDocument {
            connections: get(&self.counters.connections),
            refused_full: get(&self.counters.refused_full),
            bad_input: get(&self.counters.bad_input),
            samples: self.hub.source().1,
            ingress_dropped: self.ingress.dropped(),
            delivered: get(&self.counters.delivered) + running.iter().map(|stats| stats.sent).sum::<u64>(),
            dropped: get(&self.counters.dropped) + running.iter().map(|stats| stats.dropped).sum::<u64>(),
            shed: get(&self.counters.shed) + running.iter().map(|stats| stats.shed).sum::<u64>(),
            replayed: self.hub.replays().0,
            replay_missing: self.hub.replays().1,
        }
    }
}
