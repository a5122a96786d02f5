//! A link budget with the whole simulated rover behind it: what matters first comes on time.

use serde_json::Value;

use super::load::Rover;
use super::{Found, secs};
use crate::http;

/// How it is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// As the gateway's `--session-budget` takes it
    #[arg(long, default_value = "250kbit")]
    budget: String,
    /// How long to measure
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
}

/// What is emergency and state, and the rest of it.
const URGENT: [&str; 7] = [
    "/emergency_stop",
    "/safety/boundary_violation",
    "/odom",
    "/autonomy/mode",
    "/autonomy/enabled",
    "/led/state",
    "/mission/status",
];

/// Runs it.
pub(super) fn run(options: &Options) -> Result<Found, String> {
    let rover = Rover::loopback(&["--source", "sim", "--session-budget", &options.budget]);
    let mut listening = rover.links(1, &["**", "/odom@50"]);
    // One endpoint, the one that has everything: nowhere to go is part of it.
    listening.urls.truncate(1);
    let mut client = rover.listen(&listening);
    std::thread::sleep(secs(5.0));
    client.report();
    std::thread::sleep(secs(options.seconds));
    let report = client.report();
    let status: Value = serde_json::from_str(&http::get(rover.base_port, "/status").body)
        .map_err(|error| format!("/status is not JSON: {error}"))?;
    let session = &status["sessions"][0];
    let mut found = Found::default();
    for (topic, delay) in &report.delays_ms {
        found.say(format!(
            "  {topic:<34} {:>6} samples, delay p50 {:>6.1} p99 {:>6.1} max {:>6.1} ms",
            delay.count, delay.p50, delay.p99, delay.max
        ));
    }
    for topic in URGENT {
        match report.delays_ms.get(topic) {
            Some(delay) => found.judge(&format!("{topic} delay p99 (ms)"), delay.p99, 300.0),
            None => found.judge(&format!("{topic}: samples missing"), 1.0, 0.0),
        }
    }
    found.say(format!(
        "/status: service {}, shed {} of this session, {} in all; {} bytes sent",
        session["service"], session["shed"], status["counters"]["shed"], session["sent_bytes"]
    ));
    let shed = status["counters"]["shed"].as_u64().unwrap_or(0);
    found.judge("shed, but not counted", f64::from(u8::from(shed == 0)), 0.0);
    Ok(found)
}
