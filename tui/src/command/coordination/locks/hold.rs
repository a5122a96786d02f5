//! Holding a lock while a child runs.

use std::process::ExitStatus;
use std::time::Duration;

use roverline_protocol::api::locks::{LockClient, LockStanding};
use rustix::process::{Pid, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::cli::coordination::LockAsk;
use crate::command::Failure;
use crate::command::coordination::{Team, escape, to_value};

/// How long a child may take to end when its lock is lost.
const GRACE: Duration = Duration::from_secs(2);

/// Why it is over.
pub(super) enum Ended {
    /// The child ended by itself, or by a signal that it was passed.
    Itself(ExitStatus),
    /// The lock is lost, for this reason; the child was ended.
    Lost(String),
}

/// A lock that is held while a child runs.
pub(super) struct Holding<'a> {
    team: &'a mut Team,
    ask: &'a LockAsk,
    who: &'a str,
    /// Until then it is held whatever happens.
    until: Instant,
    signals: Signals,
}

impl<'a> Holding<'a> {
    /// Of a lock that has just been given.
    pub(super) fn new(team: &'a mut Team, ask: &'a LockAsk, who: &'a str) -> Result<Holding<'a>, Failure> {
        // Who takes it is noticed at once, and not at the next sign of life.
        team.listen(&format!("/api/v2/locks/{}", escape(&ask.resource)));
        Ok(Holding { team, ask, who, until: Instant::now() + ask.ttl, signals: Signals::new()? })
    }

    /// Keeps it alive until the child ends, which is passed all signals; ends the child when it is lost.
    pub(super) async fn until_end_of(mut self, mut child: Child) -> Result<Ended, Failure> {
        let mut beat = tokio::time::interval(self.ask.ttl / 3);
        beat.reset();
        loop {
            tokio::select! {
                status = child.wait() => return Ok(Ended::Itself(status?)),
                number = self.signals.next() => {
                    pass(&child, number);
                    continue;
                }
                _ = beat.tick() => {}
                stirred = self.team.stirred() => if stirred.is_err() {
                    // The link has ended: the beat says what becomes of the lock.
                    beat.tick().await;
                },
            }
            if let Some(why) = self.lost().await {
                end(&mut child).await;
                return Ok(Ended::Lost(why));
            }
        }
    }

    /// Gives a sign of life; why it is lost, if it is.
    async fn lost(&mut self) -> Option<String> {
        let path = format!("/api/v2/locks/{}/keep-alive", escape(&self.ask.resource));
        let body = Some(to_value(&LockClient { client: self.who.to_owned() }));
        let asked = Instant::now();
        let alive = self.team.try_ask::<LockStanding>("POST", &path, body, Duration::ZERO);
        let why = match tokio::time::timeout_at(self.until, alive).await {
            Ok(Ok(Ok(LockStanding::Held { .. }))) => {
                self.until = asked + self.ask.ttl;
                return None;
            }
            // The store or the link is away for a moment: the lease has time left.
            Ok(Ok(Err(refusal))) if refusal.status >= 500 && asked < self.until => return None,
            Ok(Err(_)) if asked < self.until => return None,
            Ok(Ok(Ok(_))) => "somebody else has it".to_owned(),
            Ok(Ok(Err(refusal))) => refusal.why,
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "nobody answered until it ended".to_owned(),
        };
        Some(why)
    }
}

/// What ends programs.
struct Signals([Signal; 4]);

const KINDS: [fn() -> SignalKind; 4] =
    [SignalKind::interrupt, SignalKind::terminate, SignalKind::hangup, SignalKind::quit];

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let [interrupt, terminate, hangup, quit] = KINDS.map(|kind| signal(kind()));
        Ok(Signals([interrupt?, terminate?, hangup?, quit?]))
    }

    /// The number of the next one.
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

/// Passes a signal to the child, unless a terminal has told it already.
fn pass(child: &Child, number: i32) {
    let by_keys =
        [SignalKind::interrupt(), SignalKind::quit()].iter().any(|key| key.as_raw_value() == number);
    if !(by_keys && is_in_foreground()) {
        tell(child, number);
    }
}

/// Whether Ctrl-C and Ctrl-\ go to this process, and so to its child.
fn is_in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| {
        rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
    })
}

fn tell(child: &Child, number: i32) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, rustix::process::Signal::from_named_raw(number)) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

/// Asks the child to end, and ends it.
async fn end(child: &mut Child) {
    tell(child, SignalKind::terminate().as_raw_value());
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
