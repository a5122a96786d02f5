//! The lifecycle of robots and endpoints: a state machine with validated transitions, recorded in the
//! store.
//!
//! One key per robot or endpoint holds its description, its state and its last transition; it is
//! changed only if it is unchanged since it was read. Heartbeats are separate leased keys, so a
//! heartbeat does not write the record. Every process keeps a replica of all of it in memory, fed by
//! one watch.

mod heartbeat;
mod history;
mod model;
mod monitor;
mod record;
mod replica;
#[cfg(test)]
pub(crate) mod tests;

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roverline_protocol::lifecycle::{InvalidTransition, LifecycleInput, LifecycleStatus, State};
use tokio::sync::Mutex;

use crate::json;
pub use crate::lifecycle::heartbeat::HeartbeatSender;
pub use crate::lifecycle::model::{Model, Selection};
pub use crate::lifecycle::record::{EntityId, EntityKind, PREFIX, Record, Transition, View};
use crate::limits;
use crate::store::scan::get;
use crate::store::{Compare, Entry, Op, Revision, Store, StoreError, Txn};

/// Attempts of a change that conflicts with others.
const LIFECYCLE_CHANGE_ATTEMPTS: usize = 64;

/// Robots and endpoints in one store.
const LIFECYCLE_ENTRIES: usize = 10_000;

/// Shards of the mutex that serializes this process's changes per entity.
const SHARDS: usize = 16;

/// Why a lifecycle operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// A name is empty, too long, or has a slash or a control character.
    #[error("the name of a robot or an endpoint has 1 to {max} bytes, no slash and no control character", max = limits::LIFECYCLE_NAME_BYTES)]
    InvalidName,
    /// A reason, a type or an address is too long.
    #[error("a reason, a type or an address has at most {max} characters", max = limits::LIFECYCLE_TEXT_CHARS)]
    TextTooLong,
    /// The heartbeat timeout is out of bounds.
    #[error("it is missed after {min} ms to {max} ms", min = limits::LEASE_MIN_MS, max = limits::LEASE_MAX_MS)]
    InvalidHeartbeat,
    /// There is no such robot or endpoint.
    #[error("no {0} is known")]
    Unknown(EntityId),
    /// There are too many robots and endpoints.
    #[error("there are {max} robots and endpoints already", max = LIFECYCLE_ENTRIES)]
    TooManyEntities,
    /// The transition is not valid from the current state.
    #[error(transparent)]
    InvalidTransition(#[from] InvalidTransition),
    /// Concurrent changes won every time.
    #[error("{0} is changed by others all the time: try again")]
    Contended(EntityId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The author of a transition: who, why and when.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// The author's identity.
    pub by: &'a str,
    /// The unverified name that the author's client declares.
    pub client: Option<&'a str>,
    /// The reason.
    pub reason: &'a str,
    /// Whether an operator requested it; automatic transitions then leave the state alone.
    pub manual: bool,
    /// Wall clock, nanoseconds since the Unix epoch; for display.
    pub now_ns: i64,
}

/// The description of a robot or an endpoint, without its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The type, such as a robot's model.
    pub type_name: String,
    /// The network address, if known.
    pub address: Option<String>,
    /// Heartbeat timeout: the entity is missed after this time without a heartbeat.
    pub heartbeat_ms: Option<u64>,
}

/// The lifecycle service of all robots and endpoints.
#[derive(Clone)]
pub struct Lifecycle {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
}

/// Transitions since the process started, by the state that they led to.
#[derive(Debug, Default)]
pub struct TransitionCounts([AtomicU64; State::ALL.len()]);

impl TransitionCounts {
    /// Transitions to this state.
    pub fn to(&self, state: State) -> &AtomicU64 {
        &self.0[state as usize]
    }
}

struct Shared {
    robot_transitions: TransitionCounts,
    replica: replica::Replica,
    mutexes: [Mutex<()>; SHARDS],
}

impl Lifecycle {
    /// Creates the lifecycle service over a shared store.
    pub fn new(store: Arc<dyn Store>) -> Lifecycle {
        let shared = Shared {
            robot_transitions: TransitionCounts::default(),
            replica: replica::Replica::default(),
            mutexes: Default::default(),
        };
        Lifecycle { store, shared: Arc::new(shared) }
    }

