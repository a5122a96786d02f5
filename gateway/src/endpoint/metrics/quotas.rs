//! Metrics of quotas: entries that authors keep in the store, and refused writes.

use roverline_coordination::Coordination;

use crate::endpoint::metrics::exposition::Exposition;

/// Adds the values and the messages of the team's store to the page.
pub(super) fn render(page: &mut Exposition, coordination: &Coordination) {
    let all = [("values", coordination.kv.usage()), ("messages", coordination.queues.usage())];
    let mut gauge = |name, help, value: fn(&roverline_coordination::quota::QuotaUsage) -> f64| {
        page.family("gauge", name, help);
        for (kind, usage) in all.iter().filter(|(_, usage)| usage.entries.is_some()) {
            page.sample(name, &[("kind", kind)], value(usage));
        }
    };
    let what = "Values and messages in the store; absent until this process writes one.";
    gauge("roverline_stored_entries", what, |usage| usage.entries.unwrap_or_default() as f64);
    gauge("roverline_stored_bytes", "Their bytes.", |usage| usage.bytes as f64);
    gauge("roverline_stored_authors", "Authors that keep any.", |usage| usage.owners as f64);
    let name = "roverline_quota_refused_total";
    page.family("counter", name, "Writes refused by a quota: of what is kept, or of the pace of writing.");
    for (kind, usage) in &all {
        page.sample(name, &[("kind", kind), ("quota", "stored")], usage.refused_stored as f64);
        page.sample(name, &[("kind", kind), ("quota", "pace")], usage.refused_pace as f64);
    }
    let refused = coordination.events.refused_pace();
    page.sample(name, &[("kind", "events"), ("quota", "pace")], refused as f64);
}
