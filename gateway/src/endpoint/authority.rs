//! Authority at one endpoint: what its clients command passes the guards, a free authority is acquired for the client
//! that commands first, and the endpoint follows who holds what.

mod link_loss;
mod publisher;

use std::sync::{Arc, Weak};
use std::time::Duration;

use roverline_coordination::locks::{LockError, LockMode, LockStatus};
use roverline_coordination::{Client, Coordination};
use roverline_source::Publication;
use roverline_source::clock::monotonic;
use roverline_source::ros::{Ros, RosError};

use crate::authority::command_file::since_boot;
use crate::authority::silence::STOP_DURATION;
use crate::authority::velocity::VelocityError;
use crate::authority::{Admission, AuthorityRefused, Claimant, Guard, PendingCommand};
use crate::endpoint::Endpoint;
pub(crate) use crate::endpoint::authority::link_loss::watch_link_loss;
pub(crate) use crate::endpoint::authority::publisher::{authority_list, publish_authority};
use crate::endpoint::sessions::SessionInfo;

/// Time to live of an authority that a client took by commanding, while it goes on.
const IMPLICIT_TTL: Duration = Duration::from_secs(5);
/// Interval at which it is kept alive.
const KEEP_ALIVE: Duration = Duration::from_millis(1_000);
/// Interval at which it is checked whether the client is still there.
const PRESENCE_INTERVAL: Duration = Duration::from_millis(50);
/// How long a command waits until its client has acquired the authority.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How long one read of the locks waits for a change.
const FOLLOW_WAIT: Duration = Duration::from_millis(400);
/// How long a read of the locks may take beyond that.
const FOLLOW_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Pause after a failed read.
const FOLLOW_RETRY: Duration = Duration::from_millis(200);

/// Why a command does not reach the rover.
#[derive(Debug, thiserror::Error)]
pub enum CommandRefused {
    /// The client does not hold the authority.
    #[error(transparent)]
    Authority(#[from] AuthorityRefused),
    /// The velocity is not allowed.
    #[error("{topic}: {source}")]
    Velocity {
        /// The topic.
        topic: String,
        /// Why.
        source: VelocityError,
    },
    /// The source does not take it.
    #[error(transparent)]
    Source(#[from] RosError),
}

/// What became of a guarded message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It was handed to the source, under this fencing token.
    Sent(u64),
    /// It waits until its client has acquired the authority.
    Pending,
}

/// What a guarded command needs of its endpoint, beyond the request that brought it.
#[derive(Clone)]
pub struct GuardedRover {
    /// The shared coordination store.
    pub coordination: Arc<Coordination>,
    /// Access to the ROS graph.
    pub ros: Ros,
}

/// The client of a guarded command.
#[derive(Clone)]
pub struct Commander {
    /// Who it is.
    pub claimant: Claimant,
    /// Its session, if it has one: what it took by commanding is free when the session ends.
    pub session: Option<Weak<SessionInfo>>,
    /// The fencing token that it shows, if any.
    pub token: Option<u64>,
}

impl Commander {
    fn is_gone(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.strong_count() == 0)
    }
}

impl GuardedRover {
    /// Publishes a message of a guarded topic for this client.
    pub fn publish(
        &self,
        guard: &Arc<Guard>,
        commander: Commander,
        publication: Publication,
    ) -> Result<Published, CommandRefused> {
        let checked = guard.check_velocity(&publication.type_name, publication.payload.clone());
        let checked = checked
            .map_err(|source| CommandRefused::Velocity { topic: publication.topic.clone(), source })?;
        let publication = Publication { payload: checked.payload, ..publication };
        let now = monotonic();
        match guard.admit(&commander.claimant, commander.token, now)? {
            Admission::Granted(token) => {
                self.dispatch(guard, token, publication, checked.is_stop)?;
                Ok(Published::Sent(token))
            }
            admission => {
                guard.add_pending(PendingCommand { publication, is_stop: checked.is_stop, at: now });
                if admission == Admission::Acquire {
                    tokio::spawn(hold_while_commanding(self.clone(), guard.clone(), commander));
                }
                Ok(Published::Pending)
            }
        }
    }

    /// Admits a call of a guarded service, or a goal of a guarded action.
    pub fn admit_call(
        &self,
        guard: &Arc<Guard>,
        commander: Commander,
    ) -> Result<Admission, AuthorityRefused> {
        let admission = guard.admit(&commander.claimant, commander.token, monotonic())?;
        if admission == Admission::Acquire {
            tokio::spawn(hold_while_commanding(self.clone(), guard.clone(), commander));
        }
        Ok(admission)
    }

    fn dispatch(
        &self,
        guard: &Guard,
        token: u64,
        publication: Publication,
        is_stop: bool,
    ) -> Result<(), RosError> {
        guard.record_topic(&publication.topic, &publication.type_name);
        // Recorded first: if this process ends in between, the others stop the rover; the other way round they would
        // not know that it moves.
        guard.record(token, is_stop);
        self.ros.publish(publication)
    }
}

