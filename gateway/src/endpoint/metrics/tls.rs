//! Counters of TLS handshakes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::endpoint::metrics::exposition::Exposition;

/// TLS handshakes since the process started serving.
#[derive(Default)]
pub struct TlsCounters {
    /// Completed.
    pub completed: AtomicU64,
    /// Failed: no version or cipher in common, a wrong certificate, or too slow.
    pub failed: AtomicU64,
    /// Refused, because too many of all, or of one address, waited to be computed.
    pub refused: AtomicU64,
    /// Requests without TLS that were refused because of `[tls] only`.
    pub refused_plain: AtomicU64,
}

impl TlsCounters {
    /// Adds the counters to the page.
    pub(super) fn render(&self, page: &mut Exposition) {
        let name = "roverline_tls_handshakes_total";
        page.family("counter", name, "TLS handshakes, by their result.");
        let counters = [("completed", &self.completed), ("failed", &self.failed), ("refused", &self.refused)];
        for (result, counter) in counters {
            page.sample(name, &[("result", result)], counter.load(Ordering::Relaxed) as f64);
        }
        let help = "Requests without TLS that were refused because of [tls] only.";
        let refused = self.refused_plain.load(Ordering::Relaxed) as f64;
        page.one("counter", "roverline_refused_plain_total", help, refused);
    }
}
