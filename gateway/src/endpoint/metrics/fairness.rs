//! Counters of refusals and closes that protect other clients.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::endpoint::metrics::exposition::Exposition;

/// Refusals and closes that protect other clients, since the process started serving.
#[derive(Default)]
pub struct FairnessCounters {
    /// Sessions refused because their address holds its share of the slots.
    pub refused_address: AtomicU64,
    /// Sessions closed to make room for an operator or a commander.
    pub evicted_sessions: AtomicU64,
    /// Connections closed before they were sessions, because they were slow and others came.
    pub evicted_connections: AtomicU64,
    /// Requests refused because too many of their class wait for an answer.
    pub refused_requests: AtomicU64,
    /// Switches between endpoints that observers reported.
    pub observers_switched: AtomicU64,
    /// Stalls and changes of the service level of observers' sessions.
    pub observers_events: AtomicU64,
    /// Reports of switches beyond the bounds of their session or address.
    pub refused_switch_reports: AtomicU64,
    /// Sessions closed because their large message would have waited for long.
    pub refused_large_messages: AtomicU64,
}

impl FairnessCounters {
    /// Adds the counters to the page.
    pub(super) fn render(&self, page: &mut Exposition) {
        for (name, help, counter) in [
            (
                "roverline_refused_address_total",
                "Clients turned away because their address held its share of the slots.",
                &self.refused_address,
            ),
            (
                "roverline_evicted_sessions_total",
                "Sessions closed to make room for an operator or a commander.",
                &self.evicted_sessions,
            ),
            (
                "roverline_evicted_connections_total",
                "Connections that were slow with their request, closed for newer ones.",
                &self.evicted_connections,
            ),
            (
                "roverline_refused_requests_total",
                "Requests turned away because too many of their class or address were waiting.",
                &self.refused_requests,
            ),
            (
                "roverline_observers_switched_total",
                "Switches between endpoints that observers reported: counted, but no events.",
                &self.observers_switched,
            ),
            (
                "roverline_observers_events_total",
                "Stalls and changes of service of observers' sessions: counted, but no events.",
                &self.observers_events,
            ),
            (
                "roverline_refused_switch_reports_total",
                "Reports of switches beyond the bounds of their session or address.",
                &self.refused_switch_reports,
            ),
            (
                "roverline_refused_large_messages_total",
                "Sessions closed because their large message would have waited for long.",
                &self.refused_large_messages,
            ),
        ] {
            page.one("counter", name, help, counter.load(Ordering::Relaxed) as f64);
        }
    }
}
