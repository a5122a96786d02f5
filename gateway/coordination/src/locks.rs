//! Who may use what: exclusive and shared locks over the store.
//!
//! Who wants a resource has one key under it, made when it asked and gone with its lease. The order
//! in which they asked is the order of their keys' creation, and who holds follows from it alone:
//! the first, or all shared ones before the first exclusive one. So nobody has to pass a lock on, a
//! holder that is gone is succeeded by the store itself, and the creation is a fencing token: whoever
//! holds later has a higher one (Kleppmann, "How to do distributed locking", 2016).

mod acquire;
mod error;
mod event_source;
mod graph;
mod handover;
mod lock_table;
mod queue;
mod release;
#[cfg(test)]
pub(crate) mod tests;
mod view;

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::limits;
use serde::{Deserialize, Serialize};

pub use crate::locks::error::LockError;
pub(crate) use crate::locks::event_source::LockFacts;
pub use crate::locks::handover::{Handover, HandoverView};
use crate::locks::lock_table::Board;
use crate::locks::queue::{Contender, contenders, prefix_of};
pub use crate::locks::view::LockView;
use crate::store::{LeaseId, Range, Revision, Store, StoreError};

/// Counts everything that asks for a lock, so that a cycle cannot come about between two that look.
/// It sorts right before [`PREFIX`], so that both are read as one.
const ORDER: &str = "locks-order";
const BOTH: &str = "locks";
const PREFIX: &str = "locks/";
/// Before all keys of locks.
const ALL: &str = "lock";
/// Written now and then so that the watch of all these goes on; nothing has changed then.
pub(crate) const TICK: &str = "lock-tick";
/// Who asks a holder for its lock: by resource and asker.
const HANDOVER: &str = "locking/handover/";
/// Whose lock was taken, by whom and why: by resource and client; kept for a while.
const FORCED: &str = "locking/forced/";

/// Whether others may hold it as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Nobody else holds it.
    Exclusive,
    /// Others that share hold it too.
    Shared,
}

/// Proof of a lock: whoever holds the resource later has a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(pub u64);

/// What became of asking for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is held.
    Held(FencingToken),
    /// So many are to go first; the next is 1.
    Waiting(usize),
}

/// The locks of a team.
#[derive(Clone)]
pub struct Locks {
    store: Arc<dyn Store>,
    board: Board,
    /// Those who ask in this process ask one after another: they would only get in each other's way.
    asking: Arc<tokio::sync::Mutex<()>>,
    /// Who waits within a call of this process.
    waiting: acquire::Waiting,
}

impl Locks {
    /// Over a store that all share.
    pub fn new(store: Arc<dyn Store>) -> Locks {
        Locks {
            board: Board::new(store.clone()),
            store,
            asking: Arc::default(),
            waiting: acquire::Waiting::default(),
        }
    }

    /// The key that this client has under a resource.
    async fn own(&self, resource: &str, client: &str) -> Result<Contender, LockError> {
        check_name(resource)?;
        check_name(client)?;
        let here = self.here(resource).await?;
        match here.into_iter().find(|one| one.client == client) {
            Some(own) => Ok(own),
            None => Err(self.why_not(resource, client).await),
        }
    }

    /// All who want a resource, in the order in which they asked.
    async fn here(&self, resource: &str) -> Result<Vec<Contender>, LockError> {
        Ok(self.all_under(&prefix_of(resource)).await?.0)
    }

    /// All who want anything, in the order in which they asked, and when somebody asked last.
    async fn all(&self) -> Result<(Vec<Contender>, Revision), LockError> {
        let (all, order, _) = self.all_under(BOTH).await?;
        Ok((all, order))
    }

    /// Those under a prefix, when somebody asked last if that is under it, and when this was so.
    async fn all_under(&self, prefix: &str) -> Result<(Vec<Contender>, Revision, Revision), LockError> {
        let (mut entries, mut after, mut at) = (Vec::new(), None, None);
        loop {
            let limit = limits::STORE_PAGE_ENTRIES;
            let range =
                Range { prefix: prefix.to_owned(), after: after.take(), at, limit, ..Range::default() };
            let page = self.store.range(range).await?;
            after = page.entries.last().map(|entry| entry.key.clone());
            entries.extend(page.entries);
            // Further pages are of the same moment.
            at = Some(page.revision);
            if !page.more {
                let order = entries.iter().find(|entry| entry.key == ORDER);
                let order = order.map_or(Revision(0), |entry| entry.modified);
                return Ok((contenders(&entries), order, page.revision));
            }
        }
    }
}

fn not_held(resource: &str, client: &str) -> LockError {
    LockError::NotHeld { resource: resource.to_owned(), client: client.to_owned() }
}

/// Refuses a time to live that no lease has.
fn check_ttl(ttl: Duration) -> Result<(), LockError> {
    let bounds = Duration::from_millis(limits::LEASE_MIN_MS)..=Duration::from_millis(limits::LEASE_MAX_MS);
    if bounds.contains(&ttl) { Ok(()) } else { Err(StoreError::Ttl.into()) }
}

fn check_name(name: &str) -> Result<(), LockError> {
    let bad = name.is_empty()
        || name.len() > limits::LOCK_NAME_BYTES
        || name.contains(|c: char| c == '/' || c.is_control());
    if bad { Err(LockError::Name) } else { Ok(()) }
}
