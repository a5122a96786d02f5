//! Errors of the emergency stop and its release.

use std::path::PathBuf;
use std::time::Duration;

use roverline_source::PublishError;

/// Why a command was not carried out. A local engage never fails: what fails then is its storage.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StopError {
    /// The id of a release has engaged the stop before.
    #[error("the id '{id}' has engaged the emergency stop: send the release with an id of its own")]
    IdUsed {
        /// The id.
        id: String,
    },
    /// The release has no id, so its repetition could not be recognised.
    #[error("a release needs an id of its own")]
    NoId,
    /// The id of a release is too long to be remembered.
    #[error("the id of a release may have {0} characters")]
    LongId(usize),
    /// The file could not be written.
    #[error("cannot write {}: {reason}; make room or correct the permissions", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// Another process holds the latch's lock.
    #[error("{} has been locked for {} s by another process: stop the one that hangs", path.display(), after.as_secs_f64())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long this process waited.
        after: Duration,
    },
    /// Too many commands wait for the disk.
    #[error("{0} commands of the emergency stop wait for the disk: try again in a moment")]
    Busy(usize),
    /// The disk takes longer than a client waits.
    #[error("the disk has not answered for {} s: read the state before you try again", .0.as_secs_f64())]
    Slow(Duration),
    /// The rover's gateway did not confirm a forwarded command.
    #[error(transparent)]
    Forward(#[from] PublishError),
}
