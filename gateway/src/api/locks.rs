//! Locks: who may use what.

mod routes;

use std::time::Duration;

use http::StatusCode;
pub(crate) use routes::ROUTES;
use roverline_coordination::locks::{
    FencingToken, Handover, HandoverView, LockError, LockMode, LockView, Locks, Standing,
};
use roverline_coordination::store::Revision;
use roverline_protocol::api::locks::*;
use roverline_protocol::limits;
use roverline_source::clock::unix_ns;

use crate::access::Deed;
use crate::api::request::Ask;
use crate::api::response::{Answer, Failure, JSON, document, json};

/// What is done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    PlainAcquire,
    PlainRelease,
    PlainList,
    PlainOne,
    Deadlocks,
    List,
    One,
    Acquire,
    KeepAlive,
    Release,
    Force,
    Check,
    AskHandover,
    AnswerHandover,
}

/// Does it.
pub(crate) async fn answer(ask: &Ask<'_>, action: Action) -> Result<Answer, Failure> {
    let locks = &ask.endpoint.coordination.locks;
    match action {
        Action::PlainAcquire => Ok(json(&plain_acquire(locks, &ask.json()?).await?)),
        Action::PlainRelease => Ok(json(&plain_release(locks, &ask.json()?).await?)),
        Action::PlainList => {
            let list = locks.list().await?.0;
            Ok(json(&LockStates { locks: list.into_iter().map(state).collect() }))
        }
        Action::PlainOne => Ok(json(&state(one(locks, &ask.name()?).await?))),
        Action::Deadlocks => Ok(json(&deadlocks(locks).await?)),
        Action::List => Ok(json(&list(ask, locks).await?)),
        Action::One => {
            let lock = one(locks, &ask.name()?).await?;
            let handovers = locks.handovers(Some(&lock.resource)).await?;
            Ok(json(&shown(lock, &handovers)))
        }
        Action::Acquire => acquire(locks, &ask.name()?, &ask.json()?).await,
        Action::KeepAlive => {
            let (resource, LockClient { client }) = (ask.name()?, ask.json()?);
            locks.keep_alive(&resource, &client).await?;
            Ok(stands(locks.standing(&resource, &client).await?))
        }
        Action::Release => {
            let LockClient { client } = ask.json()?;
            let left = locks.release(&ask.name()?, &client).await?;
            Ok(done(&released(left)))
        }
        Action::Force => {
            ask.may(Deed::Overrule("whoever holds a lock"))?;
            let ForceRelease { client, reason } = ask.json()?;
            locks.force_release(&ask.name()?, &client, &ask.asker(), &reason).await?;
            Ok(done("it is taken; the client is told at its next call"))
        }
        Action::Check => {
            let TokenCheck { token } = ask.json()?;
            locks.check(&ask.name()?, FencingToken(token)).await?;
            Ok(done("it is the token of a holder"))
        }
        Action::AskHandover => ask_handover(locks, &ask.name()?, &ask.json()?).await,
        Action::AnswerHandover => {
            let (resource, answer): (_, HandoverAnswer) = (ask.name()?, ask.json()?);
            let HandoverAnswer { holder, client, grant, reason } = &answer;
            match grant {
                true => locks.grant_handover(&resource, holder, client).await?,
                false => locks.refuse_handover(&resource, holder, client, reason).await?,
            }
            Ok(done("the client is told"))
        }
    }
}

/// What is asked for twice is given back twice.
fn released(left: u32) -> String {
    match left {
        0 => "it is released".to_owned(),
        left => format!("it is held still: it was asked for {left} more times, and is released as often"),
    }
}

fn done(message: &str) -> Answer {
    json(&Done { success: true, message: message.to_owned() })
}

async fn plain_acquire(locks: &Locks, asked: &AcquireLock) -> Result<AcquiredLock, Failure> {
    let AcquireLock { resource, client_id, lock_type, timeout_seconds } = asked;
    let ttl = match timeout_seconds {
        None => Duration::from_millis(limits::LOCK_DEFAULT_TTL_MS),
        Some(seconds) => seconds_of(*seconds)?,
    };
    let standing = locks.acquire(resource, client_id, mode(*lock_type), ttl).await;
    Ok(match standing {
        Ok(Standing::Held(token)) => AcquiredLock {
            success: true,
            message: format!("{client_id} holds {resource}"),
            lock_id: Some(token.0.to_string()),
            ..AcquiredLock::default()
        },
        Ok(Standing::Waiting(place)) => AcquiredLock {
            message: format!("{client_id} waits for {resource}: ask again"),
            queued: Some(true),
            position: Some(place),
            ..AcquiredLock::default()
        },
        Err(error) => AcquiredLock { message: refusal(error)?, ..AcquiredLock::default() },
    })
}

/// In the words of who sent it: the store's are about leases, in milliseconds.
fn seconds_of(seconds: f64) -> Result<Duration, Failure> {
    let (least, most) = (limits::LEASE_MIN_MS as f64 / 1e3, limits::LEASE_MAX_MS as f64 / 1e3);
    match (least..=most).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => {
            let why = format!("timeout_seconds is {least} to {most}");
            Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, why))
        }
    }
}

async fn plain_release(locks: &Locks, asked: &ReleaseLock) -> Result<Done, Failure> {
    let ReleaseLock { resource, client_id } = asked;
    Ok(match locks.release(resource, client_id).await {
        Ok(0) => Done { success: true, message: format!("{client_id} gave {resource} back") },
        Ok(left) => Done { success: true, message: released(left) },
        Err(error) => Done { success: false, message: refusal(error)? },
    })
}

