//! Metrics of what a team shares: the cache of values, and transitions of robots. Their names have no prefix: dashboards of
//! teams use them.

use std::sync::atomic::Ordering;

use roverline_coordination::Coordination;
use roverline_protocol::lifecycle::State;

use crate::endpoint::metrics::exposition::Exposition;

/// Adds cache and transitions of this process to the page.
pub(super) fn render(page: &mut Exposition, coordination: &Coordination) {
    let cache = coordination.kv.metrics();
    for (name, help, value) in [
        ("cache_hits_total", "Reads of values served from the cache.", cache.hits),
        ("cache_misses_total", "Reads of values that had to go to the store.", cache.misses),
        ("cache_evictions_total", "Values evicted from the cache to make room.", cache.evictions),
        (
            "cache_invalidations_total",
            "Cached values that changed elsewhere, or might have.",
            cache.invalidations,
        ),
    ] {
        page.one("counter", name, help, value as f64);
    }
    page.one("gauge", "cache_entries", "Values in the cache.", cache.entries as f64);
    page.one("gauge", "cache_size_bytes", "Bytes of the values in the cache.", cache.bytes as f64);
    let name = "robot_state_transitions_total";
    page.family("counter", name, "Changes of robots' lifecycle states that this process made.");
    let transitions = coordination.lifecycle.robot_transitions();
    for state in State::ALL {
        let count = transitions.to(state).load(Ordering::Relaxed);
        page.sample(name, &[("to", state.name())], count as f64);
    }
}
