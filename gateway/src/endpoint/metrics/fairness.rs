//! Counters of refusals and closes that protect other clients.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::endpoint::metrics::exposition::Exposition;

/// Refusals and closes that protect other clients, since the process started serving.
#[derive(Default)]
pub struct FairnessCounters {
    /// Sessions refused because their address holds its share of the places.
    pub refused_address: AtomicU64,
    /// Sessions closed to make room for an operator or a commander.
    pub evicted_sessions: AtomicU64,
}

impl FairnessCounters {
    /// Adds the counters to the page.
    pub(super) fn render(&self, page: &mut Exposition) {
        for (name, help, counter) in [
            (
                "roverline_refused_address_total",
                "Clients turned away because their address held its share of the places.",
                &self.refused_address,
            ),
            (
                "roverline_evicted_sessions_total",
                "Sessions without rights closed to make room for an operator.",
                &self.evicted_sessions,
            ),
        ] {
            page.one("counter", name, help, counter.load(Ordering::Relaxed) as f64);
        }
    }
}
