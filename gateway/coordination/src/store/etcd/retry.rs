//! Calls to the cluster, with retries where repeating a request does no harm.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::time::Instant;

use crate::limits;
use crate::store::etcd::cluster::Cluster;
use crate::store::etcd::member::TransportError;
use crate::store::{Revision, StoreError};

/// Timeout of one write attempt; after it the outcome is unknown.
const ETCD_WRITE_MS: u64 = 2_000;

/// Whether a request may be repeated after its response was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idempotency {
    /// It changes nothing, or has the same effect when repeated.
    Idempotent,
    /// Repeating it could apply it twice.
    NotIdempotent,
}

/// Why a call failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// Rejected, with gRPC's code and etcd's message. `lost` if an earlier attempt may have arrived.
    Status { code: i32, words: String, lost: bool },
    /// The response is larger than the limit.
    TooBig,
    /// It did not happen; the reason.
    Unavailable(String),
    /// It may have happened; the reason.
    Unknown(String),
}

/// How to continue after a failure.
#[derive(Debug, PartialEq, Eq)]
enum RetryDecision {
    /// It did not happen: try another member.
    OtherMember(String),
    /// It did not happen: try the same member.
    SameMember(String),
    /// It did not happen: authenticate again.
    Reauthenticate(String),
    /// It may have happened.
    Indeterminate(String),
    /// Retrying is pointless.
    Fail(CallError),
}

const NOT_FOUND: i32 = 5;
const OUT_OF_RANGE: i32 = 11;

/// Calls a method of the cluster.
pub(super) async fn call<R: Message + Default>(
    cluster: &Arc<Cluster>,
    method: &'static str,
    request: &impl Message,
    idempotency: Idempotency,
) -> Result<R, CallError> {
    let until = Instant::now() + Duration::from_millis(limits::ETCD_TIMEOUT_MS);
    let within = Duration::from_millis(match idempotency {
        Idempotency::Idempotent => limits::ETCD_READ_MS,
        Idempotency::NotIdempotent => ETCD_WRITE_MS,
    });
    let mut lost = false;
    loop {
        let member =
            cluster.member(until).await.map_err(|error| CallError::Unavailable(error.to_string()))?;
        let response = match cluster.token(&member).await {
            Ok(token) => member.call(method, request, token, within).await,
            Err(failed) => Err(failed),
        };
        let failed = match response {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        let why = match classify(failed) {
            RetryDecision::Fail(CallError::Status { code, words, .. }) => {
                return Err(CallError::Status { code, words, lost });
            }
            RetryDecision::Fail(refused) => return Err(refused),
            // One slow response does not discredit the member; the health check notices silent ones.
            RetryDecision::Indeterminate(why) if idempotency == Idempotency::NotIdempotent => {
                return Err(CallError::Unknown(why));
            }
            RetryDecision::Indeterminate(why) => {
                lost = true;
                why
            }
            RetryDecision::OtherMember(why) => {
                cluster.abandon_member(&member);
                why
            }
            RetryDecision::Reauthenticate(why) => {
                cluster.discard_token();
                why
            }
            RetryDecision::SameMember(why) => why,
        };
        if Instant::now() >= until {
            return Err(CallError::Unavailable(why));
        }
        tokio::time::sleep(Duration::from_millis(limits::ETCD_SEARCH_MS)).await;
    }
}

/// Classifies by message as well as code, because etcd uses one code for requests that failed and for
/// requests that may have succeeded.
fn classify(failed: TransportError) -> RetryDecision {
    let (code, words) = match failed {
        TransportError::NotSent(why) => return RetryDecision::OtherMember(why),
        TransportError::Lost(why) => return RetryDecision::Indeterminate(why),
        TransportError::TooBig => return RetryDecision::Fail(CallError::TooBig),
        TransportError::Status(code, words) => (code, words),
    };
    let says = |part: &str| words.contains(part);
    match code {
        14 if says("no leader") || says("not capable") => RetryDecision::OtherMember(words),
        // Raft did not accept it.
        _ if says("raft proposal dropped") => RetryDecision::OtherMember(words),
        8 if says("too many requests") => RetryDecision::SameMember(words),
        16 => RetryDecision::Reauthenticate(words),
        3 if says("revision of auth store is old") => RetryDecision::Reauthenticate(words),
        // Cancelled, unknown, deadline, aborted, internal, unavailable, data loss.
        1 | 2 | 4 | 10 | 13 | 14 | 15 => RetryDecision::Indeterminate(words),
        code => RetryDecision::Fail(CallError::Status { code, words, lost: false }),
    }
}

impl CallError {
    /// Whether the lease does not exist.
    pub(super) fn is_lease_ended(&self) -> bool {
        matches!(self, CallError::Status { code: NOT_FOUND, words, .. } if words.contains("lease not found"))
    }

    /// Whether the revision is compacted.
    pub(super) fn is_compacted(&self) -> bool {
        matches!(self, CallError::Status { code: OUT_OF_RANGE, words, .. } if words.contains("compacted"))
    }

    /// Whether the revision is in the future.
    pub(super) fn is_future(&self) -> bool {
        matches!(self, CallError::Status { code: OUT_OF_RANGE, words, .. } if words.contains("future"))
    }
}

impl From<CallError> for StoreError {
    fn from(refused: CallError) -> StoreError {
        if refused.is_lease_ended() {
            return StoreError::LeaseEnded;
        }
        match refused {
            CallError::Status { code: OUT_OF_RANGE, .. } => StoreError::Compacted(Revision(0)),
            CallError::Status { code: 8, words, .. } if words.contains("too many requests") => {
                StoreError::Busy
            }
            CallError::Status { words, .. } => StoreError::Unavailable(words),
            CallError::TooBig => StoreError::Unavailable("an answer is too large".to_owned()),
            CallError::Unavailable(why) => StoreError::Unavailable(why),
            CallError::Unknown(why) => StoreError::Unknown(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_did_not_happen_is_done_again() {
        let status = |code, words: &str| classify(TransportError::Status(code, words.to_owned()));
        assert!(matches!(status(14, "etcdserver: no leader"), RetryDecision::OtherMember(_)));
        assert!(matches!(
            classify(TransportError::NotSent("refused".to_owned())),
            RetryDecision::OtherMember(_)
        ));
        assert!(matches!(status(16, "etcdserver: invalid auth token"), RetryDecision::Reauthenticate(_)));
        for doubt in [
            "etcdserver: request timed out",
            "etcdserver: request timed out, possibly due to previous leader failure",
            "etcdserver: leader changed",
            "etcdserver: server stopped",
            "transport is closing",
        ] {
            assert!(matches!(status(14, doubt), RetryDecision::Indeterminate(_)), "{doubt}");
        }
        assert!(matches!(status(4, "context deadline exceeded"), RetryDecision::Indeterminate(_)));
        assert!(matches!(
            classify(TransportError::Lost("reset".to_owned())),
            RetryDecision::Indeterminate(_)
        ));
        assert!(matches!(
            status(3, "etcdserver: duplicate key given in txn request"),
            RetryDecision::Fail(_)
        ));
        assert!(matches!(status(8, "etcdserver: mvcc: database space exceeded"), RetryDecision::Fail(_)));
    }
}