/// What is an ordinary answer, and no failure of the request.
fn refusal(error: LockError) -> Result<String, Failure> {
    match error {
        LockError::Upgrade(_)
        | LockError::Deadlock(_)
        | LockError::Crowded(_)
        | LockError::NotHeld { .. }
        | LockError::Taken { .. } => Ok(error.to_string()),
        other => Err(other.into()),
    }
}

async fn one(locks: &Locks, resource: &str) -> Result<LockView, Failure> {
    let lock = locks.one(resource).await?;
    lock.ok_or_else(|| Failure::not_found(format!("nobody holds {resource}; see /api/v2/locks")))
}

async fn deadlocks(locks: &Locks) -> Result<Deadlocks, Failure> {
    let cycles = locks.deadlocks().await?.into_iter().zip(1..).map(|(path, cycle_id)| {
        let mut clients = path.clone();
        clients.pop();
        DeadlockCycle { cycle_id, clients, path }
    });
    let cycles: Vec<_> = cycles.collect();
    Ok(Deadlocks { deadlocks_found: cycles.len(), cycles })
}

async fn list(ask: &Ask<'_>, locks: &Locks) -> Result<LockList, Failure> {
    let given = ask.parameters()?;
    let (all, revision) = match given.number("after_revision") {
        None => locks.list().await?,
        Some(seen) => {
            let wait = Duration::from_millis(given.number("wait_ms").unwrap_or_default());
            locks.list_after(Revision(seen), wait).await?
        }
    };
    let handovers = locks.handovers(None).await?;
    let locks = all.into_iter().map(|lock| shown(lock, &handovers)).collect();
    Ok(LockList { revision: revision.0, locks })
}

async fn acquire(locks: &Locks, resource: &str, wish: &LockWish) -> Result<Answer, Failure> {
    let LockWish { client, mode: asked, ttl_ms, wait_ms } = wish;
    let ttl = Duration::from_millis(*ttl_ms);
    Ok(match wait_ms {
        None => stands(locks.acquire(resource, client, mode(*asked), ttl).await?),
        Some(wait_ms) => {
            let wait = Duration::from_millis(bounded(*wait_ms)?);
            match locks.acquire_within(resource, client, mode(*asked), ttl, wait).await? {
                Standing::Waiting(place) => document(StatusCode::OK, JSON, &LockStanding::Gone { place }),
                held @ Standing::Held(_) => stands(held),
            }
        }
    })
}

async fn ask_handover(locks: &Locks, resource: &str, wish: &HandoverWish) -> Result<Answer, Failure> {
    let (ttl, wait) = (Duration::from_millis(wish.ttl_ms), Duration::from_millis(bounded(wish.wait_ms)?));
    let outcome = locks.ask_handover(resource, &wish.client, &wish.message, ttl, wait).await?;
    Ok(json(&match outcome {
        Handover::Granted(token) => HandoverOutcome::Granted { token: token.0 },
        Handover::Refused(reason) => HandoverOutcome::Refused { reason },
        Handover::Unanswered => HandoverOutcome::Unanswered,
    }))
}

fn bounded(wait_ms: u64) -> Result<u64, Failure> {
    let most = limits::API_WAIT_MS;
    if wait_ms <= most {
        return Ok(wait_ms);
    }
    let why = format!("wait_ms is at most {most}: ask again after that");
    Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, why))
}

fn stands(standing: Standing) -> Answer {
    match standing {
        Standing::Held(token) => json(&LockStanding::Held { token: token.0 }),
        Standing::Waiting(place) => document(StatusCode::ACCEPTED, JSON, &LockStanding::Waiting { place }),
    }
}

fn mode(asked: LockType) -> LockMode {
    match asked {
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
        holders: lock.holders.into_iter().map(|(client, _)| client).collect(),
        timestamp: unix_ns() as f64 / 1e9,
        waiting: lock.waiting.into_iter().map(|(client, _)| client).collect(),
    }
}

fn shown(lock: LockView, handovers: &[HandoverView]) -> LockDocument {
    let asks = handovers.iter().filter(|asks| asks.resource == lock.resource);
    let handovers = asks.map(|asks| HandoverRequest {
        client: asks.asker.clone(),
        message: asks.message.clone(),
        refused: asks.refused.clone(),
    });
    let handovers = handovers.collect();
    let holder = |(client, token): (String, FencingToken)| LockHolder { client, token: token.0 };
    let waiter = |(client, mode)| LockWaiter { client, mode: lock_type(mode) };
    LockDocument {
        resource: lock.resource,
        mode: lock_type(lock.mode),
        holders: lock.holders.into_iter().map(holder).collect(),
        waiting: lock.waiting.into_iter().map(waiter).collect(),
        handovers,
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Failure {
        let status = match &error {
            LockError::Store(store) => return store.clone().into(),
            LockError::Name | LockError::Reason => StatusCode::UNPROCESSABLE_ENTITY,
            LockError::NotHeld { .. } | LockError::Taken { .. } | LockError::NotAsked { .. } => {
                StatusCode::NOT_FOUND
            }
            LockError::Upgrade(_)
            | LockError::Deadlock(_)
            | LockError::Stale { .. }
            | LockError::NoHandover { .. } => StatusCode::CONFLICT,
            LockError::Crowded(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Failure::new(status, error.to_string())
    }
}
