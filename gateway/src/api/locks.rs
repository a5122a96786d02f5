//! Locks: mutual exclusion between clients.

mod routes;

use std::time::Duration;

use http::StatusCode;
pub(crate) use routes::ROUTES;
use roverline_coordination::Client;
use roverline_coordination::locks::{
    FencingToken, Handover, HandoverView, Holder, LockError, LockMode, LockStatus, LockView, Locks,
    WaitingClient,
};
use roverline_coordination::store::Revision;
use roverline_protocol::api::locks::*;
use roverline_protocol::limits;
use roverline_protocol::trace::TARGET;
use roverline_source::clock::unix_ns;
use tracing::Span;

use crate::access::Permission;
use crate::api::action::LocksAction as Action;
use crate::api::error::ApiError;
use crate::api::request::ApiRequest;
use crate::api::response::{HttpResponse, JSON, document, json};
use crate::trace;

/// Default time to live of a lock.
const LOCK_DEFAULT_TTL_MS: u64 = 60_000;

/// Dispatches an operation.
pub(crate) async fn handle(request: &ApiRequest<'_>, action: Action) -> Result<HttpResponse, ApiError> {
    let locks = &request.endpoint.coordination.locks;
    // A lock belongs to the identity of its client, not to the declared name.
    let by = request.by();
    match action {
        Action::SimpleAcquire => Ok(json(&simple_acquire(locks, &by, &request.json()?).await?)),
        Action::SimpleRelease => Ok(json(&simple_release(locks, &by, &request.json()?).await?)),
        Action::SimpleList => {
            let list = locks.list().await?.0;
            Ok(json(&LockStates { locks: list.into_iter().map(state).collect() }))
        }
        Action::SimpleOne => Ok(json(&state(one(locks, &request.name()?).await?))),
        Action::Deadlocks => Ok(json(&deadlocks(locks).await?)),
        Action::List => Ok(json(&list(request, locks).await?)),
        Action::One => {
            let lock = one(locks, &request.name()?).await?;
            let handovers = locks.handovers(Some(&lock.resource)).await?;
            Ok(json(&shown(lock, &handovers)))
        }
        Action::Acquire => acquire(locks, &by, &request.name()?, &request.json()?).await,
        Action::KeepAlive => {
            let (resource, LockClient { client }) = (request.name()?, request.json()?);
            let client = Client::of(&by, &client);
            locks.keep_alive(&resource, client).await?;
            Ok(standing_response(locks.status(&resource, client).await?))
        }
        Action::Release => {
            let LockClient { client } = request.json()?;
            let left = locks.release(&request.name()?, Client::of(&by, &client)).await?;
            Ok(done(&released(left)))
        }
        Action::Force => {
            request.authorize(Permission::Overrule("whoever holds a lock"))?;
            let ForceRelease { client, by: owner, reason } = request.json()?;
            let from = Client { identity: owner.as_deref(), name: &client };
            let own_name = request.client().unwrap_or_default();
            locks.force_release(&request.name()?, from, Client::of(&by, &own_name), &reason).await?;
            Ok(done("it is taken; the client is told at its next call"))
        }
        Action::Check => {
            let TokenCheck { token } = request.json()?;
            locks.check(&request.name()?, FencingToken(token)).await?;
            Ok(done("it is the token of a holder"))
        }
        Action::RequestHandover => request_handover(locks, &by, &request.name()?, &request.json()?).await,
        Action::AnswerHandover => {
            let (resource, answer): (_, HandoverAnswer) = (request.name()?, request.json()?);
            let HandoverAnswer { holder, client, by: asking, grant, reason } = &answer;
            let asking = Client { identity: asking.as_deref(), name: client };
            let holder = Client::of(&by, holder);
            let (name, traceparent) = match grant {
                true => ("handover granted", locks.grant_handover(&resource, holder, asking).await?),
                false => {
                    ("handover refused", locks.refuse_handover(&resource, holder, asking, reason).await?)
                }
            };
            if let Some(traceparent) = traceparent {
                show_in_trace(request, name, &resource, &traceparent);
            }
            Ok(done("the client is told"))
        }
    }
}

