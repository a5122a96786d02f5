//! `roverline locks`.

mod descendants;
pub mod guard;
mod hold;
mod run;
mod signals;

use std::process::ExitCode;
use std::time::Duration;

use roverline_client::Config;
use roverline_protocol::api::locks::*;
use roverline_protocol::limits;

use crate::cli::coordination::{LockArgs, LocksCommand};
use crate::command::Failure;
use crate::command::coordination::{
    ApiError, CoordinationClient, client, escape, inform, is_indeterminate, print_json, print_line,
    print_table,
};
use crate::command::print::identity;
use crate::format;

/// Exit code if the lock was not acquired.
const NOT_GIVEN: u8 = 1;

/// Runs the subcommand.
pub async fn run(config: Config, command: LocksCommand) -> Result<ExitCode, Failure> {
    if let LocksCommand::Run(run) = command {
        return run::run(config, run).await;
    }
    CoordinationClient::run(config, async |team| execute(team, command).await).await
}

async fn execute(team: &mut CoordinationClient, command: LocksCommand) -> Result<ExitCode, Failure> {
    match command {
        LocksCommand::List { json } => {
            let list: LockList = team.get("/api/v2/locks").await?;
            if json { print_json(&list) } else { table(&list) }?;
        }
        LocksCommand::Watch { json } => {
            let show = |list: LockList| if json { print_line(&list) } else { table(&list) };
            team.watch("/api/v2/locks", show).await?;
        }
        LocksCommand::Acquire { args } => return acquire_once(team, args).await,
        LocksCommand::Release { resource, client: given } => {
            let path = format!("/api/v2/locks/{}/release", escape(&resource));
            let done: OutcomeDocument = team.post(&path, &LockClient { client: client(given) }).await?;
            inform(&done.message);
        }
        LocksCommand::Force { resource, client, reason } => {
            let path = format!("/api/v2/locks/{}/force-release", escape(&resource));
            let done: OutcomeDocument = team.post(&path, &ForceRelease { client, by: None, reason }).await?;
            inform(&done.message);
        }
        LocksCommand::Handover { resource, client: given, message, ttl, wait } => {
            let wish = HandoverBody {
                client: client(given),
                message,
                ttl_ms: ttl.as_millis() as u64,
                wait_ms: wait.as_millis() as u64,
            };
            let path = format!("/api/v2/locks/{}/handover", escape(&resource));
            let outcome = team
                .request("POST", &path, Some(crate::command::coordination::to_value(&wish)), wait)
                .await?;
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
                by: None,
                grant: refuse.is_none(),
                reason: refuse.unwrap_or_default(),
            };
            let path = format!("/api/v2/locks/{}/handover/answer", escape(&resource));
            let done: OutcomeDocument = team.post(&path, &answer).await?;
            inform(&done.message);
        }
        LocksCommand::Run(_) | LocksCommand::Guard(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns of the list. A holder is an identity, with the declared name of its client if that differs.
const COLUMNS: [&str; 5] = ["RESOURCE", "MODE", "HELD BY (TOKEN)", "WAITING", "ASKED FOR BY"];

fn table(list: &LockList) -> Result<(), Failure> {
    print_table(&COLUMNS, &rows(list))
}

fn rows(list: &LockList) -> Vec<Vec<String>> {
    let who = |by: &Option<String>, client: &str| identity(by.as_deref(), Some(client));
    let row = |lock: &LockDocument| {
        let held = |one: &LockHolder| format!("{} ({})", who(&one.by, &one.client), one.token);
        let held: Vec<_> = lock.holders.iter().map(held).collect();
        let waiting: Vec<_> = lock.waiting.iter().map(|one| who(&one.by, &one.client)).collect();
        let asks: Vec<_> = lock.handovers.iter().map(|one| who(&one.by, &one.client)).collect();
        let mode = if lock.mode == LockType::Shared { "shared" } else { "exclusive" };
        vec![lock.resource.clone(), mode.to_owned(), held.join(", "), waiting.join(", "), asks.join(", ")]
    };
    list.locks.iter().map(row).collect()
}

async fn acquire_once(team: &mut CoordinationClient, request: LockArgs) -> Result<ExitCode, Failure> {
    let standing = acquire(team, &request, &client(request.client.clone())).await?;
    print_line(&standing)?;
    if let LockClientStatus::Held { .. } = standing {
        return Ok(ExitCode::SUCCESS);
    }
    inform(&not_given(&request));
    Ok(ExitCode::from(NOT_GIVEN))
}

/// Why a lock was not acquired, in words.
fn not_given(request: &LockArgs) -> String {
    let resource = format::printable(&request.resource);
    match request.wait {
        None => format!("{resource} is held by somebody else: say --wait TIME"),
        Some(_) => format!("{resource} is held by somebody else still"),
    }
}

/// Acquires a lock, with repeated requests for the whole wait: one request waits at most
/// [`limits::API_WAIT_MS`]. A client that gives up no longer waits at the gateway.
async fn acquire(
    team: &mut CoordinationClient,
    request: &LockArgs,
    client: &str,
) -> Result<LockClientStatus, Failure> {
    let path = format!("/api/v2/locks/{}/acquire", escape(&request.resource));
    let mode = if request.shared { LockType::Shared } else { LockType::Exclusive };
    let end = tokio::time::Instant::now() + request.wait.unwrap_or_default();
    loop {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let wait = left.min(Duration::from_millis(limits::API_WAIT_MS));
        let wish = AcquireBody {
            client: client.to_owned(),
            mode,
            ttl_ms: request.ttl.as_millis() as u64,
            wait_ms: Some(wait.as_millis() as u64),
        };
        let answer = team
            .try_request("POST", &path, Some(crate::command::coordination::to_value(&wish)), wait)
            .await?;
        match answer {
            // The position in the queue is lost between requests, which is better than giving up.
            Ok(LockClientStatus::Gone { .. }) if !left.saturating_sub(wait).is_zero() => {}
            Ok(standing) => return Ok(standing),
            // A second acquire would hold it twice.
            Err(refusal) if is_indeterminate(&refusal) => {
                if let Some(token) = token_of(team, &request.resource, client).await? {
                    return Ok(LockClientStatus::Held { token });
                }
            }
            Err(refusal) => return Err(refusal.into()),
        }
    }
}

/// The token of this client, if it holds the lock.
async fn token_of(
    team: &mut CoordinationClient,
    resource: &str,
    client: &str,
) -> Result<Option<u64>, Failure> {
    let lock = describe(team, resource).await?;
    let holders = lock.ok().map(|lock| lock.holders).unwrap_or_default();
    Ok(holders.into_iter().find(|holder| holder.client == client).map(|holder| holder.token))
}

/// A lock's status, if it is held.
async fn describe(
    team: &mut CoordinationClient,
    resource: &str,
) -> Result<Result<LockDocument, ApiError>, Failure> {
    team.try_request("GET", &format!("/api/v2/locks/{}", escape(resource)), None, Duration::ZERO).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::print;

    #[test]
    fn a_lock_shows_identities_and_what_their_clients_say() {
        let list = serde_json::json!({"locks": [
            {
                "resource": "arm", "mode": "exclusive",
                "holders": [{"client": "bob@base", "by": "ada", "token": 7}],
                "waiting": [{"client": "\u{1b}[2Jada", "by": "mallory", "mode": "exclusive"}],
                "handovers": [{"client": "mallory", "by": "mallory", "message": ""}],
            },
            {
                "resource": "map", "mode": "shared",
                "holders": [{"client": "old", "token": 3}, {"client": "127.0.0.1", "by": "127.0.0.1", "token": 4}],
                "waiting": [], "handovers": [],
            },
        ], "revision": 1});
        let list: LockList = serde_json::from_value(list).unwrap();
        insta::assert_snapshot!(print::table(&COLUMNS, &rows(&list)));
    }
}
