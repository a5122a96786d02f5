//! One client of each dialect subscribes and stops reading for twenty seconds: the effect on the others, and
//! on the server's memory during and after the stall.

use std::net::SocketAddr;
use std::time::Duration;

use super::clients::{Client, Server};
use super::{MIX, OURS, Run, WARM_UP, percentile};

/// Messages of 1 KiB at 1 kHz: 20 s.
const MESSAGES: u64 = 20_000;
/// Clients that read, two of each dialect.
const READERS: usize = 10;

/// Runs with and without stalled clients, and prints both.
pub(super) fn run() {
    println!(
        "{:<8} {:>7} {:>6} {:>8} {:>8} {:>8} {:>10} {:>10} {:>10}",
        "run", "readers", "lost", "p50 ms", "p99 ms", "max ms", "RSS before", "RSS during", "RSS after"
    );
    for (name, stalls) in [("calm", false), ("stalled", true), ("calm", false), ("stalled", true)] {
        let mut server = Server::start(OURS);
        let ready = server.line();
        let (port, channel) = ready.trim().split_once(' ').expect("a port and a channel");
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        let channel = channel.parse().unwrap();
        let readers: Vec<_> =
            (0..READERS).map(|at| Client::connect(address, MIX[at % MIX.len()], channel)).collect();
        let before = server.rss_mb();
        let stalled: Vec<_> = MIX
            .iter()
            .filter(|_| stalls)
            .map(|dialect| Client::connect(address, *dialect, channel))
            .collect();
        let mut run = Run { messages: MESSAGES, clients: readers };
        let mut latencies = run.run(&mut server);
        let during = server.rss_mb();
        drop((stalled, run));
        // The stalled clients are gone: their memory must be freed.
        std::thread::sleep(Duration::from_secs(3));
        let after = server.rss_mb();
        latencies.sort_unstable();
        let ms = |percent| percentile(&latencies, percent) as f64 / 1e6;
        println!(
            "{name:<8} {READERS:>7} {:>6} {:>8.3} {:>8.3} {:>8.3} {before:>10.1} {during:>10.1} {after:>10.1}",
            MESSAGES * READERS as u64 - latencies.len() as u64,
            ms(50),
            ms(99),
            ms(100),
        );
    }
    println!("({WARM_UP} messages before each are not counted; memory in MB)");
}
