//! The primary is killed again and again under a plain client that only knows its port.

use std::time::{Duration, Instant};

use roverline_protocol::Tier;

use super::load::{Rover, wait_until_ready};
use super::{BenchmarkReport, secs};
use crate::faults::listener::Options as Listening;
use crate::faults::listener_process::Listener;
use crate::faults::measure::Quantiles;
use crate::usage;
use crate::wait::{observe_for, poll};

/// The period of the plain dialect's telemetry messages.
const PERIOD_MS: f64 = 200.0;
const BACK: Duration = Duration::from_secs(20);

/// Command line options.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Number of kills
    #[arg(long, default_value_t = 50)]
    trials: usize,
    /// How long the client waits before it reconnects, in milliseconds
    #[arg(long, default_value_t = 50)]
    retry_ms: u64,
}

/// Runs the measurement.
pub(super) fn run(options: &Options) -> Result<BenchmarkReport, String> {
    let rover = Rover::loopback(&["--source", "sim"]);
    let plain = vec![rover.url(Tier::Primary)];
    let listening = Listening { plain, plains: 1, retry_ms: options.retry_ms, ..Listening::default() };
    let mut client = Listener::start(&rover.net.ground, &listening, &[]);
    wait_until_ready(&mut client, &listening);
    let (mut waits_ms, mut refused, mut failed) = (Vec::new(), 0, 0);
    for n in 1..=options.trials {
        // A younger process counts as crashing repeatedly, and is restarted with backoff.
        let is_young = || rover.pid(Tier::Primary).and_then(usage::age).is_none_or(|age| age < secs(2.5));
        poll(BACK, || (!is_young()).then_some(()));
        client.report();
        rover.kill(Tier::Primary);
        let start = Instant::now();
        let (mut closed, mut longest_ms) = (0, 0.0f64);
        loop {
            observe_for(secs(0.3), "the interval of the reports");
            let plain = client.report().plain;
            closed += plain.closed;
            refused += plain.refused;
            failed += plain.failed;
            longest_ms = longest_ms.max(plain.gap_ms);
            if (closed > 0 && plain.connected == 1 && start.elapsed() > secs(1.5)) || start.elapsed() > BACK {
                break;
            }
        }
        println!("trial {n}/{}: {longest_ms:.0} ms between two messages", options.trials);
        waits_ms.push(longest_ms - PERIOD_MS);
    }
    let waits = Quantiles::of(&waits_ms);
    let mut result = BenchmarkReport::default();
    result.line(format!(
        "plain client, primary killed {} times: blackout p50 {:.0} ms, p99 {:.0} ms; {failed} attempts failed while \
         the process ended",
        waits.count, waits.p50, waits.p99
    ));
    result.check("blackout max (ms)", waits.max, 1_000.0);
    result.check("refused connections", refused as f64, 0.0);
    Ok(result)
}
