//! The pipes between supervisor and endpoint. The endpoint's standard output carries its heartbeat: one
//! byte when it serves or is ready, then one every 100 ms, written by the runtime that serves clients, and
//! one when it stops accepting. Its standard input carries the supervisor's commands, one per line, and
//! closes when the supervisor ends.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tokio::sync::mpsc;

use crate::limits;

/// Set for a process that must not outlive its parent.
pub const EXIT_WITH_PARENT: &str = "ROVERLINE_EXIT_WITH_PARENT";
/// The resolved settings, passed from the supervisor to its children.
pub const SETTINGS: &str = "ROVERLINE_RESOLVED_SETTINGS";
/// The first byte of a process that serves or is ready to take over.
pub(crate) const READY: u8 = b'R';
/// The process was told to drain and no longer accepts connections.
pub(crate) const NOT_ACCEPTING: u8 = b'Q';
/// Everything after this byte is the reason why the process cannot take over.
pub(crate) const FAILURE: u8 = b'!';
const BEAT: u8 = b'.';

/// A command from the supervisor to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupervisorCommand {
    /// Start accepting connections.
    Accept,
    /// Stop accepting connections, ask clients to leave within this time, then exit.
    Drain(Duration),
}

impl SupervisorCommand {
    pub(crate) fn line(self) -> String {
        match self {
            SupervisorCommand::Accept => "accept\n".to_owned(),
            SupervisorCommand::Drain(window) => format!("drain {}\n", window.as_millis()),
        }
    }

    /// An unknown command comes from another version and is ignored.
    fn parse(line: &str) -> Option<SupervisorCommand> {
        match line.split_once(' ') {
            None => (line == "accept").then_some(SupervisorCommand::Accept),
            Some(("drain", millis)) => {
                millis.parse().ok().map(|millis| SupervisorCommand::Drain(Duration::from_millis(millis)))
            }
            Some(_) => None,
        }
    }
}

/// Asks the kernel to send `signal` to this process when its parent dies. Must be called first. Returns
/// false if the parent is already gone.
pub fn die_with_parent(signal: Signal, expected_parent: Option<u32>) -> bool {
    if let Err(error) = set_parent_process_death_signal(Some(signal)) {
        eprintln!("roverline-gateway: cannot follow the parent's death: {error}");
    }
    match (expected_parent, getppid()) {
        (Some(expected), Some(parent)) => parent.as_raw_nonzero().get().unsigned_abs() == expected,
        _ => true,
    }
}

/// Reports to the supervisor that this endpoint serves.
pub fn report_ready() {
    // A supervisor that stops reading must not block this process.
    let stdout = std::io::stdout();
    if let Ok(flags) = rustix::fs::fcntl_getfl(stdout.as_fd()) {
        let _ = rustix::fs::fcntl_setfl(stdout.as_fd(), flags | rustix::fs::OFlags::NONBLOCK);
    }
    send(&[READY]);
}

/// Reports to the supervisor that this endpoint no longer accepts connections.
pub fn report_not_accepting() {
    send(&[NOT_ACCEPTING]);
}

/// Reports to the supervisor why this endpoint cannot take over; it exits afterwards.
pub fn report_failure(why: &str) {
    send(&[&[FAILURE], why.as_bytes()].concat());
}

/// Sends heartbeats forever.
pub async fn beat() {
    let mut tick = tokio::time::interval(Duration::from_millis(limits::CHILD_HEARTBEAT_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        send(&[BEAT]);
    }
}

fn send(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// The supervisor's commands, from standard input. The channel closes when the supervisor is gone.
pub fn command_pipe() -> mpsc::Receiver<SupervisorCommand> {
    let (sender, commands) = mpsc::channel(8);
    // A blocking read needs a thread; it holds no resources and ends with the process.
    let listening = std::thread::Builder::new().name("command_pipe".to_owned()).spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if let Some(command) = SupervisorCommand::parse(&line) {
                let _ = sender.blocking_send(command);
            }
        }
    });
    if let Err(error) = listening {
        tracing::error!(%error, "no thread to listen to the supervisor");
    }
    commands
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
        for command in [SupervisorCommand::Accept, SupervisorCommand::Drain(Duration::from_millis(2_000))] {
            assert_eq!(SupervisorCommand::parse(command.line().trim_end()), Some(command));
        }
        for other in ["", "drain", "drain soon", "accept 1", "sing"] {
            assert_eq!(SupervisorCommand::parse(other), None);
        }
    }
}
