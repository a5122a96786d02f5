//! Load and soak programs, each of which measures one thing; `docs/faults.md` describes them.

mod budget;
mod load;
mod plain_reconnect;
mod relay;
mod rolling;
mod soak;
mod thundering_herd;

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

/// A program.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Benchmark {
    /// Kills the primary again and again under a plain client that only knows :8080
    PlainReconnect(plain_reconnect::Options),
    /// Rolling restart under 50 links, 50 plain clients and 1 kHz
    Rolling(rolling::Options),
    /// A bandwidth budget with the whole simulated rover behind it
    Budget(budget::Options),
    /// Ten plain clients behind a relay, and their cost on the radio
    Relay(relay::Options),
    /// 200 links on four endpoints, one of which is killed
    Herd(thundering_herd::Options),
    /// Random kills for a long time: memory growth and losses
    Soak(soak::Options),
}

/// The result of a program: lines to print, and missed targets.
#[derive(Debug, Default)]
pub(crate) struct BenchmarkReport {
    lines: Vec<String>,
    failures: Vec<String>,
}

impl BenchmarkReport {
    /// Adds a line to print.
    fn line(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Adds a figure to print and compares it with its target.
    fn check(&mut self, what: &str, is: f64, at_most: f64) {
        let result = if is <= at_most { "ok" } else { "FAILED" };
        self.lines.push(format!("{what}: {is:.1} (at most {at_most:.1}) {result}"));
        if is > at_most {
            self.failures.push(format!("{what} is {is:.1}, at most {at_most:.1} expected"));
        }
    }
}

impl Benchmark {
    /// Runs the program.
    pub(crate) fn run(&self) -> ExitCode {
        let outcome = match self {
            Benchmark::PlainReconnect(options) => plain_reconnect::run(options),
            Benchmark::Rolling(options) => rolling::run(options),
            Benchmark::Budget(options) => budget::run(options),
            Benchmark::Relay(options) => relay::run(options),
            Benchmark::Herd(options) => thundering_herd::run(options),
            Benchmark::Soak(options) => soak::run(options),
        };
        match outcome {
            Ok(report) => {
                println!();
                report.lines.iter().for_each(|line| println!("{line}"));
                if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(why) => {
                println!("SKIPPED: {why}");
                ExitCode::SUCCESS
            }
        }
    }
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}
