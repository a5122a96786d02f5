//! States that follow from the events: rebuilt when they are wanted, from the newest snapshot on.

use roverline_protocol::limits;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::events::entry::{Event, SNAPSHOT, check_name};
use crate::events::{EventError, Events, Query, get};
use crate::store::{Compare, Op, Txn};

/// A state that follows from the events before it, and from nothing else.
pub trait Projection: Send {
    /// Its name; what it is raised with when the meaning of its state changes is part of it.
    fn name(&self) -> &str;

    /// Takes the next event into account.
    fn apply(&mut self, event: &Event);

    /// The state, for a snapshot.
    fn state(&self) -> Value;

    /// Takes over a snapshot; `false` if it is none of its own.
    fn restore(&mut self, state: Value) -> bool;
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    seq: u64,
    state: Value,
}

impl Events {
    /// Brings a new projection to the end of the log; the number of the last event in it. Where
    /// neither a snapshot nor the log reaches back far enough, that is an error and not a guess.
    pub async fn project(&self, projection: &mut impl Projection) -> Result<u64, EventError> {
        let found = get(&*self.0.store, &key(projection.name())?).await?;
        let snapshot = found.and_then(|found| serde_json::from_slice::<Snapshot>(&found.value).ok());
        let taken = |snapshot: Snapshot| projection.restore(snapshot.state).then_some(snapshot.seq);
        let mut seq = snapshot.and_then(taken).unwrap_or_default();
        loop {
            let query = Query { from: Some(seq + 1), limit: limits::EVENT_PAGE_ENTRIES, ..Query::default() };
            let page = self.read(query).await?;
            for stored in &page.events {
                projection.apply(&stored.event);
                seq = stored.event.seq;
            }
            if page.next.is_none() {
                return Ok(seq);
            }
        }
    }

    /// Keeps the state of a projection, as it is after this event; unless there is a newer one.
    pub async fn snapshot(&self, projection: &impl Projection, seq: u64) -> Result<bool, EventError> {
        let key = key(projection.name())?;
        let known = get(&*self.0.store, &key).await?;
        let compare = match &known {
            Some(known) => Compare::Modified(key.clone(), known.modified),
            None => Compare::Absent(key.clone()),
        };
        let known = known.and_then(|known| serde_json::from_slice::<Snapshot>(&known.value).ok());
        if known.is_some_and(|known| known.seq >= seq) {
            return Ok(false);
        }
        let value = serde_json::to_vec(&Snapshot { seq, state: projection.state() })
            .map_err(|error| EventError::Bad(error.to_string()))?;
        let success = vec![Op::Put { key, value: value.into(), lease: None }];
        let txn = Txn { compares: vec![compare], success, failure: Vec::new() };
        Ok(self.0.store.txn(txn).await?.succeeded)
    }
}

fn key(name: &str) -> Result<String, EventError> {
    check_name("a projection", name)?;
    Ok(format!("{SNAPSHOT}{name}"))
}
