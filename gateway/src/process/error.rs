//! Errors that end a gateway process.

use tokio::task::JoinError;

use crate::access::AccessError;
use crate::endpoint::peers::key::KeyError;

/// Why a process could not start or keep serving.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The listening socket or the signal handlers failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A routing rule is invalid.
    #[error(transparent)]
    Routing(#[from] roverline_protocol::routing::RuleError),
    /// The access rules are invalid.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The configured key of the peers cannot be used.
    #[error(transparent)]
    PeerKey(#[from] KeyError),
    /// The coordination store cannot be opened.
    #[error("{0}")]
    Coordination(String),
    /// A task that runs forever ended.
    #[error("one of the {0}'s own tasks ended")]
    TaskEnded(&'static str),
    /// A task that runs forever panicked.
    #[error("one of the {0}'s own tasks failed: {1}")]
    TaskFailed(&'static str, #[source] JoinError),
    /// The source's thread is stuck in its library.
    #[error("the source's thread has been stuck for {0} s")]
    SourceHung(u64),
    /// The accept loop panicked.
    #[error("the accept loop failed: {0}")]
    AcceptLoop(#[source] JoinError),
}

impl ProcessError {
    /// The end of a task that runs forever, of this `owner`.
    pub(super) fn from_task(owner: &'static str, result: Result<(), JoinError>) -> ProcessError {
        match result {
            Ok(()) => ProcessError::TaskEnded(owner),
            Err(error) => ProcessError::TaskFailed(owner, error),
        }
    }
}
