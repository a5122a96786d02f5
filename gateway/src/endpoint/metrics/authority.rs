//! Metrics of authorities: who may command what, at this endpoint.

use std::sync::atomic::Ordering;

use crate::authority::silence::Phase;
use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Exposition;

/// Adds them to the page. Names are configured, so the number of series is bounded.
pub(super) fn render(page: &mut Exposition, endpoint: &Endpoint) {
    let guards = endpoint.guards.all();
    let name = "roverline_authority_held";
    page.family("gauge", name, "1 while a client holds the authority.");
    for guard in guards {
        page.sample(name, &[("authority", guard.name())], f64::from(u8::from(guard.holder().is_some())));
    }
    let name = "roverline_authority_stopping";
    page.family("gauge", name, "1 while the stop is published because the holder is silent.");
    for guard in guards {
        let is_stopping = guard.phase() == Phase::Stopping;
        page.sample(name, &[("authority", guard.name())], f64::from(u8::from(is_stopping)));
    }
    let name = "roverline_authority_commands_total";
    page.family("counter", name, "Commands of guarded topics, services and actions, by their result.");
    for guard in guards {
        let counts = &guard.counts;
        for (result, counter) in
            [("granted", &counts.granted), ("refused", &counts.refused), ("clamped", &counts.clamped)]
        {
            let labels = [("authority", guard.name()), ("result", result)];
            page.sample(name, &labels, counter.load(Ordering::Relaxed) as f64);
        }
    }
    let name = "roverline_authority_link_losses_total";
    page.family("counter", name, "Times that the holder fell silent while it commanded.");
    for guard in guards {
        let count = guard.counts.link_losses.load(Ordering::Relaxed);
        page.sample(name, &[("authority", guard.name())], count as f64);
    }
}
