//! Metrics of traces: what the ring of spans keeps and has given up, and what became of exported spans.

use std::sync::atomic::Ordering;

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Exposition;
use crate::trace::export_queue::{ExportQueue, ExportResult};
use crate::trace::ring::RingUsage;
use crate::trace::sample_ring::SampleUsage;

/// Adds the ring of spans to the page; zeros if traces are off.
pub(super) fn render(page: &mut Exposition, endpoint: &Endpoint) {
    let RingUsage { open, ended, bytes, evicted, refused } =
        endpoint.spans.as_ref().map(|spans| spans.usage()).unwrap_or_default();
    for (name, help, value) in [
        ("roverline_trace_open_spans", "Spans that have not ended.", open),
        ("roverline_trace_spans", "Ended spans that are kept.", ended),
        ("roverline_trace_spans_bytes", "Memory of the ended spans that are kept.", bytes),
    ] {
        page.one("gauge", name, help, value as f64);
    }
    let SampleUsage { samples, evicted: evicted_samples, refused: refused_samples } =
        endpoint.hub.sample_ring().map(|ring| ring.usage()).unwrap_or_default();
    page.one("gauge", "roverline_trace_samples", "Traced samples that are kept.", samples as f64);
    let invalid = endpoint.counters.invalid_trace_contexts.load(Ordering::Relaxed);
    for (name, help, value) in [
        ("roverline_trace_evicted_spans_total", "Spans that gave way to newer ones.", evicted),
        ("roverline_trace_refused_spans_total", "Spans of clients that came too fast or are none.", refused),
        ("roverline_trace_invalid_contexts_total", "Requests whose traceparent is none.", invalid),
        (
            "roverline_trace_evicted_samples_total",
            "Traced samples that gave way to newer ones.",
            evicted_samples,
        ),
        (
            "roverline_trace_refused_samples_total",
            "Times that clients reported of samples that are not kept, or again.",
            refused_samples,
        ),
    ] {
        page.one("counter", name, help, value as f64);
    }
    let export = endpoint.spans.as_ref().and_then(|spans| spans.export());
    render_export(page, export.as_deref());
}

/// Adds the export of spans to the page; zeros if there is none.
fn render_export(page: &mut Exposition, export: Option<&ExportQueue>) {
    let name = "roverline_trace_export_spans_total";
    page.family("counter", name, "Spans that were to be exported, by what became of them.");
    for result in ExportResult::ALL {
        let spans = export.map_or(0, |export| export.counted(result));
        page.sample(name, &[("result", result.name())], spans as f64);
    }
    let name = "roverline_trace_export_failures_total";
    let failures = export.map_or(0, ExportQueue::failures);
    page.one(
        "counter",
        name,
        "Requests to the collector that failed and may be sent again.",
        failures as f64,
    );
    let usage = export.map(ExportQueue::usage).unwrap_or_default();
    let name = "roverline_trace_export_queue_spans";
    page.one("gauge", name, "Spans that wait for export.", usage.spans as f64);
    let name = "roverline_trace_export_queue_bytes";
    page.one("gauge", name, "Memory of the spans that wait for export.", usage.bytes as f64);
}
