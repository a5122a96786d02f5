//! Metrics of the log: what became of this process's lines.

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Exposition;

/// Adds the log to the page; zeros if there is none.
pub(super) fn render(page: &mut Exposition, endpoint: &Endpoint) {
    let (log, counts) = (&endpoint.log, &endpoint.log.counts);
    let name = "roverline_log_lines_total";
    page.family("counter", name, "Lines of this process's log, by level.");
    for (level, count) in counts.written() {
        page.sample(name, &[("level", &level.as_str().to_ascii_lowercase())], count as f64);
    }
    for (name, help, value) in [
        ("roverline_log_suppressed_total", "Repeated log lines that were left out.", counts.suppressed()),
        ("roverline_log_truncated_total", "Log lines that were too long, and cut.", counts.truncated()),
        ("roverline_log_dropped_total", "Log lines lost because the disk was too slow.", log.dropped()),
    ] {
        page.one("counter", name, help, value as f64);
    }
    let what = "1 while the log has another level than the configured one.";
    page.one("gauge", "roverline_log_level_changed", what, f64::from(u8::from(log.levels.is_changed())));
}