/// Shows the answer to a handover in the trace of the request for it, which another endpoint may have got.
fn show_in_trace(request: &ApiRequest<'_>, name: &'static str, resource: &str, traceparent: &str) {
    let span = tracing::error_span!(
        target: TARGET,
        parent: None,
        "handover",
        otel.name = name,
        enduser.id = request.by(),
        { trace::ROLE } = request.role().name(),
        roverline.lock = resource,
    );
    trace::set_parent(&span, Some(traceparent), &request.endpoint.counters.invalid_trace_contexts);
}

/// A lock acquired twice has to be released twice.
fn released(left: u32) -> String {
    match left {
        0 => "it is released".to_owned(),
        left => format!("it is held still: it was asked for {left} more times, and is released as often"),
    }
}

fn done(message: &str) -> HttpResponse {
    json(&OutcomeDocument { success: true, message: message.to_owned() })
}

async fn simple_acquire(locks: &Locks, by: &str, sent: &AcquireLock) -> Result<AcquiredLock, ApiError> {
    let AcquireLock { resource, client_id, lock_type, timeout_seconds } = sent;
    let ttl = match timeout_seconds {
        None => Duration::from_millis(LOCK_DEFAULT_TTL_MS),
        Some(seconds) => seconds_of(*seconds)?,
    };
    let standing = locks.acquire(resource, Client::of(by, client_id), mode(*lock_type), ttl).await;
    Ok(match standing {
        Ok(LockStatus::Held(token)) => AcquiredLock {
            success: true,
            message: format!("{client_id} holds {resource}"),
            lock_id: Some(token.0.to_string()),
            ..AcquiredLock::default()
        },
        Ok(LockStatus::Waiting(position)) => AcquiredLock {
            message: format!("{client_id} waits for {resource}: ask again"),
            queued: Some(true),
            position: Some(position),
            ..AcquiredLock::default()
        },
        Err(error) => AcquiredLock { message: refusal(error)?, ..AcquiredLock::default() },
    })
}

/// Validated in the sender's unit: the store's error would be about leases, in milliseconds.
fn seconds_of(seconds: f64) -> Result<Duration, ApiError> {
    let (least, most) = (limits::LEASE_MIN_MS as f64 / 1e3, limits::LEASE_MAX_MS as f64 / 1e3);
    match (least..=most).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => {
            let why = format!("timeout_seconds is {least} to {most}");
            Err(ApiError::unprocessable(why))
        }
    }
}

async fn simple_release(locks: &Locks, by: &str, sent: &ReleaseLock) -> Result<OutcomeDocument, ApiError> {
    let ReleaseLock { resource, client_id } = sent;
    Ok(match locks.release(resource, Client::of(by, client_id)).await {
        Ok(0) => OutcomeDocument { success: true, message: format!("{client_id} gave {resource} back") },
        Ok(left) => OutcomeDocument { success: true, message: released(left) },
        Err(error) => OutcomeDocument { success: false, message: refusal(error)? },
    })
}

/// An expected outcome rather than a failed request.
fn refusal(error: LockError) -> Result<String, ApiError> {
    match error {
        LockError::Upgrade(_)
        | LockError::Deadlock(_)
        | LockError::TooManyWaiters(_)
        | LockError::NotHeld { .. }
        | LockError::Taken { .. } => Ok(error.to_string()),
        other => Err(other.into()),
    }
}

async fn one(locks: &Locks, resource: &str) -> Result<LockView, ApiError> {
    let lock = locks.get(resource).await?;
    lock.ok_or_else(|| ApiError::not_found(format!("nobody holds {resource}; see /api/v2/locks")))
}

async fn deadlocks(locks: &Locks) -> Result<Deadlocks, ApiError> {
    let cycles = locks.deadlocks().await?.into_iter().zip(1..).map(|(path, cycle_id)| {
        let mut clients = path.clone();
        clients.pop();
        DeadlockCycle { cycle_id, clients, path }
    });
    let cycles: Vec<_> = cycles.collect();
    Ok(Deadlocks { deadlocks_found: cycles.len(), cycles })
}

async fn list(request: &ApiRequest<'_>, locks: &Locks) -> Result<LockList, ApiError> {
    let params = request.parameters()?;
    let (all, revision) = match params.number("after_revision") {
        None => locks.list().await?,
        Some(seen) => {
            let wait = Duration::from_millis(params.number("wait_ms").unwrap_or_default());
            locks.list_after(Revision(seen), wait).await?
        }
    };
    let handovers = locks.handovers(None).await?;
    let locks = all.into_iter().map(|lock| shown(lock, &handovers)).collect();
    Ok(LockList { revision: revision.0, locks })
}

