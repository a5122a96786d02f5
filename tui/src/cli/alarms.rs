//! `roverline alarms`.

use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use roverline_protocol::api::alarms::AlarmSeverity;

use crate::cli::parse_duration;

/// Which alarms to print, and how.
#[derive(Clone, Debug, Args)]
pub struct AlarmsArgs {
    /// Only alarms of this severity or worse: watch, warning, distress, critical, severe
    #[arg(long, value_name = "SEVERITY", value_parser = severity())]
    pub severity: Option<AlarmSeverity>,
    /// Cleared alarms as well
    #[arg(long, short = 'a')]
    pub all: bool,
    /// Print them again after every change; JSON is one line each
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn severity() -> impl TypedValueParser<Value = AlarmSeverity> {
    let names = PossibleValuesParser::new(AlarmSeverity::ALL.map(AlarmSeverity::name));
    names.map(|name| AlarmSeverity::named(&name).unwrap_or_default())
}

/// Subcommands for alarms.
#[derive(Clone, Debug, Subcommand)]
pub enum AlarmsCommand {
    /// Acknowledge alarms for the whole team
    ///
    /// The first acknowledgement counts. An alarm that becomes worse, or is raised again, wants another one.
    #[command(
        visible_alias = "ack",
        after_help = "Examples:\n  roverline alarms acknowledge battery/battery_state --comment 'going home'\n  \
                      roverline alarms acknowledge --all"
    )]
    Acknowledge {
        /// The ids, as the list has them
        #[arg(required_unless_present = "every", value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
        ids: Vec<String>,
        /// All that nobody has acknowledged yet, without the shelved ones
        #[arg(long = "all", conflicts_with = "ids")]
        every: bool,
        /// A comment, for the team and the event log
        #[arg(long, short = 'm', value_name = "TEXT", default_value = "")]
        comment: String,
        /// Print JSON, one line each
        #[arg(long)]
        json: bool,
    },
    /// Shelve an alarm for a time: it does not count as open
    #[command(
        after_help = "Example:\n  roverline alarms shelve gps-fix/gps/fix --for 20m --reason 'under the bridge'"
    )]
    Shelve {
        /// The id, as the list has it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// The reason, for the team and the event log
        #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
        reason: String,
        /// For how long
        #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
        duration: Duration,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take an alarm off the shelf
    Unshelve {
        /// The id, as the list has it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
