//! Errors of lock operations.

use crate::limits;
use crate::store::StoreError;

/// Why a lock was not acquired, kept or released.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// A name is empty, too long, or has a slash or a control character.
    #[error("the name of a resource or client has 1 to {max} bytes, no slash and no control character", max = limits::LOCK_NAME_BYTES)]
    InvalidName,
    /// An identity is empty, too long, or has a control character.
    #[error("an identity has 1 to {max} bytes and no control character", max = limits::IDENTITY_BYTES)]
    InvalidIdentity,
    /// A reason is missing or too long.
    #[error("a reason has at most {max} characters, and whoever takes a lock gives one", max = limits::LOCK_REASON_CHARS)]
    InvalidReason,
    /// A shared lock cannot be upgraded to exclusive: two clients that try would wait for each other.
    #[error("{0} is held or asked for as shared: release it before asking for it as exclusive")]
    Upgrade(String),
    /// The request would deadlock: each client waits for the next, and the last for the first.
    #[error("that would be a deadlock: {}", .0.join(" waits for "))]
    Deadlock(Vec<String>),
    /// The queue of this resource, or of all resources, is full.
    #[error("{max} wait for {0} already", max = limits::LOCK_WAITING_CLIENTS)]
    TooManyWaiters(String),
    /// The client neither holds the lock nor waits for it; its lease may have ended.
    #[error("{client} does not hold {resource}, or not any more")]
    NotHeld {
        /// The resource.
        resource: String,
        /// The client.
        client: String,
    },
    /// The client's name is that of another identity's client.
    #[error(
        "{owner} holds {resource} or waits for it as {client}, and you are somebody else: only {owner} can renew, release or hand it over. A commander can take it away, with a reason (force-release)"
    )]
    NotOwner {
        /// The resource.
        resource: String,
        /// The name that both use.
        client: String,
        /// The identity to which the lock or the request belongs.
        owner: String,
    },
    /// Several identities ask under one name.
    #[error("several ask for {resource} under the name {client}: say by whom (`by`)")]
    Ambiguous {
        /// The resource.
        resource: String,
        /// The name.
        client: String,
    },
    /// The lock was forcibly released.
    #[error("{by} took {resource} from {client}: {reason}")]
    Taken {
        /// The resource.
        resource: String,
        /// The client that held or awaited it.
        client: String,
        /// The identity that released it.
        by: String,
        /// The given reason.
        reason: String,
    },
    /// The token is not a current holder's.
    #[error("the token {given} for {resource} is not valid any more")]
    Stale {
        /// The resource.
        resource: String,
        /// The token that was presented.
        given: u64,
    },
    /// No holder, several holders, or too many waiters to reorder.
    #[error("{resource} cannot be handed over: {why}")]
    NoHandover {
        /// The resource.
        resource: String,
        /// What prevents the handover.
        why: &'static str,
    },
    /// There is no handover request of this client, or not any more.
    #[error("{client} does not ask for {resource}, or not any more")]
    NotRequested {
        /// The resource.
        resource: String,
        /// The requesting client.
        client: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
