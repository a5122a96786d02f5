//! A rolling restart of all four endpoints under load.

use std::path::Path;
use std::time::{Duration, Instant};

use roverline_protocol::Tier;

use super::load::Rover;
use super::{BenchmarkReport, secs};
use crate::gateway;
use crate::temp;
use crate::wait::observe_for;

/// Deadline for the restart.
const PATIENCE: Duration = Duration::from_secs(180);
/// The length of the recording, which is played in a loop.
const RECORDING_S: u64 = 20;
const PAYLOAD_BYTES: usize = 1_024;

/// Command line options.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Links on the four endpoints
    #[arg(long, default_value_t = 50)]
    links: usize,
    /// Plain clients on the primary
    #[arg(long, default_value_t = 10)]
    plains: usize,
    /// Messages of 1 KiB per second
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
}

/// Runs the measurement.
pub(super) fn run(options: &Options) -> Result<BenchmarkReport, String> {
    let scratch = temp::dir();
    let recording = scratch.path().join("load.mcap");
    write_recording(&recording, options.rate);
    let max_clients = (options.links + options.plains).max(50).to_string();
    let file = recording.display().to_string();
    let rover =
        Rover::loopback(&["--source", "bag", "--file", &file, "--loop", "--max-clients", &max_clients]);
    // A topic in the scopes of every endpoint.
    let topic = format!("/load/emergency@{}", options.rate);
    let mut listening = rover.links(options.links, &[&topic]);
    listening.plain = vec![rover.url(Tier::Primary)];
    listening.plains = options.plains;
    let mut clients = rover.listen(&listening);
    observe_for(secs(3.0), "the measurement before the restart");
    let quiet = clients.report();
    println!("before: {} samples in 3 s, lost {}, twice {}", quiet.samples, quiet.lost, quiet.duplicated);
    let before = rover.pids();
    let state = rover.gateway.state().display().to_string();
    let start = Instant::now();
    let (code, out, error) = gateway::run(&["restart", "--rolling", "--state", &state], PATIENCE);
    let took = start.elapsed();
    println!("restart --rolling: exit code {code} after {took:.1?}\n{out}{error}");
    observe_for(secs(3.0), "the measurement after the restart");
    let report = clients.report();
    let kept = rover.pids().iter().filter(|pid| before.contains(pid)).count();
    let mut result = BenchmarkReport::default();
    result.line(format!(
        "rolling restart, {} links and {} plain clients, {} Hz: {:.1} s, {} samples, longest wait {:.0} ms, {} switches, \
         {} plain connections ended, longest wait of a plain client {:.0} ms",
        options.links,
        options.plains,
        options.rate,
        took.as_secs_f64(),
        report.samples,
        report.gap_ms,
        report.switches,
        report.plain.closed,
        report.plain.gap_ms,
    ));
    result.check("exit code", f64::from(code.abs()), 0.0);
    result.check("processes that were not replaced", kept as f64, 0.0);
    result.check("lost", report.lost as f64, 0.0);
    result.check("duplicated", report.duplicated as f64, 0.0);
    result.check("refused", (report.plain.refused + report.plain.failed) as f64, 0.0);
    result.check("links not served afterwards", options.links.saturating_sub(report.served) as f64, 0.0);
    Ok(result)
}

/// Writes a recording of strings of 1 KiB.
fn write_recording(path: &Path, rate: u64) {
    let file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut writer = mcap::Writer::new(file).unwrap();
    let schema = writer.add_schema("std_msgs/msg/String", "ros2msg", b"string data\n").unwrap();
    let metadata = std::collections::BTreeMap::new();
    let channel = writer.add_channel(schema, "/load/emergency", "cdr", &metadata).unwrap();
    let mut payload = vec![0, 1, 0, 0];
    payload.extend((PAYLOAD_BYTES as u32).to_le_bytes());
    payload.resize(payload.len() + PAYLOAD_BYTES - 1, b'x');
    payload.push(0);
    for n in 0..rate * RECORDING_S {
        let time = 1_000_000_000 + n * 1_000_000_000 / rate;
        let header = mcap::records::MessageHeader {
            channel_id: channel,
            sequence: n as u32,
            log_time: time,
            publish_time: time,
        };
        writer.write_to_known_channel(&header, &payload).unwrap();
    }
    writer.finish().unwrap();
}
