//! Arguments of `roverline preflight`.

use std::time::Duration;

use clap::Args;

use crate::cli::parse_duration;

pub(super) const HELP: &str = "\
Each line is go, check (somebody should look at it, and may confirm it in the console) or no-go.
Exit code 0: no line is no-go. Exit code 1: one is, or nothing answers.

Examples:
  roverline preflight
  roverline preflight --stop-check       only with nobody near the rover
  roverline preflight --json | jq '.checks[] | select(.verdict == \"no-go\")'";

/// Options of the preflight list.
#[derive(Clone, Copy, Debug, Args)]
pub struct PreflightArgs {
    /// Engage the emergency stop and release it again, and count the rover's answers
    #[arg(long)]
    pub stop_check: bool,
    /// How long to wait for what has not been received
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
