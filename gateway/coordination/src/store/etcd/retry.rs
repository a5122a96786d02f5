//! Asking until there is an answer, where asking twice does no harm.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use roverline_protocol::limits;
use tokio::time::Instant;

use crate::store::etcd::cluster::Cluster;
use crate::store::etcd::member::Failed;
use crate::store::{Revision, StoreError};

/// Whether it may be asked again after an answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It changes nothing, or the same.
    Yes,
    /// It would happen twice.
    No,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// For good, by gRPC's code and etcd's words. `lost` if an earlier attempt may have arrived.
    Status { code: i32, words: String, lost: bool },
    /// The answer is larger than is read.
    TooBig,
    /// It did not happen; why.
    Unavailable(String),
    /// It may have happened; why.
    Unknown(String),
}

/// What to do about a failure.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    /// It did not happen: ask another member.
    Move(String),
    /// It did not happen: ask this member again.
    Wait(String),
    /// It did not happen: say anew who asks.
    Introduce(String),
    /// Nobody knows.
    Doubt(String),
    /// It will never happen.
    End(Refused),
}

const NOT_FOUND: i32 = 5;
const OUT_OF_RANGE: i32 = 11;

/// Asks the cluster.
pub(super) async fn call<R: Message + Default>(
    cluster: &Arc<Cluster>,
    method: &'static str,
    request: &impl Message,
    again: Again,
) -> Result<R, Refused> {
    let until = Instant::now() + Duration::from_millis(limits::ETCD_PATIENCE_MS);
    let within = Duration::from_millis(match again {
        Again::Yes => limits::ETCD_READ_MS,
        Again::No => limits::ETCD_WRITE_MS,
    });
    let mut lost = false;
    loop {
        let member = cluster.member(until).await.map_err(Refused::Unavailable)?;
        let asked = match cluster.token(&member).await {
            Ok(token) => member.call(method, request, token, within).await,
            Err(failed) => Err(failed),
        };
        let failed = match asked {
            Ok(answer) => return Ok(answer),
            Err(failed) => failed,
        };
        let why = match meaning(failed) {
            Then::End(Refused::Status { code, words, .. }) => {
                return Err(Refused::Status { code, words, lost });
            }
            Then::End(refused) => return Err(refused),
            // One slow answer says nothing of the member; that it is silent is found out elsewhere.
            Then::Doubt(why) if again == Again::No => return Err(Refused::Unknown(why)),
            Then::Doubt(why) => {
                lost = true;
                why
            }
            Then::Move(why) => {
                cluster.leave(&member);
                why
            }
            Then::Introduce(why) => {
                cluster.forget_token();
                why
            }
            Then::Wait(why) => why,
        };
        if Instant::now() >= until {
            return Err(Refused::Unavailable(why));
        }
        tokio::time::sleep(Duration::from_millis(limits::ETCD_SEARCH_MS)).await;
    }
}

/// By the words as well as the code: etcd gives one code to what did not happen and what may have.
fn meaning(failed: Failed) -> Then {
    let (code, words) = match failed {
        Failed::NotSent(why) => return Then::Move(why),
        Failed::Lost(why) => return Then::Doubt(why),
        Failed::TooBig => return Then::End(Refused::TooBig),
        Failed::Status(code, words) => (code, words),
    };
    let says = |part: &str| words.contains(part);
    match code {
        14 if says("no leader") || says("not capable") => Then::Move(words),
        // Raft did not take it.
        _ if says("raft proposal dropped") => Then::Move(words),
        8 if says("too many requests") => Then::Wait(words),
        16 => Then::Introduce(words),
        3 if says("revision of auth store is old") => Then::Introduce(words),
        // Cancelled, unknown, deadline, aborted, internal, unavailable, data loss.
        1 | 2 | 4 | 10 | 13 | 14 | 15 => Then::Doubt(words),
        code => Then::End(Refused::Status { code, words, lost: false }),
    }
}

impl Refused {
    /// Whether it is that the lease is not there.
    pub(super) fn is_lease_ended(&self) -> bool {
        matches!(self, Refused::Status { code: NOT_FOUND, words, .. } if words.contains("lease not found"))
    }

    /// Whether it is the one revision that is out of range: past or future.
    pub(super) fn is_compacted(&self) -> bool {
        matches!(self, Refused::Status { code: OUT_OF_RANGE, words, .. } if words.contains("compacted"))
    }

    /// The other one.
    pub(super) fn is_future(&self) -> bool {
        matches!(self, Refused::Status { code: OUT_OF_RANGE, words, .. } if words.contains("future"))
    }
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> StoreError {
        if refused.is_lease_ended() {
            return StoreError::LeaseEnded;
        }
        match refused {
            Refused::Status { code: OUT_OF_RANGE, .. } => StoreError::Compacted(Revision(0)),
            Refused::Status { code: 8, words, .. } if words.contains("too many requests") => StoreError::Busy,
            Refused::Status { words, .. } => StoreError::Unavailable(words),
            Refused::TooBig => StoreError::Unavailable("an answer is too large".to_owned()),
            Refused::Unavailable(why) => StoreError::Unavailable(why),
            Refused::Unknown(why) => StoreError::Unknown(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_did_not_happen_is_done_again() {
        let status = |code, words: &str| meaning(Failed::Status(code, words.to_owned()));
        assert!(matches!(status(14, "etcdserver: no leader"), Then::Move(_)));
        assert!(matches!(meaning(Failed::NotSent("refused".to_owned())), Then::Move(_)));
        assert!(matches!(status(16, "etcdserver: invalid auth token"), Then::Introduce(_)));
        for doubt in [
            "etcdserver: request timed out",
            "etcdserver: request timed out, possibly due to previous leader failure",
            "etcdserver: leader changed",
            "etcdserver: server stopped",
            "transport is closing",
        ] {
            assert!(matches!(status(14, doubt), Then::Doubt(_)), "{doubt}");
        }
        assert!(matches!(status(4, "context deadline exceeded"), Then::Doubt(_)));
        assert!(matches!(meaning(Failed::Lost("reset".to_owned())), Then::Doubt(_)));
        assert!(matches!(status(3, "etcdserver: duplicate key given in txn request"), Then::End(_)));
        assert!(matches!(status(8, "etcdserver: mvcc: database space exceeded"), Then::End(_)));
    }
}
