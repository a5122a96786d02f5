//! `roverline locks`.

mod hold;
mod run;

use std::process::ExitCode;
use std::time::Duration;

use roverline_client::Config;
use roverline_protocol::api::locks::*;
use roverline_protocol::limits;

use crate::cli::coordination::{LockAsk, LocksCommand};
use crate::command::Failure;
use crate::command::coordination::{
    Refusal, Team, client, escape, is_in_doubt, print_json, print_line, print_table, tell,
};
use crate::format;

/// Exit code of a lock that was not given.
const NOT_GIVEN: u8 = 1;

/// Does it.
pub async fn run(config: Config, command: LocksCommand) -> Result<ExitCode, Failure> {
    if let LocksCommand::Run(run) = command {
        return run::run(config, run).await;
    }
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
            let outcome =
                team.ask("POST", &path, Some(crate::command::coordination::to_value(&wish)), wait).await?;
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
        LocksCommand::Run(_) => {}
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
    if let LockStanding::Held { .. } = standing {
        return Ok(ExitCode::SUCCESS);
    }
    tell(&not_given(&ask));
    Ok(ExitCode::from(NOT_GIVEN))
}

/// Why a lock was not given, in words.
fn not_given(ask: &LockAsk) -> String {
    let resource = format::printable(&ask.resource);
    match ask.wait {
        None => format!("{resource} is held by somebody else: say --wait TIME"),
        Some(_) => format!("{resource} is held by somebody else still"),
    }
}

/// Asks for a lock, and again for as long as was said: an answer takes at most
/// [`limits::API_WAIT_MS`]. Whoever is not given it has no place among those who wait any more.
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
            wait_ms: Some(wait.as_millis() as u64),
        };
        let answer =
            team.try_ask("POST", &path, Some(crate::command::coordination::to_value(&wish)), wait).await?;
        match answer {
            // The place in the queue is lost with each turn; another turn is better than none.
            Ok(LockStanding::Gone { .. }) if !left.saturating_sub(wait).is_zero() => {}
            Ok(standing) => return Ok(standing),
            // Asked for again, it would be held twice.
            Err(refusal) if is_in_doubt(&refusal) => {
                if let Some(token) = token_of(team, &ask.resource, client).await? {
                    return Ok(LockStanding::Held { token });
                }
            }
            Err(refusal) => return Err(refusal.into()),
        }
    }
}

/// The token of this client, if it holds the lock.
async fn token_of(team: &mut Team, resource: &str, client: &str) -> Result<Option<u64>, Failure> {
    let lock = look_at(team, resource).await?;
    let holders = lock.ok().map(|lock| lock.holders).unwrap_or_default();
    Ok(holders.into_iter().find(|holder| holder.client == client).map(|holder| holder.token))
}

/// A lock, if somebody has it.
async fn look_at(team: &mut Team, resource: &str) -> Result<Result<LockDocument, Refusal>, Failure> {
    team.try_ask("GET", &format!("/api/v2/locks/{}", escape(resource)), None, Duration::ZERO).await
}
