//! `roverline events`.

use clap::{Args, Subcommand};

/// What to do with the log of what happened.
#[derive(Clone, Debug, Subcommand)]
pub enum EventsCommand {
    /// Print the newest events, and go on with those to come
    ///
    /// With --follow, none is left out and none comes twice, whichever endpoint is lost meanwhile.
    #[command(after_help = "Examples:\n  roverline events tail -n 50 --stream lock/arm\n  \
                            roverline events tail --follow --json | jq --unbuffered -r .type")]
    Tail {
        /// Which events, and how.
        #[command(flatten)]
        filter: EventFilter,
        /// Go on with those to come; JSON is one line each then
        #[arg(long, short = 'f')]
        follow: bool,
    },
    /// Append an event, and print its number
    ///
    /// One that is sent twice because an endpoint was lost is in the log once.
    #[command(
        after_help = "Example:\n  roverline events append mission/alpha sample.collected '{\"tube\": 3}'"
    )]
    Append(NewEvent),
    /// Find out whether the log is what was written
    ///
    /// Exit code 1: it is not. Of a long log, use `roverline-gateway state verify`.
    #[command(after_help = "Example:\n  roverline events verify && echo sound")]
    Verify {
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the signed end of the log, as JSON: who keeps it can prove what was before it
    #[command(after_help = "Example:\n  roverline events head > head-of-today.json")]
    Head,
}

/// Which events, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct EventFilter {
    /// Only those of this stream, such as lock/arm
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<String>,
    /// Only those of this type, such as lock.acquired
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "stream")]
    pub kind: Option<String>,
    /// Only those that belong together
    #[arg(long, value_name = "ID", conflicts_with_all = ["stream", "kind"])]
    pub correlation: Option<String>,
    /// The newest so many [default: 20]
    #[arg(long, short = 'n', value_name = "N")]
    pub count: Option<usize>,
    /// JSON
    #[arg(long)]
    pub json: bool,
}

/// An event to be appended.
#[derive(Clone, Debug, Args)]
pub struct NewEvent {
    /// What it is about
    pub stream: String,
    /// What happened
    #[arg(value_name = "TYPE")]
    pub kind: String,
    /// What is to be known of it, as JSON; - reads it from standard input
    #[arg(value_name = "JSON", default_value = "null", allow_negative_numbers = true)]
    pub data: String,
    /// What belongs together has the same
    #[arg(long, value_name = "ID")]
    pub correlation: Option<String>,
    /// Only if the stream has this version; 0: no event yet
    #[arg(long, value_name = "N")]
    pub if_version: Option<u64>,
    /// By which the log knows it again: sent twice, it is appended once [default: one of its own]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// JSON
    #[arg(long)]
    pub json: bool,
}
