//! Admission of requests that ask the store or other endpoints: bounded by class and address, and those of observers
//! take turns, so that there is time for operators.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use crate::access::Role;
use crate::api::error::ApiError;
use crate::api::request::{ApiRequest, Caller};
use crate::connection::client_address::ClientAddress;
use crate::endpoint::Endpoint;
use crate::endpoint::waiting_requests::WaitingRequest;
use crate::limits;

/// How long an observer's request waits for its turn.
const OBSERVER_WAIT_MS: u64 = 5_000;

/// An admitted request; dropped when it is answered.
pub(crate) struct Admitted<'a> {
    _waiting: Option<WaitingRequest>,
    _permit: Option<SemaphorePermit<'a>>,
}

/// Waits for the request's turn, if it may have to wait.
pub(crate) async fn admit<'a>(request: &ApiRequest<'a>) -> Result<Admitted<'a>, ApiError> {
    let endpoint = request.endpoint;
    if !request.route.action.may_wait() {
        return Ok(Admitted { _waiting: None, _permit: None });
    }
    let refused = |why: String| {
        endpoint.counters.fairness.refused_requests.fetch_add(1, Ordering::Relaxed);
        ApiError::unavailable(why)
    };
    let (role, waiting) = match &request.caller {
        // A session has its own bound.
        Caller::Session { identity, .. } => (identity.role, None),
        Caller::Peer(peer) => {
            let role = request.role();
            let entered = endpoint.waiting_requests.enter(role, ClientAddress::of(peer.ip()));
            (role, Some(entered.map_err(|why| refused(why.to_string()))?))
        }
    };
    // A long poll waits outside the store. An endpoint that is asked for its own traces waits for nobody; if it took a
    // turn, two endpoints could wait for each other.
    let takes_no_turn = ["wait_ms=", "local=true"];
    if request.query.is_some_and(|query| takes_no_turn.iter().any(|part| query.contains(part))) {
        return Ok(Admitted { _waiting: waiting, _permit: None });
    }
    let patience = Duration::from_millis(OBSERVER_WAIT_MS);
    let permit = tokio::time::timeout(patience, acquire(endpoint, role)).await.map_err(|_| {
        let most = limits::OBSERVER_STORE_REQUESTS;
        refused(format!("{most} requests of observers may ask the store at a time, and others wait, too"))
    })?;
    Ok(Admitted { _waiting: waiting, _permit: permit })
}

/// Waits until a client of this role may ask the store. Operators never wait.
pub(crate) async fn acquire(endpoint: &Endpoint, role: Role) -> Option<SemaphorePermit<'_>> {
    match role < Role::Operator {
        // Never closed.
        true => endpoint.observer_permits.acquire().await.ok(),
        false => None,
    }
}
