//! Ten plain clients behind a relay while the rover's endpoints are killed: no client notices, and together
//! they cost the radio as much as one client.

use std::path::Path;
use std::time::Instant;

use super::load::{Rover, random_seconds, random_tier, wait_until_ready};
use super::{BenchmarkReport, secs};
use crate::binary;
use crate::faults::listener::Options as Listening;
use crate::faults::listener_process::Listener;
use crate::gateway::{self, Gateway};
use crate::net::{Counts, Net, Radio};
use crate::wait::observe_for;

const LAN: Radio = Radio { delay_ms: 1.0, jitter_ms: 1.0, loss: 0.0, rate_kbit: 100_000.0 };
const RELAY_PORT: u16 = 9_080;

/// Command line options.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Plain clients behind the relay
    #[arg(long, default_value_t = 10)]
    plains: usize,
    /// Duration of each of the two halves in seconds
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Seed of the random kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the measurement: first one link on the ground, then the relay with all clients behind it, with the
/// same kills at the same times over the same radio.
pub(super) fn run(options: &Options) -> Result<BenchmarkReport, String> {
    let rover = Rover::on(Net::radio(LAN, options.seed)?, 8080, &["--source", "sim"]);
    let one = one_client(rover, options);
    let rover = Rover::on(Net::radio(LAN, options.seed)?, 8080, &["--source", "sim"]);
    let mut command = rover.net.ground.command(Path::new(&binary::bin("roverline-gateway")));
    gateway::clean_environment(&mut command);
    command.args(["relay", "--host", "127.0.0.1", "--base-port", &RELAY_PORT.to_string()]);
    command.args(["--upstream", &rover.urls().join(",")]);
    let relay = Gateway::start(command, &[]);
    let plain = vec![format!("ws://127.0.0.1:{RELAY_PORT}")];
    let listening = Listening { plain, plains: options.plains, retry_ms: 50, ..Listening::default() };
    let mut clients = Listener::start(&rover.net.ground, &listening, &[]);
    wait_until_ready(&mut clients, &listening);
    let (rover, all) = kills(rover, options);
    let report = clients.report().plain;
    drop(clients);
    drop(relay);
    drop(rover);
    let mut result = BenchmarkReport::default();
    let share = all as f64 / (one.max(1)) as f64;
    result.line(format!(
        "over the radio in {:.0} s: one link {:.1} MB, the relay with {} plain clients {:.1} MB; longest wait of a plain \
         client {:.0} ms",
        options.seconds,
        one as f64 / 1e6,
        options.plains,
        all as f64 / 1e6,
        report.gap_ms
    ));
    result.check(
        "closes seen behind the relay",
        (report.closed + report.refused + report.failed) as f64,
        0.0,
    );
    let missing = options.plains.saturating_sub(report.connected);
    result.check("plain clients not connected at the end", missing as f64, 0.0);
    result.check("bytes as a multiple of one link's", share, 1.2);
    Ok(result)
}

fn one_client(rover: Rover, options: &Options) -> u64 {
    let mut client = rover.listen(&rover.links(1, &["**"]));
    let (_rover, bytes) = kills(rover, options);
    let report = client.report();
    println!(
        "one link: {} samples, lost {}, longest wait {:.0} ms",
        report.samples, report.lost, report.gap_ms
    );
    bytes
}

/// Kills endpoints at random for the given time; the bytes sent over the radio in both directions.
fn kills(mut rover: Rover, options: &Options) -> (Rover, u64) {
    let total = |Counts { up, down }: Counts| up.bytes + down.bytes;
    let (start, mut rng) = (Instant::now(), fastrand::Rng::with_seed(options.seed));
    let before = total(rover.net.counts());
    let mut next_s = 3.0;
    while start.elapsed() < secs(options.seconds) {
        observe_for(secs(0.1), "the rhythm of the kills");
        let now_s = start.elapsed().as_secs_f64();
        if now_s >= next_s {
            let tier = random_tier(&mut rng);
            rover.kill(tier);
            println!("{now_s:>5.1} s: {tier} killed");
            next_s = now_s + random_seconds(&mut rng, 3.0, 8.0);
        }
    }
    let bytes = total(rover.net.counts()) - before;
    (rover, bytes)
}
