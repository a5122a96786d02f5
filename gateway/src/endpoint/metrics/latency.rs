//! How long samples take from their publisher to the socket, stage by stage.

use crate::endpoint::Endpoint;
use crate::endpoint::metrics::exposition::Exposition;

/// Adds the stages to the page. Between ingress and outbox there is only the encoding, in the same step.
pub(super) fn render(page: &mut Exposition, endpoint: &Endpoint) {
    let arrival = endpoint.ingress.latency();
    let name = "roverline_source_latency_seconds";
    page.family(
        "histogram",
        name,
        "From a publisher's stamp to the receipt by the gateway, by their clocks.",
    );
    page.histogram(name, &[], &arrival.source());
    let what = "Samples whose stamps do not fit the gateway's clock.";
    page.one("counter", "roverline_source_clock_skewed_total", what, arrival.clock_skewed() as f64);
    let name = "roverline_ingress_latency_seconds";
    page.family("histogram", name, "From the receipt of a sample to the hub.");
    page.histogram(name, &[], &arrival.ingress());
    let name = "roverline_outbox_latency_seconds";
    page.family("histogram", name, "From the hub to a client's writer, by priority.");
    for (priority, waits) in endpoint.delivery_latency.outbox() {
        page.histogram(name, &[("priority", priority.name())], &waits);
    }
    let name = "roverline_socket_write_seconds";
    page.family("histogram", name, "Until a client's socket had taken a batch of frames; one batch in 16.");
    page.histogram(name, &[], &endpoint.delivery_latency.socket());
}
