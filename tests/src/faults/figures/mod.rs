//! Programs that each show one figure: what they do and print is in `docs/faults.md`.

mod budget;
mod herd;
mod load;
mod plain_reconnect;
mod relay;
mod rolling;
mod soak;

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

/// One program.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Figure {
    /// The primary is killed again and again under a plain client that only knows :8080
    PlainReconnect(plain_reconnect::Options),
    /// A rolling restart under 50 links, 50 plain clients and 1 kHz
    Rolling(rolling::Options),
    /// A link budget with the whole simulated rover behind it
    Budget(budget::Options),
    /// Ten plain clients behind a relay, and what they cost the radio
    Relay(relay::Options),
    /// 200 links on four endpoints, one of which is killed
    Herd(herd::Options),
    /// Random kills for a long time: memory, losses
    Soak(soak::Options),
}

/// What a program found: lines to print, and what was not as it should be.
#[derive(Debug, Default)]
pub(crate) struct Found {
    lines: Vec<String>,
    failures: Vec<String>,
}

impl Found {
    /// A figure to print.
    fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    /// A figure to print and to judge.
    fn judge(&mut self, what: &str, is: f64, at_most: f64) {
        let verdict = if is <= at_most { "ok" } else { "FAILED" };
        self.lines.push(format!("{what}: {is:.1} (at most {at_most:.1}) {verdict}"));
        if is > at_most {
            self.failures.push(format!("{what} is {is:.1}, at most {at_most:.1} expected"));
        }
    }
}

impl Figure {
    /// Runs it.
    pub(crate) fn run(&self) -> ExitCode {
        let found = match self {
            Figure::PlainReconnect(options) => plain_reconnect::run(options),
            Figure::Rolling(options) => rolling::run(options),
            Figure::Budget(options) => budget::run(options),
            Figure::Relay(options) => relay::run(options),
            Figure::Herd(options) => herd::run(options),
            Figure::Soak(options) => soak::run(options),
        };
        match found {
            Ok(found) => {
                println!();
                found.lines.iter().for_each(|line| println!("{line}"));
                if found.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
