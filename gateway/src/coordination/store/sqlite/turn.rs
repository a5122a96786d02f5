//! Whose turn it is to write. SQLite lets writers poll for its lock, and one of four was starved for
//! seconds; the kernel queues those who wait for a file lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// A file beside the store that is locked while somebody writes.
pub(super) struct Turn(File);

/// It is ours until this is dropped, or the process ends.
pub(super) struct Taken<'a>(&'a File);

impl Turn {
    pub(super) fn beside(path: &Path) -> io::Result<Turn> {
        let path = path.with_extension("turn");
        Ok(Turn(OpenOptions::new().create(true).truncate(false).write(true).open(path)?))
    }

    /// Waits for it. Where the file cannot be locked, SQLite's own lock is fair enough.
    pub(super) fn take(&self) -> Taken<'_> {
        while let Err(error) = flock(&self.0, FlockOperation::LockExclusive) {
            if error != rustix::io::Errno::INTR {
                tracing::debug!(%error, "the store's turn cannot be taken");
                break;
            }
        }
        Taken(&self.0)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // Not held: nothing to give back.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}
