//! Ten plain clients behind a relay while the rover's endpoints are killed: none of them notices, and
//! together they cost the radio what one client costs.

use std::path::Path;
use std::time::Instant;

use super::load::{Dice, Rover, until_all};
use super::{Found, secs};
use crate::binary;
use crate::faults::child::Listener;
use crate::faults::listener::Options as Listening;
use crate::faults::net::{Counts, Net, Radio};
use crate::gateway::{self, Gateway};

const LAN: Radio = Radio { delay_ms: 1.0, jitter_ms: 1.0, loss: 0.0, rate_kbit: 100_000.0 };
const RELAY_PORT: u16 = 9_080;

/// How it is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Plain clients behind the relay
    #[arg(long, default_value_t = 10)]
    plains: usize,
    /// How long endpoints are killed, in each of the two halves
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Decides who is killed when
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs it: first one link on the ground, then the relay with everybody behind it, with the same kills
/// at the same times over the same radio.
pub(super) fn run(options: &Options) -> Result<Found, String> {
    let rover = Rover::on(Net::radio(LAN, options.seed)?, 8080, &["--source", "sim"]);
    let one = one_client(rover, options);
    let rover = Rover::on(Net::radio(LAN, options.seed)?, 8080, &["--source", "sim"]);
    let mut command = rover.net.ground.command(Path::new(&binary::bin("roverline-gateway")));
    gateway::undisturbed(&mut command);
    command.args(["relay", "--host", "127.0.0.1", "--base-port", &RELAY_PORT.to_string()]);
    command.args(["--upstream", &rover.urls().join(",")]);
    let relay = Gateway::start(command, &[]);
    let plain = vec![format!("ws://127.0.0.1:{RELAY_PORT}")];
    let listening = Listening { plain, plains: options.plains, retry_ms: 50, ..Listening::default() };
    let mut clients = Listener::start(&rover.net.ground, &listening, &[]);
    until_all(&mut clients, &listening);
    let (rover, all) = kills(rover, options);
    let report = clients.report().plain;
    drop(clients);
    drop(relay);
    drop(rover);
    let mut found = Found::default();
    let share = all as f64 / (one.max(1)) as f64;
    found.say(format!(
        "over the radio in {:.0} s: one link {:.1} MB, the relay with {} plain clients {:.1} MB; longest wait of a plain \
         client {:.0} ms",
        options.seconds,
        one as f64 / 1e6,
        options.plains,
        all as f64 / 1e6,
        report.gap_ms
    ));
    found.judge("closes seen behind the relay", (report.closed + report.refused + report.failed) as f64, 0.0);
    let missing = options.plains.saturating_sub(report.connected);
    found.judge("plain clients not connected at the end", missing as f64, 0.0);
    found.judge("bytes as a multiple of one link's", share, 1.2);
    Ok(found)
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

/// Kills endpoints at random for the time; bytes over the radio, both ways.
fn kills(mut rover: Rover, options: &Options) -> (Rover, u64) {
    let total = |Counts { up, down }: Counts| up.bytes + down.bytes;
    let (start, mut dice) = (Instant::now(), Dice(options.seed));
    let before = total(rover.net.counts());
    let mut next_s = 3.0;
    while start.elapsed() < secs(options.seconds) {
        std::thread::sleep(secs(0.1));
        let now_s = start.elapsed().as_secs_f64();
        if now_s >= next_s {
            let tier = dice.tier();
            rover.kill(tier);
            println!("{now_s:>5.1} s: {tier} killed");
            next_s = now_s + dice.seconds(3.0, 8.0);
        }
    }
    let bytes = total(rover.net.counts()) - before;
    (rover, bytes)
}