/// Acquires an authority for a client that commands, and keeps it as long as the client goes on.
async fn hold_while_commanding(rover: GuardedRover, guard: Arc<Guard>, commander: Commander) {
    let claimant = &commander.claimant;
    let token = match tokio::time::timeout(ACQUIRE_TIMEOUT, acquire(&rover, &guard, claimant)).await {
        Ok(Ok(token)) => token,
        failed => {
            guard.set_not_acquired();
            match failed {
                Ok(Err(error)) => guard.set_problem(&error.to_string()),
                _ => tracing::debug!(authority = guard.name(), "somebody else was faster"),
            }
            return;
        }
    };
    guard.set_acquired(claimant.clone(), token, monotonic());
    tracing::info!(
        event_type = "authority.taken",
        authority = guard.name(),
        by = claimant.identity,
        client = claimant.name,
        token,
        "taken by its first command"
    );
    for PendingCommand { publication, is_stop, at } in guard.take_pending() {
        if monotonic().saturating_sub(at) < ACQUIRE_TIMEOUT
            && let Err(error) = rover.dispatch(&guard, token, publication, is_stop)
        {
            tracing::debug!(%error, "a command was not published");
        }
    }
    keep_while_commanding(&rover, &guard, &commander, token).await;
}

/// Acquires it, or waits for nobody: a request that has to queue is withdrawn.
async fn acquire(rover: &GuardedRover, guard: &Guard, claimant: &Claimant) -> Result<u64, LockError> {
    let locks = &rover.coordination.locks;
    if let Some(holder) = guard.holder().filter(|holder| holder.claimant.identity == claimant.identity) {
        // A session of the same client that has ended. It may be gone by now.
        let _ = locks.release(guard.name(), client(&holder.claimant)).await;
    }
    let by = client(claimant);
    match locks.acquire(guard.name(), by, LockMode::Exclusive, IMPLICIT_TTL).await? {
        LockStatus::Held(token) => Ok(token.0),
        LockStatus::Waiting(_) => {
            locks.release(guard.name(), by).await?;
            std::future::pending().await
        }
    }
}

/// Keeps it alive until the client is gone, or has been silent for so long that the rover was stopped.
async fn keep_while_commanding(rover: &GuardedRover, guard: &Guard, commander: &Commander, token: u64) {
    let (locks, claimant) = (&rover.coordination.locks, &commander.claimant);
    let silence = guard.timeout() + STOP_DURATION;
    let mut kept = monotonic();
    loop {
        tokio::time::sleep(PRESENCE_INTERVAL).await;
        let last = guard.last_command();
        let is_ours = last.is_none_or(|last| last.token <= token);
        let is_silent = last.is_none_or(|last| since_boot().saturating_sub(last.at) >= silence);
        if !is_ours || is_silent || commander.is_gone() {
            if let Err(error) = locks.release(guard.name(), client(claimant)).await {
                tracing::debug!(authority = guard.name(), %error, "it was not held any more");
            }
            return;
        }
        if monotonic().saturating_sub(kept) < KEEP_ALIVE {
            continue;
        }
        kept = monotonic();
        match locks.keep_alive(guard.name(), client(claimant)).await {
            Ok(()) => {}
            Err(error @ LockError::Store(_)) => guard.set_problem(&error.to_string()),
            Err(error) => {
                return tracing::info!(authority = guard.name(), %error, "it was taken from its holder");
            }
        }
    }
}

fn client(claimant: &Claimant) -> Client<'_> {
    Client::of(&claimant.identity, &claimant.name)
}

impl Endpoint {
    /// What its guarded commands need.
    pub fn guarded_rover(&self) -> GuardedRover {
        GuardedRover { coordination: self.coordination.clone(), ros: self.ros.clone() }
    }
}

/// Follows who holds the authorities, forever.
pub(crate) async fn follow_locks(endpoint: Arc<Endpoint>) {
    let locks = &endpoint.coordination.locks;
    let mut seen = None;
    loop {
        let listing = async {
            match seen {
                None => locks.list().await,
                Some(seen) => locks.list_after(seen, FOLLOW_WAIT).await,
            }
        };
        match tokio::time::timeout(FOLLOW_WAIT + FOLLOW_TIMEOUT, listing).await {
            Ok(Ok((all, revision))) => {
                endpoint.guards.set_locks(&all, revision, monotonic());
                seen = Some(revision);
            }
            Ok(Err(error)) => {
                endpoint.guards.set_problem(&error.to_string());
                seen = None;
                tokio::time::sleep(FOLLOW_RETRY).await;
            }
            Err(_) => endpoint.guards.set_problem("the shared store does not answer"),
        }
    }
}
