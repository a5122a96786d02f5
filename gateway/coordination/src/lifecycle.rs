//! The lives of robots and endpoints: only valid transitions, each one fact in the store.
//!
//! One key per robot or endpoint holds what it is and what led to it, and is changed only if it still
//! is as it was read. Who speaks for one has a key of its own that goes with a lease: to speak on does
//! not write the record. Every process has all of it in memory, from one watch.

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

use roverline_protocol::lifecycle::{Input, Invalid, Life, State};
use roverline_protocol::limits;
use tokio::sync::Mutex;

pub use crate::lifecycle::heartbeat::Speaker;
pub use crate::lifecycle::model::{Model, Selection};
pub use crate::lifecycle::record::{Fact, Kind, Name, PREFIX, Record, View};
use crate::store::{Compare, Entry, Op, Range, Revision, Store, StoreError, Txn};

/// Changes of this process that may go on at once; those of one name never do.
const TURNS: usize = 16;

/// Why something does not happen to a robot or an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// A name is empty, too long, or has a slash or a control character.
    #[error("the name of a robot or an endpoint has 1 to {max} bytes, no slash and no control character", max = limits::LIFECYCLE_NAME_BYTES)]
    Name,
    /// A reason, a type or an address is too long.
    #[error("a reason, a type or an address has at most {max} characters", max = limits::LIFECYCLE_TEXT_CHARS)]
    Text,
    /// The time after which it is missed is out of bounds.
    #[error("it is missed after {min} ms to {max} ms", min = limits::LEASE_MIN_MS, max = limits::LEASE_MAX_MS)]
    Heartbeat,
    /// There is none of this name.
    #[error("no {0} is known")]
    NotKnown(Name),
    /// There are too many.
    #[error("there are {max} robots and endpoints already", max = limits::LIFECYCLE_ENTRIES)]
    Full,
    /// It cannot happen from the state that it is in.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Others changed it again and again.
    #[error("{0} is changed by others all the time: try again")]
    Contended(Name),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who brings something about, why and when.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// Who.
    pub by: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Whether a person wants it: what is automatic leaves it so.
    pub manual: bool,
    /// When, nanoseconds since the Unix epoch; for display.
    pub now_ns: i64,
}

/// What a robot or an endpoint is, its life aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What sort of robot or endpoint it is.
    pub type_name: String,
    /// Where it can be reached.
    pub address: Option<String>,
    /// It is missed when nobody spoke for it for so long.
    pub heartbeat_ms: Option<u64>,
}

/// The lives of a team's robots and endpoints.
#[derive(Clone)]
pub struct Lifecycle {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
}

struct Shared {
    seen: replica::Seen,
    turns: [Mutex<()>; TURNS],
}

impl Lifecycle {
    /// Over a store that all share.
    pub fn new(store: Arc<dyn Store>) -> Lifecycle {
        let shared = Shared { seen: replica::Seen::default(), turns: Default::default() };
        Lifecycle { store, shared: Arc::new(shared) }
    }

    /// One is there, and this is what it is. Seen for the first time, it is discovered.
    pub async fn register(
        &self,
        name: &Name,
        description: &Description,
        author: Author<'_>,
    ) -> Result<View, LifecycleError> {
        check_text(&description.type_name)?;
        check_text(description.address.as_deref().unwrap_or_default())?;
        if description
            .heartbeat_ms
            .is_some_and(|ms| !(limits::LEASE_MIN_MS..=limits::LEASE_MAX_MS).contains(&ms))
        {
            return Err(LifecycleError::Heartbeat);
        }
        let full = self.with(|model| model.len() >= limits::LIFECYCLE_ENTRIES).unwrap_or_default();
        let describe = |known: Option<&Record>| {
            let said = description.clone();
            let Some(known) = known else {
                let life = Life::new();
                let record = Record {
                    state: life.state,
                    previous: life.state,
                    fact: Fact::Discovered,
                    since_ns: author.now_ns,
                    at_ns: author.now_ns,
                    type_name: said.type_name,
                    address: said.address,
                    failures: life.failures,
                    reason: author.reason.to_owned(),
                    by: author.by.to_owned(),
                    manual: author.manual,
                    heartbeat_ms: said.heartbeat_ms,
                };
                return if full { Err(LifecycleError::Full) } else { Ok(Some(record)) };
            };
            if known.describes(&said) {
                return Ok(None);
            }
            let Description { type_name, address, heartbeat_ms } = said;
            let fact = written(known, Fact::Described, author);
            Ok(Some(Record { type_name, address, heartbeat_ms, ..fact }))
        };
        self.change(name, author, describe).await
    }

    /// Leads it to a state, if that is valid from where it is.
    pub async fn transition(
        &self,
        name: &Name,
        to: State,
        author: Author<'_>,
    ) -> Result<View, LifecycleError> {
        self.step_if(name, Input::To(to), author, |_| true).await
    }

    /// It failed once; that may be once too often.
    pub async fn failure(&self, name: &Name, author: Author<'_>) -> Result<View, LifecycleError> {
        self.step_if(name, Input::Failure, author, |_| true).await
    }

    /// It does not fail: the row of its failures ends. Writes nothing where there were none.
    pub async fn success(&self, name: &Name, author: Author<'_>) -> Result<View, LifecycleError> {
        self.step_if(name, Input::Success, author, |_| true).await
    }

