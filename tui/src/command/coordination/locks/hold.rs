//! Holding a lock while a child process runs.

use std::process::ExitStatus;
use std::time::Duration;

use roverline_protocol::api::locks::{LockClient, LockClientStatus};
use tokio::process::Child;
use tokio::time::Instant;

use crate::cli::coordination::LockArgs;
use crate::command::Failure;
use crate::command::coordination::locks::descendants::GRACE;
use crate::command::coordination::locks::guard::END;
use crate::command::coordination::locks::signals::{Signals, pass, send};
use crate::command::coordination::{CoordinationClient, escape, to_value};

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

/// Has the guard end its command.
async fn end(guard: &mut Child) {
    send(guard, END);
    // It needs as long for each of its two signals.
    if tokio::time::timeout(3 * GRACE, guard.wait()).await.is_err() {
        let _ = guard.kill().await;
    }
}
