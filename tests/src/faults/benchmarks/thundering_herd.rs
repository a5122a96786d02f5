//! Thundering herd: many links on four endpoints, one of which is killed. Measures how long it takes until
//! all links are served again, and the processor time and memory that this costs.

use std::time::Instant;

use roverline_protocol::Tier;

use super::load::Rover;
use super::{BenchmarkReport, secs};
use crate::usage;
use crate::wait::observe_for;

/// Command line options.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Links in total
    #[arg(long, default_value_t = 200)]
    links: usize,
    /// The gateway's `--max-clients`
    #[arg(long, default_value_t = 50)]
    max_clients: usize,
    /// Number of trials
    #[arg(long, default_value_t = 3)]
    trials: usize,
}

/// Runs the measurement.
pub(super) fn run(options: &Options) -> Result<BenchmarkReport, String> {
    let rover = Rover::loopback(&["--source", "sim", "--max-clients", &options.max_clients.to_string()]);
    let mut clients = rover.listen(&rover.links(options.links, &["/odom@50"]));
    let mut result = BenchmarkReport::default();
    let start = Instant::now();
    let (mut worst_ms, mut lost, mut twice, mut unserved): (f64, u64, u64, usize) = (0.0, 0, 0, 0);
    for n in 1..=options.trials {
        clients.report();
        result.line(usage_line(&rover, start, "before"));
        rover.kill(Tier::Primary);
        for _ in 0..10 {
            observe_for(secs(0.5), "the interval of the measurements");
            result.line(usage_line(&rover, start, "after"));
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
        observe_for(secs(12.0), "links return to the primary");
    }
    result.check("all served again after (ms, worst)", worst_ms, 2_000.0);
    result.check("links not served", unserved as f64, 0.0);
    result.check("lost", lost as f64, 0.0);
    result.check("duplicated", twice as f64, 0.0);
    Ok(result)
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
