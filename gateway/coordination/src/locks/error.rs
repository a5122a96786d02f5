//! Why a lock is not given, kept or given back.

use roverline_protocol::limits;

use crate::store::StoreError;

/// Why a lock is not given, kept or given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// A name is empty, too long, or has a slash or a control character.
    #[error("the name of a resource or client has 1 to {max} bytes, no slash and no control character", max = limits::LOCK_NAME_BYTES)]
    Name,
    /// A text for people is too long, or missing.
    #[error("a reason has at most {max} characters, and whoever takes a lock gives one", max = limits::LOCK_REASON_CHARS)]
    Reason,
    /// A shared lock cannot become exclusive: two that try would wait for each other.
    #[error("{0} is held or asked for as shared: release it before asking for it as exclusive")]
    Upgrade(String),
    /// Waiting would never end: each of these waits for the next, and the last for the first.
    #[error("that would be a deadlock: {}", .0.join(" waits for "))]
    Deadlock(Vec<String>),
    /// Too many want it.
    #[error("{max} wait for {0} already", max = limits::LOCK_WAITING_CLIENTS)]
    Crowded(String),
    /// The client neither holds it nor waits for it; its lease may have ended.
    #[error("{client} does not hold {resource}, or not any more")]
    NotHeld {
        /// What.
        resource: String,
        /// Who.
        client: String,
    },
    /// It was taken from the client.
    #[error("{by} took {resource} from {client}: {reason}")]
    Taken {
        /// What.
        resource: String,
        /// From whom.
        client: String,
        /// Who did.
        by: String,
        /// And why.
        reason: String,
    },
    /// The token is not the one of a holder.
    #[error("the token {given} for {resource} is not valid any more")]
    Stale {
        /// What.
        resource: String,
        /// The token that was shown.
        given: u64,
    },
    /// Nobody holds it, several do, or too many wait to be passed: there is no one to hand it over.
    #[error("{resource} cannot be handed over: {why}")]
    NoHandover {
        /// What.
        resource: String,
        /// What is in the way.
        why: &'static str,
    },
    /// The client does not ask for it, or not any more.
    #[error("{client} does not ask for {resource}, or not any more")]
    NotAsked {
        /// What.
        resource: String,
        /// Who.
        client: String,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
