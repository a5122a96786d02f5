//! `roverline events`.

use clap::{Args, Subcommand};

/// Subcommands for the event log.
#[derive(Clone, Debug, Subcommand)]
pub enum EventsCommand {
    /// Print the newest events, optionally followed by new ones
    ///
    /// With --follow, events are printed without gaps or repetitions, even if an endpoint is lost.
    #[command(after_help = "Examples:\n  roverline events tail -n 50 --stream lock/arm\n  \
                            roverline events tail --follow --json | jq --unbuffered -r .type")]
    Tail {
        /// Which events to print, and how.
        #[command(flatten)]
        filter: EventFilter,
        /// Continue with new events; JSON is one line each
        #[arg(long, short = 'f')]
        follow: bool,
    },
    /// Append an event and print its number
    ///
    /// A request repeated after a lost endpoint appends the event once.
    #[command(
        after_help = "Example:\n  roverline events append mission/alpha sample.collected '{\"tube\": 3}'"
    )]
    Append(NewEvent),
    /// Verify the log's hash chain and signatures
    ///
    /// Exit code 1: the log was changed. For a long log use `roverline-gateway state verify`.
    #[command(after_help = "Example:\n  roverline events verify && echo sound")]
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the signed head of the log as JSON; a copy proves everything before it
    #[command(after_help = "Example:\n  roverline events head > head-of-today.json")]
    Head,
}

/// Filters and output options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct EventFilter {
    /// Only events of this stream, such as lock/arm
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<String>,
    /// Only events of this type, such as lock.acquired
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "stream")]
    pub kind: Option<String>,
    /// Only events with this correlation id
    #[arg(long, value_name = "ID", conflicts_with_all = ["stream", "kind"])]
    pub correlation: Option<String>,
    /// Number of newest events to print [default: 20]
    #[arg(long, short = 'n', value_name = "N")]
    pub count: Option<usize>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// An event to append.
#[derive(Clone, Debug, Args)]
pub struct NewEvent {
    /// The stream
    pub stream: String,
    /// The type
    #[arg(value_name = "TYPE")]
    pub kind: String,
    /// Details as JSON; - reads standard input
    #[arg(value_name = "JSON", default_value = "null", allow_negative_numbers = true)]
    pub data: String,
    /// Correlation id, shared by related events
    #[arg(long, value_name = "ID")]
    pub correlation: Option<String>,
    /// Only if the stream has this version; 0: no event yet
    #[arg(long, value_name = "N")]
    pub if_version: Option<u64>,
    /// Id for deduplication: an event sent twice is appended once [default: generated]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
