//! Whose turn it is to write. SQLite lets writers poll for its lock, and one of four was starved for
//! seconds; the kernel queues those who wait for a file lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// A file beside the store that is locked while somebody writes.
pub(super) struct Turn(Option<Arc<File>>);

/// It is ours until this is dropped, or the process ends.
pub(super) struct Taken(Option<Arc<File>>);

impl Turn {
    pub(super) fn beside(path: &Path) -> io::Result<Turn> {
        let path = path.with_extension("turn");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        Ok(Turn(Some(Arc::new(file))))
    }

    /// Of one who only reads.
    pub(super) fn nobodys() -> Turn {
        Turn(None)
    }

    /// Waits for it, for as long as another process has it: whoever asks for a write stops waiting by
    /// itself, and the kernel's queue stays as it is. Where the file cannot be locked, SQLite's own lock
    /// is fair enough.
    pub(super) fn take(&self) -> Taken {
        let Some(file) = &self.0 else { return Taken(None) };
        while let Err(error) = flock(file, FlockOperation::LockExclusive) {
            if error != rustix::io::Errno::INTR {
                tracing::debug!(%error, "the store's turn cannot be taken");
                break;
            }
        }
        Taken(Some(file.clone()))
    }
}

impl Turn {
    /// Takes it, unless another process has it for longer than this.
    pub(super) fn take_within(self, patience: Duration) -> Option<Taken> {
        let (tell, taken) = mpsc::sync_channel(1);
        // In the kernel's queue, as all the others; who gave up gives it back as soon as it has it.
        std::thread::Builder::new().spawn(move || drop(tell.send(self.take()))).ok()?;
        taken.recv_timeout(patience).ok()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Not held: nothing to give back.
        let _ = self.0.take().map(|file| flock(file, FlockOperation::Unlock));
    }
}