    /// Registers an entity with its description; a new one starts in state `Discovered`.
    pub async fn register(
        &self,
        entity: &EntityId,
        description: &Description,
        author: Author<'_>,
    ) -> Result<View, LifecycleError> {
        check_text(&description.type_name)?;
        check_text(description.address.as_deref().unwrap_or_default())?;
        if description
            .heartbeat_ms
            .is_some_and(|ms| !(limits::LEASE_MIN_MS..=limits::LEASE_MAX_MS).contains(&ms))
        {
            return Err(LifecycleError::InvalidHeartbeat);
        }
        let full = self.with(|model| model.len() >= LIFECYCLE_ENTRIES).unwrap_or_default();
        let describe = |known: Option<&Record>| {
            let description = description.clone();
            let Some(known) = known else {
                let life = LifecycleStatus::new();
                let record = Record {
                    state: life.state,
                    previous: life.state,
                    transition: Transition::Discovered,
                    since_ns: author.now_ns,
                    at_ns: author.now_ns,
                    type_name: description.type_name,
                    address: description.address,
                    failures: life.failures,
                    reason: author.reason.to_owned(),
                    by: author.by.to_owned(),
                    client: author.client.map(str::to_owned),
                    manual: author.manual,
                    heartbeat_ms: description.heartbeat_ms,
                };
                return if full { Err(LifecycleError::TooManyEntities) } else { Ok(Some(record)) };
            };
            if known.is_described_by(&description) {
                return Ok(None);
            }
            let Description { type_name, address, heartbeat_ms } = description;
            let written = with_transition(known, Transition::Described, author);
            Ok(Some(Record { type_name, address, heartbeat_ms, ..written }))
        };
        self.change(entity, author, describe).await
    }

    /// The transitions of robots that this process made.
    pub fn robot_transitions(&self) -> &TransitionCounts {
        &self.shared.robot_transitions
    }

    /// Moves an entity to a state, if the transition is valid.
    pub async fn transition(
        &self,
        entity: &EntityId,
        to: State,
        author: Author<'_>,
    ) -> Result<View, LifecycleError> {
        self.step_if(entity, LifecycleInput::To(to), author, |_| true).await
    }

    /// Reports a failure; enough failures in a row lead to `Failed`.
    pub async fn failure(&self, entity: &EntityId, author: Author<'_>) -> Result<View, LifecycleError> {
        self.step_if(entity, LifecycleInput::Failure, author, |_| true).await
    }

    /// Reports a success, which resets the failure count. Writes nothing if there were no failures.
    pub async fn success(&self, entity: &EntityId, author: Author<'_>) -> Result<View, LifecycleError> {
        self.step_if(entity, LifecycleInput::Success, author, |_| true).await
    }

    /// Moves an entity toward a state step by step, each a transition of its own. Stops at a state that
    /// an operator pinned, or where no further transition leads to the goal.
    pub async fn advance(
        &self,
        entity: &EntityId,
        goal: State,
        author: Author<'_>,
    ) -> Result<View, LifecycleError> {
        loop {
            let step = |known: Option<&Record>| {
                let known = known.ok_or_else(|| LifecycleError::Unknown(entity.clone()))?;
                match known.state.toward(goal).filter(|_| !known.is_pinned()) {
                    Some(next) => apply_input(known, LifecycleInput::To(next), author),
                    None => Ok(None),
                }
            };
            let view = self.change(entity, author, step).await?;
            if view.record.is_pinned() || view.record.state.toward(goal).is_none() {
                return Ok(view);
            }
        }
    }

    /// Applies an input if the predicate holds; otherwise changes nothing.
    async fn step_if(
        &self,
        entity: &EntityId,
        input: LifecycleInput,
        author: Author<'_>,
        still: impl Fn(&Record) -> bool,
    ) -> Result<View, LifecycleError> {
        let step = |known: Option<&Record>| {
            let known = known.ok_or_else(|| LifecycleError::Unknown(entity.clone()))?;
            if still(known) { apply_input(known, input, author) } else { Ok(None) }
        };
        self.change(entity, author, step).await
    }

