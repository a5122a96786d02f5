//! `roverline locks`.

use std::process::ExitCode;
use std::time::Duration;

use roverline_link::Config;
use roverline_protocol::api::locks::*;
use roverline_protocol::limits;

use super::{Team, client, escape, is_in_doubt, print_json, print_line, print_table, tell};
use crate::cli::team::{LockAsk, LocksCommand, RunWithLock};
use crate::command::Failure;

/// Exit code of a lock that was not given, or was lost.
const NOT_GIVEN: u8 = 1;

/// Does it.
pub async fn run(config: Config, command: LocksCommand) -> Result<ExitCode, Failure> {
    let mut team = Team::open(config).await?;
    match command {
        LocksCommand::List { json } => {
            let list: LockList = team.get("/api/v2/locks").await?;
            if json { print_json(&list) } else { table(&list) }?;
        }
        LocksCommand::Watch { json } => {
            let show = |list: LockList| if json { print_line(&list) } else { table(&list) };
            team.watch("/api/v2/locks", show).await?;
        }
        LocksCommand::Acquire { ask } => return acquire(&mut team, ask).await,
        LocksCommand::Release { resource, client: given } => {
            let path = format!("/api/v2/locks/{}/release", escape(&resource));
            let done: Done = team.post(&path, &LockClient { client: client(given) }).await?;
            tell(&done.message);
        }
        LocksCommand::Force { resource, client, reason } => {
            let path = format!("/api/v2/locks/{}/force-release", escape(&resource));
            let done: Done = team.post(&path, &ForceRelease { client, reason }).await?;
            tell(&done.message);
        }
        LocksCommand::Handover { resource, client: given, message, ttl, wait } => {
            let wish = HandoverWish {
                client: client(given),
                message,
                ttl_ms: ttl.as_millis() as u64,
                wait_ms: wait.as_millis() as u64,
            };
            let path = format!("/api/v2/locks/{}/handover", escape(&resource));
            let outcome = team.ask("POST", &path, Some(super::to_value(&wish)), wait).await?;
            print_line(&outcome)?;
            return Ok(match outcome {
                HandoverOutcome::Granted { .. } => ExitCode::SUCCESS,
                _ => ExitCode::from(NOT_GIVEN),
            });
        }
        LocksCommand::Answer { resource, client: asker, holder, refuse } => {
            let answer = HandoverAnswer {
                holder: client(holder),
                client: asker,
                grant: refuse.is_none(),
                reason: refuse.unwrap_or_default(),
            };
            let path = format!("/api/v2/locks/{}/handover/answer", escape(&resource));
            let done: Done = team.post(&path, &answer).await?;
            tell(&done.message);
        }
        LocksCommand::Run(run) => return with_lock(team, run).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(list: &LockList) -> Result<(), Failure> {
    let row = |lock: &LockDocument| {
        let holders: Vec<String> =
            lock.holders.iter().map(|holder| format!("{} ({})", holder.client, holder.token)).collect();
        let waiting: Vec<&str> = lock.waiting.iter().map(|waiter| waiter.client.as_str()).collect();
        let asks: Vec<&str> = lock.handovers.iter().map(|asks| asks.client.as_str()).collect();
        let mode = if lock.mode == LockType::Shared { "shared" } else { "exclusive" };
        vec![lock.resource.clone(), mode.to_owned(), holders.join(", "), waiting.join(", "), asks.join(", ")]
    };
    let rows: Vec<_> = list.locks.iter().map(row).collect();
    print_table(&["RESOURCE", "MODE", "HELD BY (TOKEN)", "WAITING", "ASKED FOR BY"], &rows)
}

async fn acquire(team: &mut Team, ask: LockAsk) -> Result<ExitCode, Failure> {
    let standing = ask_for(team, &ask, &client(ask.client.clone())).await?;
    print_line(&standing)?;
    Ok(match standing {
        LockStanding::Held { .. } => ExitCode::SUCCESS,
        _ => ExitCode::from(NOT_GIVEN),
    })
}

/// Asks for a lock, and again for as long as was said: an answer takes at most
/// [`limits::API_WAIT_MS`].
async fn ask_for(team: &mut Team, ask: &LockAsk, client: &str) -> Result<LockStanding, Failure> {
    let path = format!("/api/v2/locks/{}/acquire", escape(&ask.resource));
    let mode = if ask.shared { LockType::Shared } else { LockType::Exclusive };
    let end = tokio::time::Instant::now() + ask.wait.unwrap_or_default();
    loop {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let wait = left.min(Duration::from_millis(limits::API_WAIT_MS));
        let wish = LockWish {
            client: client.to_owned(),
            mode,
            ttl_ms: ask.ttl.as_millis() as u64,
            wait_ms: ask.wait.map(|_| wait.as_millis() as u64),
        };
        let answer = team.try_ask("POST", &path, Some(super::to_value(&wish)), wait).await?;
        match answer {
            // The place in the queue is lost with each turn; another turn is better than none.
            Ok(LockStanding::Gone { .. }) if !left.saturating_sub(wait).is_zero() => {}
            Ok(standing) => return Ok(standing),
            // Asked for again, it is held or waited for still.
            Err(refusal) if is_in_doubt(&refusal) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
}

/// Holds a lock for as long as a command runs.
async fn with_lock(mut team: Team, run: RunWithLock) -> Result<ExitCode, Failure> {
    let RunWithLock { ask, command } = run;
    let who = client(ask.client.clone());
    let token = match ask_for(&mut team, &ask, &who).await? {
        LockStanding::Held { token } => token,
        _ => {
            let path = format!("/api/v2/locks/{}/release", escape(&ask.resource));
            let _: Result<Result<Done, _>, _> = team
                .try_ask("POST", &path, Some(super::to_value(&LockClient { client: who })), Duration::ZERO)
                .await;
            return Err(Failure::Nothing(format!(
                "{} is held by somebody else: say --wait TIME",
                ask.resource
            )));
        }
    };
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::Usage("say what to run".to_owned()));
    };
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .env("ROVERLINE_LOCK", &ask.resource)
        .env("ROVERLINE_LOCK_TOKEN", token.to_string())
        .kill_on_drop(true)
        .spawn();
    let ended = match child {
        Ok(child) => hold(&mut team, child, &ask, &who).await,
        Err(error) => Err(Failure::Nothing(format!("{program} does not start: {error}"))),
    };
    let path = format!("/api/v2/locks/{}/release", escape(&ask.resource));
    let _: Result<Result<Done, _>, _> =
        team.try_ask("POST", &path, Some(super::to_value(&LockClient { client: who })), Duration::ZERO).await;
    ended
}

/// Keeps the lock alive while the child runs; the child ends when the lock is lost.
async fn hold(
    team: &mut Team,
    mut child: tokio::process::Child,
    ask: &LockAsk,
    who: &str,
) -> Result<ExitCode, Failure> {
    let path = format!("/api/v2/locks/{}/keep-alive", escape(&ask.resource));
    let mut held_until = tokio::time::Instant::now() + ask.ttl;
    let mut beat = tokio::time::interval(ask.ttl / 3);
    beat.reset();
    loop {
        tokio::select! {
            status = child.wait() => {
                let code = status?.code().and_then(|code| u8::try_from(code).ok());
                return Ok(ExitCode::from(code.unwrap_or(NOT_GIVEN)));
            }
            _ = beat.tick() => {
                let body = Some(super::to_value(&LockClient { client: who.to_owned() }));
                let asked = tokio::time::Instant::now();
                let alive = team.try_ask::<LockStanding>("POST", &path, body, Duration::ZERO);
                let why = match tokio::time::timeout_at(held_until, alive).await {
                    Ok(Ok(Ok(_))) => {
                        held_until = asked + ask.ttl;
                        continue;
                    }
                    // The store or the link is away for a moment: the lease has time left.
                    Ok(Ok(Err(refusal))) if refusal.status >= 500 && asked < held_until => continue,
                    Ok(Err(_)) if asked < held_until => continue,
                    Ok(Ok(Err(refusal))) => refusal.why,
                    Ok(Err(failure)) => failure.to_string(),
                    Err(_) => "nobody answered until it ended".to_owned(),
                };
                end(&mut child).await;
                let resource = &ask.resource;
                return Err(Failure::Nothing(format!("{resource} is lost, the command was ended: {why}")));
            }
        }
    }
}

/// Asks the child to end, and ends it.
async fn end(child: &mut tokio::process::Child) {
    if let Some(pid) =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(Duration::from_secs(2), child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
