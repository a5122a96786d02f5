//! `roverline kv`.

use std::time::Duration;

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;

use crate::cli::parse_duration;

/// What to do with shared values.
#[derive(Clone, Debug, Subcommand)]
pub enum KvCommand {
    /// Print keys and their values
    #[command(after_help = "Example:\n  roverline kv list mission/")]
    List {
        /// Only keys that begin so
        #[arg(default_value = "")]
        prefix: String,
        /// At most so many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 200)]
        count: usize,
        /// Only keys after this one
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
        /// As it was at this revision
        #[arg(long, value_name = "REVISION")]
        at: Option<u64>,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a value
    ///
    /// It is as it was a second ago at most; with --linearizable it is as it is. Exit code 1: there is
    /// no such key.
    #[command(after_help = "Examples:\n  roverline kv get mission/goal\n  \
                            roverline kv get mission/goal --json | jq .version")]
    Get {
        /// Which key
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        key: String,
        /// Ask the store, not the memory of an endpoint
        #[arg(long, conflicts_with = "at")]
        linearizable: bool,
        /// As it was at this revision
        #[arg(long, value_name = "REVISION")]
        at: Option<u64>,
        /// JSON, with version and author
        #[arg(long)]
        json: bool,
    },
    /// Give a key a value, and print its version
    ///
    /// With --if-version of the version that you have read, nobody else's value is overwritten. Exit
    /// code 1: not written, or in doubt.
    #[command(after_help = "Examples:\n  roverline kv put mission/goal '\"north gate\"'\n  \
                            roverline kv put mission/goal '{\"x\": 3}' --if-version 1\n  \
                            roverline kv put here/ann true --ttl 30s")]
    Put {
        /// Which key
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        key: String,
        /// The value as JSON; - reads it from standard input
        #[arg(value_name = "JSON", allow_negative_numbers = true)]
        value: String,
        /// Only if it has this version; 0: only if there is none
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
        /// It goes by itself when this is over
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Option<Duration>,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a key
    #[command(after_help = "Example:\n  roverline kv delete mission/goal")]
    Delete {
        /// Which key
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        key: String,
        /// Only if it has this version
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Print values now, and again whenever they change
    ///
    /// Of several changes within a moment it shows the last. It watches the first 1000 keys.
    #[command(after_help = "Example:\n  roverline kv watch mission/ --json | jq --unbuffered .value")]
    Watch {
        /// Only keys that begin so
        #[arg(default_value = "")]
        prefix: String,
        /// JSON, one line each; the value of a key that is gone is left out
        #[arg(long)]
        json: bool,
    },
}

impl KvCommand {
    /// What is meant by no command at all.
    pub fn all() -> KvCommand {
        KvCommand::List { prefix: String::new(), count: 200, after: None, at: None, json: false }
    }
}