    /// Writes the record that `next` computes, if the stored one is unchanged; otherwise calls `next`
    /// again. `None` from `next` writes nothing.
    async fn change(
        &self,
        entity: &EntityId,
        author: Author<'_>,
        next: impl Fn(Option<&Record>) -> Result<Option<Record>, LifecycleError>,
    ) -> Result<View, LifecycleError> {
        entity.check()?;
        check_text(author.reason)?;
        check_text(author.by)?;
        author.client.map_or(Ok(()), check_text)?;
        let shard = BuildHasherDefault::<DefaultHasher>::default().hash_one(entity) as usize % SHARDS;
        let _guard = self.shared.mutexes[shard].lock().await;
        let key = entity.key();
        let mut current = self.current(&key).await?;
        let mut unsure: Option<Record> = None;
        for _ in 0..LIFECYCLE_CHANGE_ATTEMPTS {
            let known = current.as_ref().and_then(Record::parse);
            // A response was lost: the write succeeded if its record is stored.
            if let Some(entry) = current.as_ref().filter(|_| unsure.is_some() && known == unsure) {
                return self.view(entity, entry.created, entry.modified, known);
            }
            let (created, modified) =
                current.as_ref().map_or_else(Default::default, |e| (e.created, e.modified));
            let Some(record) = next(known.as_ref())? else {
                return self.view(entity, created, modified, known);
            };
            let unchanged = match &current {
                None => Compare::Absent(key.clone()),
                Some(entry) => Compare::Modified(key.clone(), entry.modified),
            };
            let put = Op::Put { key: key.clone(), value: json::encode(&record), lease: None };
            let failure = vec![Op::Get(key.clone())];
            let outcome =
                self.store.txn(Txn { compares: vec![unchanged], success: vec![put], failure }).await;
            match outcome {
                Ok(outcome) if outcome.succeeded => {
                    self.count_transition(entity, known.as_ref(), &record);
                    let created = if current.is_some() { created } else { outcome.revision };
                    return self.view(entity, created, outcome.revision, Some(record));
                }
                Ok(outcome) => current = outcome.got.into_iter().next().flatten(),
                // Repeating is safe, since the write can succeed from this revision only once.
                Err(StoreError::Unknown(_)) => {
                    unsure = Some(record);
                    current = self.current(&key).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(LifecycleError::Contended(entity.clone()))
    }

    fn count_transition(&self, entity: &EntityId, before: Option<&Record>, after: &Record) {
        if entity.kind == EntityKind::Robot && before.is_some_and(|before| before.state != after.state) {
            self.shared.robot_transitions.to(after.state).fetch_add(1, Ordering::Relaxed);
        }
    }

    fn view(
        &self,
        entity: &EntityId,
        created: Revision,
        modified: Revision,
        record: Option<Record>,
    ) -> Result<View, LifecycleError> {
        let record = record.ok_or_else(|| LifecycleError::Unknown(entity.clone()))?;
        let known = self.with(|model| model.get(entity)).flatten();
        let senders = known.map(|view| view.senders).unwrap_or_default();
        Ok(View { entity: entity.clone(), record, created, modified, senders })
    }

    async fn current(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Ok(get(&*self.store, key, None).await?.0)
    }
}

/// The record after an input; `None` if it changes nothing.
fn apply_input(
    known: &Record,
    input: LifecycleInput,
    author: Author<'_>,
) -> Result<Option<Record>, LifecycleError> {
    let life = known.status().after(input)?;
    if life == known.status() {
        return Ok(None);
    }
    let transition = match input {
        LifecycleInput::To(State::Failed) | LifecycleInput::Failure => Transition::Failure,
        LifecycleInput::To(_) => Transition::Moved,
        LifecycleInput::Success => Transition::Recovered,
    };
    let moved = life.state != known.state;
    let written = with_transition(known, transition, author);
    Ok(Some(Record {
        state: life.state,
        failures: life.failures,
        since_ns: if moved { written.at_ns } else { known.since_ns },
        // Failure and success reports do not pin or unpin the state.
        manual: if moved { author.manual } else { known.manual },
        ..written
    }))
}

/// The record with a new last transition.
fn with_transition(known: &Record, transition: Transition, author: Author<'_>) -> Record {
    Record {
        previous: known.state,
        transition,
        at_ns: author.now_ns.max(known.at_ns),
        reason: author.reason.to_owned(),
        by: author.by.to_owned(),
        client: author.client.map(str::to_owned),
        ..known.clone()
    }
}

fn check_text(text: &str) -> Result<(), LifecycleError> {
    match text.chars().nth(limits::LIFECYCLE_TEXT_CHARS) {
        Some(_) => Err(LifecycleError::TextTooLong),
        None => Ok(()),
    }
}
