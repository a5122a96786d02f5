//! A cross-process write lock with a fair queue. SQLite's own lock is polled, and starved one of four
//! writers for seconds; the kernel queues the waiters of a file lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// A file beside the store that is locked during writes.
pub(super) struct WriteLock(Option<Arc<File>>);

/// Held until it is dropped or the process ends.
pub(super) struct WriteLockGuard(Option<Arc<File>>);

impl WriteLock {
    pub(super) fn beside(path: &Path) -> io::Result<WriteLock> {
        let path = path.with_extension("turn");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        Ok(WriteLock(Some(Arc::new(file))))
    }

    /// For a connection that only reads.
    pub(super) fn none() -> WriteLock {
        WriteLock(None)
    }

    /// Waits for as long as another process holds the lock: callers time out on their own, and the kernel's
    /// queue keeps its order. If the file cannot be locked, SQLite's own lock is fair enough.
    pub(super) fn acquire(&self) -> WriteLockGuard {
        let Some(file) = &self.0 else { return WriteLockGuard(None) };
        while let Err(error) = flock(file, FlockOperation::LockExclusive) {
            if error != rustix::io::Errno::INTR {
                tracing::debug!(%error, "the store's write lock cannot be taken");
                break;
            }
        }
        WriteLockGuard(Some(file.clone()))
    }
}

impl WriteLock {
    /// Acquires the lock, unless another process holds it for longer than this.
    pub(super) fn acquire_within(self, timeout: Duration) -> Option<WriteLockGuard> {
        let (sender, taken) = mpsc::sync_channel(1);
        // The thread waits in the kernel's queue like all others, and releases the lock at once if the
        // caller has given up.
        std::thread::Builder::new().spawn(move || drop(sender.send(self.acquire()))).ok()?;
        taken.recv_timeout(timeout).ok()
    }
}

impl Drop for WriteLockGuard {
    fn drop(&mut self) {
        // If it is not held, there is nothing to release.
        let _ = self.0.take().map(|file| flock(file, FlockOperation::Unlock));
    }
}