async fn acquire(
    locks: &Locks,
    by: &str,
    resource: &str,
    body: &AcquireBody,
) -> Result<HttpResponse, ApiError> {
    let AcquireBody { client, mode: sent, ttl_ms, wait_ms } = body;
    let client = Client::of(by, client);
    let ttl = Duration::from_millis(*ttl_ms);
    Ok(match wait_ms {
        None => standing_response(locks.acquire(resource, client, mode(*sent), ttl).await?),
        Some(wait_ms) => {
            let wait = Duration::from_millis(check_wait(*wait_ms)?);
            match locks.acquire_within(resource, client, mode(*sent), ttl, wait).await? {
                LockStatus::Waiting(place) => {
                    document(StatusCode::OK, JSON, &LockClientStatus::Gone { place })
                }
                held @ LockStatus::Held(_) => standing_response(held),
            }
        }
    })
}

async fn request_handover(
    locks: &Locks,
    by: &str,
    resource: &str,
    body: &HandoverBody,
) -> Result<HttpResponse, ApiError> {
    let (ttl, wait) = (Duration::from_millis(body.ttl_ms), Duration::from_millis(check_wait(body.wait_ms)?));
    let client = Client::of(by, &body.client);
    let traceparent = trace::context_of(&Span::current()).map(|context| context.to_string());
    let outcome =
        locks.request_traced_handover(resource, client, &body.message, ttl, wait, traceparent).await?;
    Ok(json(&match outcome {
        Handover::Granted(token) => HandoverOutcome::Granted { token: token.0 },
        Handover::Refused(reason) => HandoverOutcome::Refused { reason },
        Handover::Unanswered => HandoverOutcome::Unanswered,
    }))
}

fn check_wait(wait_ms: u64) -> Result<u64, ApiError> {
    let most = limits::API_WAIT_MS;
    if wait_ms <= most {
        return Ok(wait_ms);
    }
    let why = format!("wait_ms is at most {most}: ask again after that");
    Err(ApiError::unprocessable(why))
}

fn standing_response(standing: LockStatus) -> HttpResponse {
    match standing {
        LockStatus::Held(token) => json(&LockClientStatus::Held { token: token.0 }),
        LockStatus::Waiting(place) => {
            document(StatusCode::ACCEPTED, JSON, &LockClientStatus::Waiting { place })
        }
    }
}

fn mode(sent: LockType) -> LockMode {
    match sent {
        LockType::Exclusive => LockMode::Exclusive,
        LockType::Shared => LockMode::Shared,
    }
}

fn lock_type(mode: LockMode) -> LockType {
    match mode {
        LockMode::Exclusive => LockType::Exclusive,
        LockMode::Shared => LockType::Shared,
    }
}

fn state(lock: LockView) -> LockState {
    LockState {
        resource: lock.resource,
        lock_type: lock_type(lock.mode),
        holders: lock.holders.into_iter().map(|holder| holder.client).collect(),
        timestamp: unix_ns() as f64 / 1e9,
        waiting: lock.waiting.into_iter().map(|waiter| waiter.client).collect(),
    }
}

fn shown(lock: LockView, handovers: &[HandoverView]) -> LockDocument {
    let asks = handovers.iter().filter(|asks| asks.resource == lock.resource);
    let handovers = asks.map(|asks| HandoverRequest {
        client: asks.requester.clone(),
        by: asks.identity.clone(),
        message: asks.message.clone(),
        refused: asks.refused.clone(),
    });
    let handovers = handovers.collect();
    let holder = |Holder { client, identity, token }| LockHolder { client, by: identity, token: token.0 };
    let waiter =
        |WaitingClient { client, identity, mode }| LockWaiter { client, by: identity, mode: lock_type(mode) };
    LockDocument {
        resource: lock.resource,
        mode: lock_type(lock.mode),
        holders: lock.holders.into_iter().map(holder).collect(),
        waiting: lock.waiting.into_iter().map(waiter).collect(),
        handovers,
    }
}
