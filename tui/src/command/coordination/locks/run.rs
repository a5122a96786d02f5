//! `roverline locks run`: a command that runs while a lock is held.

use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use roverline_client::Config;
use roverline_protocol::api::locks::{Done, LockClient, LockStanding};

use crate::cli::coordination::{LockAsk, RunWithLock};
use crate::command::Failure;
use crate::command::coordination::locks::hold::{Ended, Holding};
use crate::command::coordination::locks::{ask_for, look_at, not_given};
use crate::command::coordination::{Team, client, escape, tell};

/// The command is not there, or cannot be executed (as shells say it: POSIX, 2.8.2).
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// A command that a signal ended: the signal's number behind it.
const SIGNALLED: i32 = 128;
/// How long giving back may take; the lock ends by itself.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// Holds a lock for as long as a command runs.
pub(super) async fn run(config: Config, run: RunWithLock) -> Result<ExitCode, Failure> {
    let RunWithLock { ask, command } = run;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::Usage("say what to run".to_owned()));
    };
    let not_had = |failure| match failure {
        Failure::Nothing(why) => Failure::Lock(why),
        other => other,
    };
    let mut team = Team::open(config).await.map_err(not_had)?;
    let (who, token) = obtain(&mut team, &ask).await.map_err(not_had)?;
    // What is to end this program ends the command, from before there is one.
    let holding = Holding::new(&mut team, &ask, &who)?;
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .env("ROVERLINE_LOCK", &ask.resource)
        .env("ROVERLINE_LOCK_TOKEN", token.to_string())
        .kill_on_drop(true)
        .spawn();
    let ended = match child {
        Ok(child) => holding.until_end_of(child).await?,
        Err(error) => {
            tell(&format!("{program} does not start: {error}"));
            let code = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
            give_back(&mut team, &ask, &who).await?;
            return Ok(ExitCode::from(code));
        }
    };
    match ended {
        Ended::Lost(why) => {
            Err(Failure::Lock(format!("{} is lost, the command was ended: {why}", ask.resource)))
        }
        Ended::Itself(status) => {
            give_back(&mut team, &ask, &who).await?;
            Ok(ExitCode::from(code_of(status)))
        }
    }
}

/// The lock, for a client that nobody else is.
async fn obtain(team: &mut Team, ask: &LockAsk) -> Result<(String, u64), Failure> {
    let who = match &ask.client {
        // Two commands of one user are two.
        None => format!("{}:{}", client(None), std::process::id()),
        Some(given) => {
            refuse_twice(team, ask, given).await?;
            given.clone()
        }
    };
    match ask_for(team, ask, &who).await? {
        LockStanding::Held { token } => Ok((who, token)),
        _ => Err(Failure::Lock(not_given(ask))),
    }
}

/// A client that holds a lock is given it again: two commands would have it at once.
async fn refuse_twice(team: &mut Team, ask: &LockAsk, who: &str) -> Result<(), Failure> {
    let Ok(lock) = look_at(team, &ask.resource).await? else { return Ok(()) };
    let holds = lock.holders.iter().any(|holder| holder.client == who);
    if !holds && !lock.waiting.iter().any(|waiter| waiter.client == who) {
        return Ok(());
    }
    let what = if holds { "holds" } else { "waits for" };
    Err(Failure::Lock(format!("{who} {what} {} already: say another --client, or none", ask.resource)))
}

/// Gives the lock back. Fails where it was lost while the command ran.
async fn give_back(team: &mut Team, ask: &LockAsk, who: &str) -> Result<(), Failure> {
    let path = format!("/api/v2/locks/{}/release", escape(&ask.resource));
    let body = LockClient { client: who.to_owned() };
    let given = tokio::time::timeout(GIVE_BACK, team.insist::<Done>(&path, &body)).await;
    match given {
        Ok(Ok((Ok(_), _))) => Ok(()),
        Ok(Ok((Err(refusal), false))) if refusal.status == 404 => {
            Err(Failure::Lock(format!("{} was lost while the command ran: {}", ask.resource, refusal.why)))
        }
        // Asked for twice, it was given back the first time.
        Ok(Ok((Err(refusal), true))) if refusal.status == 404 => Ok(()),
        _ => {
            let ttl = ask.ttl.as_secs_f64();
            tell(&format!("{} could not be given back: it ends by itself within {ttl} s", ask.resource));
            Ok(())
        }
    }
}

fn code_of(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_code_is_the_commands() {
        let of = |raw| code_of(ExitStatus::from_raw(raw));
        assert_eq!((of(0), of(7 << 8), of(255 << 8)), (0, 7, 255));
        assert_eq!((of(9), of(15)), (137, 143), "killed by a signal");
    }
}
