//! Holding a lock while a child process runs.

use std::process::ExitStatus;
use std::time::Duration;

use roverline_protocol::api::locks::{LockClient, LockClientStatus};
use rustix::process::{Pid, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::cli::coordination::LockArgs;
use crate::command::Failure;
use crate::command::coordination::{CoordinationClient, escape, to_value};

/// How long a child may take to exit after its lock is lost.
const GRACE: Duration = Duration::from_secs(2);

/// How it ended.
pub(super) enum Ended {
    /// The child exited by itself, or by a forwarded signal.
    Itself(ExitStatus),
    /// The lock was lost for this reason, and the child was ended.
    Lost(String),
}

/// A lock that is held while a child runs.
pub(super) struct Holding<'a> {
    team: &'a mut CoordinationClient,
    request: &'a LockArgs,
    who: &'a str,
    /// The lease is valid until then.
    until: Instant,
    signals: Signals,
}

impl<'a> Holding<'a> {
    /// For a lock that was just acquired.
    pub(super) fn new(
        team: &'a mut CoordinationClient,
        request: &'a LockArgs,
        who: &'a str,
    ) -> Result<Holding<'a>, Failure> {
        // A forced release is noticed at once by a watch, not at the next keep-alive.
        team.listen(&format!("/api/v2/locks/{}", escape(&request.resource)));
        Ok(Holding { team, request, who, until: Instant::now() + request.ttl, signals: Signals::new()? })
    }

    /// Keeps the lock alive until the child exits, forwards signals, and ends the child if the lock
    /// is lost.
    pub(super) async fn until_end_of(mut self, mut child: Child) -> Result<Ended, Failure> {
        let mut beat = tokio::time::interval(self.request.ttl / 3);
        beat.reset();
        loop {
            tokio::select! {
                status = child.wait() => return Ok(Ended::Itself(status?)),
                number = self.signals.next() => {
                    pass(&child, number);
                    continue;
                }
                _ = beat.tick() => {}
                next_change = self.team.next_change() => if next_change.is_err() {
                    // The connection has ended: the keep-alive decides what becomes of the lock.
                    beat.tick().await;
                },
            }
            if let Some(why) = self.lost().await {
                end(&mut child).await;
                return Ok(Ended::Lost(why));
            }
        }
    }

    /// Sends a keep-alive; returns why the lock is lost, if it is.
    async fn lost(&mut self) -> Option<String> {
        let path = format!("/api/v2/locks/{}/keep-alive", escape(&self.request.resource));
        let body = Some(to_value(&LockClient { client: self.who.to_owned() }));
        let pending = Instant::now();
        let alive = self.team.try_request::<LockClientStatus>("POST", &path, body, Duration::ZERO);
        let why = match tokio::time::timeout_at(self.until, alive).await {
            Ok(Ok(Ok(LockClientStatus::Held { .. }))) => {
                self.until = pending + self.request.ttl;
                return None;
            }
            // The store or the connection is away for a moment: the lease has time left.
            Ok(Ok(Err(refusal))) if refusal.status >= 500 && pending < self.until => return None,
            Ok(Err(_)) if pending < self.until => return None,
            Ok(Ok(Ok(_))) => "somebody else has it".to_owned(),
            Ok(Ok(Err(refusal))) => crate::format::printable(&refusal.why),
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "nobody answered until it ended".to_owned(),
        };
        Some(why)
    }
}

/// The signals that end programs.
struct Signals([Signal; 4]);

const KINDS: [fn() -> SignalKind; 4] =
    [SignalKind::interrupt, SignalKind::terminate, SignalKind::hangup, SignalKind::quit];

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let [interrupt, terminate, hangup, quit] = KINDS.map(|kind| signal(kind()));
        Ok(Signals([interrupt?, terminate?, hangup?, quit?]))
    }

    /// Waits for the next signal; returns its number.
    async fn next(&mut self) -> i32 {
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

/// Forwards a signal to the child, unless the terminal already did.
fn pass(child: &Child, number: i32) {
    let by_keys =
        [SignalKind::interrupt(), SignalKind::quit()].iter().any(|key| key.as_raw_value() == number);
    if !(by_keys && is_in_foreground()) {
        inform(child, number);
    }
}

/// Whether Ctrl-C and Ctrl-\ reach this process and its child from the terminal.
fn is_in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| {
        rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
    })
}

fn inform(child: &Child, number: i32) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, rustix::process::Signal::from_named_raw(number)) {
        // It may have exited by itself.
        let _ = kill_process(pid, signal);
    }
}

/// Asks the child to exit, then kills it.
async fn end(child: &mut Child) {
    inform(child, SignalKind::terminate().as_raw_value());
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
