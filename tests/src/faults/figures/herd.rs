//! Many links on four endpoints; one endpoint is killed: how long until all are served again, and
//! what that costs in processor time and memory.

use std::time::Instant;

use roverline_protocol::Tier;

use super::load::Rover;
use super::{Found, secs};
use crate::faults::usage;

/// How it is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Links in all
    #[arg(long, default_value_t = 200)]
    links: usize,
    /// The gateway's --max-clients
    #[arg(long, default_value_t = 50)]
    max_clients: usize,
    /// How often
    #[arg(long, default_value_t = 3)]
    trials: usize,
}

/// Runs it.
pub(super) fn run(options: &Options) -> Result<Found, String> {
    let rover = Rover::loopback(&["--source", "sim", "--max-clients", &options.max_clients.to_string()]);
    let mut clients = rover.listen(&rover.links(options.links, &["/odom@50"]));
    let mut found = Found::default();
    let start = Instant::now();
    let (mut worst_ms, mut lost, mut twice, mut unserved): (f64, u64, u64, usize) = (0.0, 0, 0, 0);
    for n in 1..=options.trials {
        clients.report();
        found.say(usage_line(&rover, start, "before"));
        rover.kill(Tier::Primary);
        for _ in 0..10 {
            std::thread::sleep(secs(0.5));
            found.say(usage_line(&rover, start, "after"));
        }
        let report = clients.report();
        let missing = options.links.saturating_sub(report.served);
        println!(
            "trial {n}/{}: all served after {:.0} ms, lost {}, twice {}, {missing} not served",
            options.trials, report.gap_ms, report.lost, report.duplicated
        );
        worst_ms = worst_ms.max(report.gap_ms);
        lost += report.lost;
        twice += report.duplicated;
        unserved = unserved.max(missing);
        std::thread::sleep(secs(12.0));
    }
    found.judge("all served again after (ms, worst)", worst_ms, 2_000.0);
    found.judge("links not served", unserved as f64, 0.0);
    found.judge("lost", lost as f64, 0.0);
    found.judge("duplicated", twice as f64, 0.0);
    Ok(found)
}

fn usage_line(rover: &Rover, start: Instant, when: &str) -> String {
    let of = |tier: Tier| match rover.pid(tier) {
        Some(pid) => format!(
            "{tier} {:.1} MiB {:.2} s",
            usage::rss_kib(pid).unwrap_or(0.0) / 1024.0,
            usage::cpu_s(pid).unwrap_or(0.0)
        ),
        None => format!("{tier} down"),
    };
    format!("  {:>5.1} s {when:<6} {}", start.elapsed().as_secs_f64(), Tier::ALL.map(of).join(", "))
}
