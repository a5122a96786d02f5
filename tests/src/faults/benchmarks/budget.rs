//! A bandwidth budget with the whole simulated rover behind it: urgent topics arrive in time.

use serde_json::Value;

use super::load::Rover;
use super::{BenchmarkReport, secs};
use crate::http;
use crate::wait::observe_for;

/// Command line options.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The gateway's `--session-budget`
    #[arg(long, default_value = "250kbit")]
    budget: String,
    /// Duration of the measurement in seconds
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
}

/// The topics with the priorities emergency, state and mission.
const URGENT: [&str; 7] = [
    "/emergency_stop",
    "/safety/boundary_violation",
    "/odom",
    "/autonomy/mode",
    "/autonomy/enabled",
    "/led/state",
    "/mission/status",
];

/// Runs the measurement.
pub(super) fn run(options: &Options) -> Result<BenchmarkReport, String> {
    let rover = Rover::loopback(&["--source", "sim", "--session-budget", &options.budget]);
    let mut listening = rover.links(1, &["**", "/odom@50"]);
    // Only the endpoint that serves all topics: without an alternative to switch to.
    listening.urls.truncate(1);
    let mut client = rover.listen(&listening);
    observe_for(secs(5.0), "warm-up");
    client.report();
    observe_for(secs(options.seconds), "the measurement");
    let report = client.report();
    let status: Value = serde_json::from_str(&http::get(rover.base_port, "/status").body)
        .map_err(|error| format!("/status is not JSON: {error}"))?;
    let session = &status["sessions"][0];
    let mut result = BenchmarkReport::default();
    for (topic, delay) in &report.delays_ms {
        result.line(format!(
            "  {topic:<34} {:>6} samples, delay p50 {:>6.1} p99 {:>6.1} max {:>6.1} ms",
            delay.count, delay.p50, delay.p99, delay.max
        ));
    }
    for topic in URGENT {
        match report.delays_ms.get(topic) {
            Some(delay) => result.check(&format!("{topic} delay p99 (ms)"), delay.p99, 300.0),
            None => result.check(&format!("{topic}: samples missing"), 1.0, 0.0),
        }
    }
    result.line(format!(
        "/status: service {}, shed {} of this session, {} in all; {} bytes sent",
        session["service"], session["shed"], status["counters"]["shed"], session["sent_bytes"]
    ));
    let shed = status["counters"]["shed"].as_u64().unwrap_or(0);
    result.check("shed, but not counted", f64::from(u8::from(shed == 0)), 0.0);
    Ok(result)
}
