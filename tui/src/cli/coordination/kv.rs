//! `roverline kv`.

use std::time::Duration;

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;

use crate::cli::parse_duration;

/// Subcommands for shared values.
#[derive(Clone, Debug, Subcommand)]
pub enum KvCommand {
    /// Print keys and their values
    #[command(after_help = "Example:\n  roverline kv list mission/")]
    List {
        /// Only keys with this prefix
        #[arg(default_value = "")]
        prefix: String,
        /// At most this many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 200)]
        count: usize,
        /// Only keys after this one
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
        /// As of this revision
        #[arg(long, value_name = "REVISION")]
        at: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a value
    ///
    /// The value is at most one second old; with --linearizable it is current. Exit code 1: the key
    /// does not exist.
    #[command(after_help = "Examples:\n  roverline kv get mission/goal\n  \
                            roverline kv get mission/goal --json | jq .version")]
    Get {
        /// The key
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        key: String,
        /// Read from the store, not from the endpoint's cache
        #[arg(long, conflicts_with = "at")]
        linearizable: bool,
        /// As of this revision
        #[arg(long, value_name = "REVISION")]
        at: Option<u64>,
        /// Print JSON, with version and author
        #[arg(long)]
        json: bool,
    },
    /// Set a value and print its version
    ///
    /// With --if-version, a value that was changed since you read it is not overwritten. Exit code
    /// 1: not written, or indeterminate.
    #[command(after_help = "Examples:\n  roverline kv put mission/goal '\"north gate\"'\n  \
                            roverline kv put mission/goal '{\"x\": 3}' --if-version 1\n  \
                            roverline kv put here/ann true --ttl 30s")]
    Put {
        /// The key
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        key: String,
        /// The value as JSON; - reads standard input
        #[arg(value_name = "JSON", allow_negative_numbers = true)]
        value: String,
        /// Only if the key has this version; 0: only if it does not exist
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
        /// Expire after this time
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Option<Duration>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a key
    #[command(after_help = "Example:\n  roverline kv delete mission/goal")]
    Delete {
        /// The key
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        key: String,
        /// Only if the key has this version
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print values, and again after every change
    ///
    /// Of several changes within a moment only the last is printed. The first 1000 keys are
    /// watched.
    #[command(after_help = "Example:\n  roverline kv watch mission/ --json | jq --unbuffered .value")]
    Watch {
        /// Only keys with this prefix
        #[arg(default_value = "")]
        prefix: String,
        /// Print JSON, one line each; a deleted key has no value
        #[arg(long)]
        json: bool,
    },
}

impl KvCommand {
    /// The default subcommand.
    pub fn all() -> KvCommand {
        KvCommand::List { prefix: String::new(), count: 200, after: None, at: None, json: false }
    }
}
