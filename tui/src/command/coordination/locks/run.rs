//! `roverline locks run`: runs a command while holding a lock.

use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use roverline_client::Config;
use roverline_protocol::api::locks::{LockClient, LockClientStatus, OutcomeDocument};

use crate::cli::coordination::{LockArgs, RunWithLock};
use crate::command::Failure;
use crate::command::coordination::locks::hold::{Ended, Holding};
use crate::command::coordination::locks::{acquire, descendants, describe, guard, not_given};
use crate::command::coordination::{CoordinationClient, client, escape, inform};

/// Longest time for the release; the lock expires by itself.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// Holds a lock while a command runs.
pub(super) async fn run(config: Config, run: RunWithLock) -> Result<ExitCode, Failure> {
    if run.command.is_empty() {
        return Err(Failure::Usage("say what to run".to_owned()));
    }
    let mut client = CoordinationClient::open(config).await.map_err(not_had)?;
    let result = execute(&mut client, run).await;
    client.close().await;
    result
}

fn not_had(failure: Failure) -> Failure {
    match failure {
        Failure::Nothing(why) => Failure::Lock(why),
        other => other,
    }
}

async fn execute(team: &mut CoordinationClient, run: RunWithLock) -> Result<ExitCode, Failure> {
    let RunWithLock { args: request, command } = run;
    let (who, token) = obtain(team, &request).await.map_err(not_had)?;
    // Signals to this program end the command, even before it has started.
    let holding = Holding::new(team, &request, &who)?;
    // If the guard itself is killed, what it guarded becomes this program's.
    descendants::adopt_orphans().map_err(std::io::Error::from)?;
    // This program's own file, even if another version has taken its place.
    let guard = tokio::process::Command::new("/proc/self/exe")
        .args(guard::command_line(std::process::id()))
        .args(&command)
        .env("ROVERLINE_LOCK", &request.resource)
        .env("ROVERLINE_LOCK_TOKEN", token.to_string())
        .spawn();
    let ended = match guard {
        Ok(guard) => {
            let ended = holding.until_end_of(guard).await;
            descendants::end_all().await;
            ended?
        }
        Err(error) => {
            give_back(team, &request, &who).await?;
            return Err(error.into());
        }
    };
    match ended {
        Ended::Lost(why) => {
            Err(Failure::Lock(format!("{} is lost, the command was ended: {why}", request.resource)))
        }
        Ended::Itself(status) => {
            give_back(team, &request, &who).await?;
            Ok(ExitCode::from(code_of(status)))
        }
    }
}

/// Acquires the lock for a client name that no other run uses.
async fn obtain(team: &mut CoordinationClient, request: &LockArgs) -> Result<(String, u64), Failure> {
    let who = match &request.client {
        // Two commands of one user are two clients.
        None => format!("{}:{}", client(None), std::process::id()),
        Some(given) => {
            refuse_twice(team, request, given).await?;
            given.clone()
        }
    };
    match acquire(team, request, &who).await? {
        LockClientStatus::Held { token } => Ok((who, token)),
        _ => Err(Failure::Lock(not_given(request))),
    }
}

/// A client that holds a lock gets it again: two commands would hold it at once.
async fn refuse_twice(team: &mut CoordinationClient, request: &LockArgs, who: &str) -> Result<(), Failure> {
    let Ok(lock) = describe(team, &request.resource).await? else { return Ok(()) };
    let holds = lock.holders.iter().any(|holder| holder.client == who);
    if !holds && !lock.waiting.iter().any(|waiter| waiter.client == who) {
        return Ok(());
    }
    let what = if holds { "holds" } else { "waits for" };
    Err(Failure::Lock(format!("{who} {what} {} already: say another --client, or none", request.resource)))
}

/// Releases the lock. Fails if it was lost while the command ran.
async fn give_back(team: &mut CoordinationClient, request: &LockArgs, who: &str) -> Result<(), Failure> {
    let path = format!("/api/v2/locks/{}/release", escape(&request.resource));
    let body = LockClient { client: who.to_owned() };
    let given = tokio::time::timeout(GIVE_BACK, team.retry_idempotent::<OutcomeDocument>(&path, &body)).await;
    match given {
        Ok(Ok((Ok(_), _))) => Ok(()),
        Ok(Ok((Err(refusal), false))) if refusal.status == 404 => Err(Failure::Lock(format!(
            "{} was lost while the command ran: {}",
            request.resource,
            crate::format::printable(&refusal.why)
        ))),
        // The request was repeated; the first one released it.
        Ok(Ok((Err(refusal), true))) if refusal.status == 404 => Ok(()),
        _ => {
            let ttl = request.ttl.as_secs_f64();
            inform(&format!(
                "{} could not be given back: it ends by itself within {ttl} s",
                request.resource
            ));
            Ok(())
        }
    }
}

/// The guard's exit code is the command's. Killed itself, it has none.
fn code_of(guard: ExitStatus) -> u8 {
    guard.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
