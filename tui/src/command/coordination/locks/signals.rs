//! The signals that end programs: received here, and passed to a child.

use std::fs::File;

use rustix::process::{Pid, Signal as Number, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command::Failure;

/// The signals that end programs.
pub(super) struct Signals([Signal; 4]);

const KINDS: [fn() -> SignalKind; 4] =
    [SignalKind::interrupt, SignalKind::terminate, SignalKind::hangup, SignalKind::quit];

impl Signals {
    /// From now on they do not end this program.
    pub(super) fn new() -> Result<Signals, Failure> {
        let [interrupt, terminate, hangup, quit] = KINDS.map(|kind| signal(kind()));
        Ok(Signals([interrupt?, terminate?, hangup?, quit?]))
    }

    /// Waits for the next signal; returns its number.
    pub(super) async fn next(&mut self) -> i32 {
        let [interrupt, terminate, hangup, quit] = &mut self.0;
        let kind = tokio::select! {
            _ = interrupt.recv() => 0,
            _ = terminate.recv() => 1,
            _ = hangup.recv() => 2,
            _ = quit.recv() => 3,
        };
        KINDS[kind]().as_raw_value()
    }
}

/// Passes a signal to the child, unless the terminal already did.
pub(super) fn pass(child: &Child, number: i32) {
    let by_keys =
        [SignalKind::interrupt(), SignalKind::quit()].iter().any(|key| key.as_raw_value() == number);
    if !(by_keys && is_in_foreground())
        && let Some(signal) = Number::from_named_raw(number)
    {
        send(child, signal);
    }
}

/// Whether Ctrl-C and Ctrl-\ reach this process and its child from the terminal.
fn is_in_foreground() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| {
        rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
    })
}

/// Sends a signal to the child, which may have exited by itself.
pub(super) fn send(child: &Child, signal: Number) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}
