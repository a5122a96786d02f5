//! The lock of a state directory: one supervisor at a time. The kernel releases it with the process, so it
//! cannot go stale.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The lock's file in the state directory; it contains the holder's process id.
const FILE: &str = "supervisor.lock";
/// How long a supervisor that was killed a moment ago may take to be gone.
const RELEASE_ATTEMPTS: u32 = 15;
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(super) struct StateLock {
    _file: File,
}

/// Why the lock is not available.
#[derive(Debug, thiserror::Error)]
pub enum StateLockError {
    /// Another supervisor has it.
    #[error(
        "another supervisor{} runs with the state directory {}; stop it with `roverline-gateway down --state \
         {}`, or choose another directory with --state",
        .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), .dir.display(), .dir.display()
    )]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The other supervisor.
        pid: Option<u32>,
    },
    /// The file cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl StateLock {
    /// Locks `dir`, which is created if it is missing.
    pub(super) async fn acquire(dir: &Path) -> Result<StateLock, StateLockError> {
        let path = dir.join(FILE);
        let io = |source| StateLockError::Io { path: path.clone(), source };
        std::fs::create_dir_all(dir).map_err(io)?;
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        let mut attempts = 0;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(io(error.into()));
            }
            attempts += 1;
            if attempts > RELEASE_ATTEMPTS {
                return Err(StateLockError::Held { dir: dir.to_owned(), pid: holder(&mut file) });
            }
            tokio::time::sleep(RELEASE_PAUSE).await;
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(io)?;
        Ok(StateLock { _file: file })
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_second_is_refused_with_the_first_ones_pid() {
        let dir = std::env::temp_dir().join(format!("roverline-lock-{}", std::process::id()));
        let first = StateLock::acquire(&dir).await.unwrap();
        let error = StateLock::acquire(&dir).await.unwrap_err();
        assert!(matches!(&error, StateLockError::Held { pid: Some(pid), .. } if *pid == std::process::id()));
        let text = error.to_string();
        assert!(text.contains("down --state") && text.contains(&std::process::id().to_string()), "{text}");
        drop(first);
        StateLock::acquire(&dir).await.unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
