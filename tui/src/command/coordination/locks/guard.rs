//! The process between `roverline locks run` and its command. It ends the command, with all that the command has
//! started, when the lock is lost, when the command itself ends, and when `locks run` is killed.

use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::coordination::GuardArgs;
use crate::command::Failure;
use crate::command::coordination::inform;
use crate::command::coordination::locks::descendants;
use crate::command::coordination::locks::signals::{Signals, pass};

/// Exit codes for a command that is missing or not executable (POSIX shell, 2.8.2).
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// Exit code base for a command ended by a signal; the signal's number is added.
const SIGNALLED: i32 = 128;
/// Interval at which orphans that have ended are reaped.
const REAP: Duration = Duration::from_secs(10);
/// Tells a guard to end the command and all that it has started.
pub(super) const END: Signal = Signal::USR1;

/// The command line of a guard, without its command.
pub(super) fn command_line(parent: u32) -> [String; 5] {
    ["locks".to_owned(), "guard".to_owned(), "--parent".to_owned(), parent.to_string(), "--".to_owned()]
}

/// Runs the command; its exit code.
pub fn run(args: &GuardArgs) -> Result<ExitCode, Failure> {
    // One thread: the command's life is bound to the thread that starts it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(guard(args))
}

async fn guard(args: &GuardArgs) -> Result<ExitCode, Failure> {
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(Failure::Usage("say what to run".to_owned()));
    };
    let mut signals = Signals::new()?;
    let mut end = signal(SignalKind::from_raw(END.as_raw()))?;
    descendants::adopt_orphans().map_err(std::io::Error::from)?;
    set_parent_process_death_signal(Some(END)).map_err(std::io::Error::from)?;
    // It may have been killed before this.
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(args.parent) {
        return Err(Failure::Lock("the program that holds the lock has ended".to_owned()));
    }
    let mut child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(error) => {
            inform(&format!("{program} does not start: {error}"));
            let code = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
            return Ok(ExitCode::from(code));
        }
    };
    let mut reap = tokio::time::interval(REAP);
    loop {
        tokio::select! {
            status = child.wait() => return finish(status?).await,
            number = signals.next() => pass(&child, number),
            _ = reap.tick() => descendants::reap_orphans(child.id()),
            _ = end.recv() => return end_all(&mut child).await,
        }
    }
}

/// Ends what the command has left running: nothing may run on without the lock.
async fn finish(status: ExitStatus) -> Result<ExitCode, Failure> {
    descendants::end_all().await;
    descendants::reap_orphans(None);
    Ok(ExitCode::from(code_of(status)))
}

async fn end_all(child: &mut Child) -> Result<ExitCode, Failure> {
    descendants::end_all().await;
    finish(child.wait().await?).await
}

/// The exit code of a command, as shells say it.
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