    /// Leads it to a state step by step, each a fact of its own; not out of a state in which a person
    /// wants it. Ends where there is no way on.
    pub async fn advance(
        &self,
        name: &Name,
        goal: State,
        author: Author<'_>,
    ) -> Result<View, LifecycleError> {
        loop {
            let step = |known: Option<&Record>| {
                let known = known.ok_or_else(|| LifecycleError::NotKnown(name.clone()))?;
                match known.state.toward(goal).filter(|_| !known.is_kept()) {
                    Some(next) => after(known, Input::To(next), author),
                    None => Ok(None),
                }
            };
            let view = self.change(name, author, step).await?;
            if view.record.is_kept() || view.record.state.toward(goal).is_none() {
                return Ok(view);
            }
        }
    }

    /// What happens to it, if `still` holds; else it stays as it is.
    async fn step_if(
        &self,
        name: &Name,
        input: Input,
        author: Author<'_>,
        still: impl Fn(&Record) -> bool,
    ) -> Result<View, LifecycleError> {
        let step = |known: Option<&Record>| {
            let known = known.ok_or_else(|| LifecycleError::NotKnown(name.clone()))?;
            if still(known) { after(known, input, author) } else { Ok(None) }
        };
        self.change(name, author, step).await
    }

    /// Writes what `next` makes of the record, if nobody changed it meanwhile; else asks it anew. Where it
    /// makes nothing of it, nothing is written.
    async fn change(
        &self,
        name: &Name,
        author: Author<'_>,
        next: impl Fn(Option<&Record>) -> Result<Option<Record>, LifecycleError>,
    ) -> Result<View, LifecycleError> {
        name.check()?;
        check_text(author.reason)?;
        check_text(author.by)?;
        let turn = BuildHasherDefault::<DefaultHasher>::default().hash_one(name) as usize % TURNS;
        let _turn = self.shared.turns[turn].lock().await;
        let key = name.key();
        let mut current = self.current(&key).await?;
        let mut unsure: Option<Record> = None;
        for _ in 0..limits::LIFECYCLE_CHANGE_ATTEMPTS {
            let known = current.as_ref().and_then(Record::of);
            // It was not known whether it happened: it did, if this is what is there.
            if let Some(entry) = current.as_ref().filter(|_| unsure.is_some() && known == unsure) {
                return self.view(name, entry.created, entry.modified, known);
            }
            let (created, modified) =
                current.as_ref().map_or_else(Default::default, |e| (e.created, e.modified));
            let Some(record) = next(known.as_ref())? else {
                return self.view(name, created, modified, known);
            };
            let unchanged = match &current {
                None => Compare::Absent(key.clone()),
                Some(entry) => Compare::Modified(key.clone(), entry.modified),
            };
            let put = Op::Put { key: key.clone(), value: record.bytes(), lease: None };
            let failure = vec![Op::Get(key.clone())];
            let outcome =
                self.store.txn(Txn { compares: vec![unchanged], success: vec![put], failure }).await;
            match outcome {
                Ok(outcome) if outcome.succeeded => {
                    let created = if current.is_some() { created } else { outcome.revision };
                    return self.view(name, created, outcome.revision, Some(record));
                }
                Ok(outcome) => current = outcome.got.into_iter().next().flatten(),
                // To try again is safe, since it can happen from this revision only once.
                Err(StoreError::Unknown(_)) => {
                    unsure = Some(record);
                    current = self.current(&key).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(LifecycleError::Contended(name.clone()))
    }

    fn view(
        &self,
        name: &Name,
        created: Revision,
        modified: Revision,
        record: Option<Record>,
    ) -> Result<View, LifecycleError> {
        let record = record.ok_or_else(|| LifecycleError::NotKnown(name.clone()))?;
        let known = self.with(|model| model.get(name)).flatten();
        let speakers = known.map(|view| view.speakers).unwrap_or_default();
        Ok(View { name: name.clone(), record, created, modified, speakers })
    }

    async fn current(&self, key: &str) -> Result<Option<Entry>, LifecycleError> {
        // A key comes before all others that begin with it.
        let page = self.store.range(Range { prefix: key.to_owned(), limit: 1, ..Range::default() }).await?;
        Ok(page.entries.into_iter().next().filter(|entry| entry.key == key))
    }
}

/// What an input makes of a record; nothing where nothing changes.
fn after(known: &Record, input: Input, author: Author<'_>) -> Result<Option<Record>, LifecycleError> {
    let life = known.life().after(input)?;
    if life == known.life() {
        return Ok(None);
    }
    let fact = match input {
        Input::To(State::Failed) | Input::Failure => Fact::Failure,
        Input::To(_) => Fact::Moved,
        Input::Success => Fact::Recovered,
    };
    let moved = life.state != known.state;
    let written = written(known, fact, author);
    Ok(Some(Record {
        state: life.state,
        failures: life.failures,
        since_ns: if moved { written.at_ns } else { known.since_ns },
        // Who says that it failed or did not says nothing about where it is to stay.
        manual: if moved { author.manual } else { known.manual },
        ..written
    }))
}

/// The record with a new fact.
fn written(known: &Record, fact: Fact, author: Author<'_>) -> Record {
    Record {
        previous: known.state,
        fact,
        at_ns: author.now_ns.max(known.at_ns),
        reason: author.reason.to_owned(),
        by: author.by.to_owned(),
        ..known.clone()
    }
}

fn check_text(text: &str) -> Result<(), LifecycleError> {
    match text.chars().nth(limits::LIFECYCLE_TEXT_CHARS) {
        Some(_) => Err(LifecycleError::Text),
        None => Ok(()),
    }
}
