//! The protocol between supervisor and endpoint, over the pipes of a child or the socket of an adopted
//! process. The endpoint sends its heartbeat: one byte when it serves or is ready, then one every 100 ms,
//! written by the runtime that serves clients, and one when it stops accepting. The supervisor sends its
//! commands, one per line.

use std::io::Write;
use std::time::Duration;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::log::levels::LevelChange;

/// Set for a process that must not outlive its parent.
pub const EXIT_WITH_PARENT: &str = "ROVERLINE_EXIT_WITH_PARENT";
/// Set for the endpoints of a supervisor that must not outlive it, as in demos and tests.
pub const DIE_WITH_SUPERVISOR: &str = "ROVERLINE_DIE_WITH_SUPERVISOR";
/// The resolved settings, passed from the supervisor to its children.
pub const SETTINGS: &str = "ROVERLINE_RESOLVED_SETTINGS";
/// The first byte of a process that serves or is ready to take over.
pub(crate) const READY: u8 = b'R';
/// The process was told to drain and no longer accepts connections.
pub(crate) const NOT_ACCEPTING: u8 = b'Q';
/// Everything after this byte is the reason why the process cannot take over.
pub(crate) const FAILURE: u8 = b'!';
pub(crate) const BEAT: u8 = b'.';

/// A command from the supervisor to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SupervisorCommand {
    /// Start accepting connections.
    Accept,
    /// Stop accepting connections, ask clients to leave within this time, then exit.
    Drain(Duration),
    /// Change the level of the log.
    Log(LevelChange),
}

impl SupervisorCommand {
    pub(crate) fn line(&self) -> String {
        match self {
            SupervisorCommand::Accept => "accept\n".to_owned(),
            SupervisorCommand::Drain(window) => format!("drain {}\n", window.as_millis()),
            // Texts and numbers always serialize.
            SupervisorCommand::Log(change) => {
                format!("log {}\n", serde_json::to_string(change).unwrap_or_default())
            }
        }
    }

    /// An unknown command comes from another version and is ignored.
    pub(crate) fn parse(line: &str) -> Option<SupervisorCommand> {
        match line.split_once(' ') {
            None => (line == "accept").then_some(SupervisorCommand::Accept),
            Some(("drain", millis)) => {
                millis.parse().ok().map(|millis| SupervisorCommand::Drain(Duration::from_millis(millis)))
            }
            Some(("log", change)) => serde_json::from_str(change).ok().map(SupervisorCommand::Log),
            Some(_) => None,
        }
    }
}

/// Asks the kernel to send `signal` to this process when its parent dies. Must be called first. Returns
/// false if the parent is already gone.
pub fn die_with_parent(signal: Signal, expected_parent: Option<u32>) -> bool {
    if let Err(error) = set_parent_process_death_signal(Some(signal)) {
        let _ = writeln!(std::io::stderr(), "roverline-gateway: cannot follow the parent's death: {error}");
    }
    match (expected_parent, getppid()) {
        (Some(expected), Some(parent)) => parent.as_raw_nonzero().get().unsigned_abs() == expected,
        _ => true,
    }
}

/// Returns when the parent has changed, for a process that must exit with its parent; otherwise never.
/// Covers kernels that do not send the parent-death signal.
pub async fn wait_parent_exit() {
    if std::env::var_os(EXIT_WITH_PARENT).is_none() {
        std::future::pending::<()>().await;
    }
    let parent = getppid();
    while getppid() == parent {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_parsed_or_ignored() {
        let change =
            LevelChange { level: Some("info,a=trace".into()), for_s: Some(1), by: "ann \"b\"".into() };
        for command in [
            SupervisorCommand::Accept,
            SupervisorCommand::Drain(Duration::from_millis(2_000)),
            SupervisorCommand::Log(change),
            SupervisorCommand::Log(LevelChange { level: None, for_s: None, by: String::new() }),
        ] {
            assert_eq!(SupervisorCommand::parse(command.line().trim_end()), Some(command));
        }
        for other in ["", "drain", "drain soon", "accept 1", "sing", "log", "log x"] {
            assert_eq!(SupervisorCommand::parse(other), None);
        }
    }
}
