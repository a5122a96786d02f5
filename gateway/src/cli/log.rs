//! The `log` command: shows the level of a running gateway's log, or changes it in all processes.

use std::time::Duration;

use clap::Args;
use roverline_protocol::api::log::LogDocument;
use roverline_protocol::printable::printable_json;

use crate::cli::Target;
use crate::cli::control::{print_text, send_request};
use crate::cli::error::{CliError, runtime_error, usage_error};
use crate::config::parse_seconds;
use crate::log::LogFilter;
use crate::log::levels::LevelChange;
use crate::supervisor::control::Request;

pub(super) const EXAMPLES: &str = "\
Examples:
  roverline-gateway log                         the level now, and until when
  roverline-gateway log debug --for 10m         more, for ten minutes
  roverline-gateway log info,roverline_gateway::hub=trace
                                                everything of one part of the program
  roverline-gateway log --reset                 back to the configured level
  tail -F ~/.local/state/roverline/gateway-8080/log/primary.*.log

A gateway that runs one endpoint (`serve`) has no supervisor; its API does the same:
  curl -X PUT http://127.0.0.1:8080/api/v2/log \\
       -H 'Content-Type: application/json' -d '{\"level\": \"debug\", \"for_s\": 600}'";

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// off, error, warn, info, debug or trace, and TARGET=LEVEL for parts of the program, separated by
    /// commas; without it, the level is shown
    #[arg(value_name = "LEVEL", conflicts_with = "reset")]
    level: Option<LogFilter>,
    /// How long the level holds, at most a day: 90s, 10m, 2h [default: 1h]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_seconds, requires = "level")]
    duration: Option<f64>,
    /// Put the configured level back now
    #[arg(long)]
    reset: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn log(args: &LogArgs) -> Result<(), CliError> {
    let by = format!("user {} of this computer", rustix::process::getuid().as_raw());
    let change = match (&args.level, args.reset) {
        (None, false) => None,
        (None, true) => Some(LevelChange { level: None, for_s: None, by }),
        (Some(filter), _) => {
            let for_s = args.duration.map(whole_seconds).transpose()?;
            Some(LevelChange { level: Some(filter.text().to_owned()), for_s, by })
        }
    };
    let is_change = change.is_some();
    let answer = send_request(&args.target, &Request::Log { change }, |_| ())?;
    let Some(mut document) = answer.log else {
        return Err(runtime_error("the running gateway is older than this command; restart it"));
    };
    if !is_change {
        document.processes.clear();
    }
    print_text(&match args.json {
        true => printable_json(&format!("{}\n", serde_json::to_string(&document).map_err(runtime_error)?)),
        false => describe(&document),
    });
    Ok(())
}

fn whole_seconds(seconds: f64) -> Result<u64, CliError> {
    let duration = Duration::try_from_secs_f64(seconds.ceil()).map_err(usage_error)?;
    Ok(duration.as_secs())
}

/// The level in words.
fn describe(document: &LogDocument) -> String {
    let LogDocument { level, configured, remaining_s, changed_by, processes } = document;
    let mut text = match remaining_s {
        None => format!("level {level}, as configured\n"),
        Some(seconds) => format!(
            "level {level} for another {}, then {configured} again (configured)\nset by {}; \
             `roverline-gateway log --reset` puts {configured} back now\n",
            duration(*seconds),
            changed_by.as_deref().unwrap_or("nobody")
        ),
    };
    if !processes.is_empty() {
        text += &format!("sent to {}\n", processes.join(", "));
    }
    text
}

/// `9 min 58 s`.
fn duration(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_described_with_its_end() {
        let mut document = LogDocument {
            level: "debug".to_owned(),
            configured: "info".to_owned(),
            remaining_s: Some(598.7),
            changed_by: Some("ann".to_owned()),
            processes: vec!["supervisor".to_owned(), "primary".to_owned()],
        };
        let text = describe(&document);
        assert!(
            text.starts_with("level debug for another 9 min 58 s, then info again (configured)\nset by ann"),
            "{text}"
        );
        assert!(text.ends_with("sent to supervisor, primary\n"), "{text}");
        (document.remaining_s, document.level) = (None, "info".to_owned());
        document.processes.clear();
        assert_eq!(describe(&document), "level info, as configured\n");
        assert_eq!((duration(0.2), duration(3_600.0)), ("0 s".to_owned(), "1 h 0 min".to_owned()));
    }
}
