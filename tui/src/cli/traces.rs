//! `roverline traces`.

use std::time::Duration;

use clap::Args;

use crate::cli::duration::parse_duration;

/// Which traces to print, and how.
#[derive(Clone, Debug, Args)]
pub struct TracesArgs {
    /// Print this trace as a tree; the first digits of its id are enough
    pub id: Option<String>,
    /// Only traces that took at least this long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub slow: Option<Duration>,
    /// Only traces with a failure
    #[arg(long)]
    pub errors: bool,
    /// Only traces with this text in the name of a span, such as kv
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Only traces with this value of an attribute: a service, a client, a path
    #[arg(long, value_name = "VALUE")]
    pub attribute: Option<String>,
    /// Show where the time of this topic's samples goes, stage by stage: from the publisher to the screen
    #[arg(long, value_name = "TOPIC", conflicts_with_all = ["id", "slow", "errors", "name", "attribute", "follow"])]
    pub topic: Option<String>,
    /// Show where the time of samples goes, of all topics
    #[arg(long, conflicts_with_all = ["topic", "id", "slow", "errors", "name", "attribute", "follow"])]
    pub topics: bool,
    /// Number of newest traces to print
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub count: u16,
    /// Continue with new traces; JSON is one line each
    #[arg(long, short = 'f', conflicts_with = "id")]
    pub follow: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
