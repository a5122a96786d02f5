//! What is old, or too much, goes: from the beginning of the log only, and signed, so that the rest
//! still proves itself and whoever asks for what was before is told.

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::limits;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::events::entry::{CHECKPOINT, FLOOR, HEAD, KEEPER, LOG, Stored, log_key, seq_of};
use crate::events::seal::{Seal, SealKind, Signer};
use crate::events::{EventError, get, seal};
use crate::store::{Compare, Op, Range, Store, Txn};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For so long, by the clocks of the newest events, the middle one of which counts: one clock
    /// that jumps takes nothing with it, and a log to which nothing is added loses nothing.
    pub age: Duration,
    /// So many bytes.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { age: Duration::from_secs(limits::EVENT_KEPT_S), bytes: limits::EVENT_KEPT_BYTES }
    }
}

/// Keeps the log within bounds until it is dropped.
pub(super) struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Events that one transaction removes.
const AT_ONCE: usize = 20;
/// The newest events that say together what time it is.
const NEWEST: usize = 31;
/// For so long nobody else removes.
const LEASE: Duration = Duration::from_secs(30);

pub(super) fn start(store: Arc<dyn Store>, signer: Signer, retention: Retention) -> Keeper {
    let task = tokio::spawn(async move {
        let mut tick = interval(Duration::from_millis(limits::EVENT_KEEPER_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match keep(&*store, &signer, retention).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "old events are gone from the log"),
                Err(error) => tracing::warn!(%error, "old events stay in the log for now"),
            }
        }
    });
    Keeper(task.abort_handle())
}

/// Removes what is due, unless another process is at it. How many events.
pub(super) async fn keep(
    store: &dyn Store,
    signer: &Signer,
    retention: Retention,
) -> Result<u64, EventError> {
    let Some(now) = newest(store).await? else { return Ok(0) };
    if due(store, retention, now).await?.is_none() {
        return Ok(0);
    }
    let lease = store.grant(LEASE).await?;
    let value = signer.node.clone().into();
    let take = Txn {
        compares: vec![Compare::Absent(KEEPER.to_owned())],
        success: vec![Op::Put { key: KEEPER.to_owned(), value, lease: Some(lease) }],
        failure: Vec::new(),
    };
    let ours = store.txn(take).await;
    let mut removed = 0;
    if ours.as_ref().is_ok_and(|outcome| outcome.succeeded) {
        while removed < limits::EVENT_REMOVED_EVENTS
            && let Some(due) = due(store, retention, now).await?
        {
            removed += remove(store, signer, due).await?;
        }
    }
    // It would end by itself, later.
    let _ = store.revoke(lease).await;
    ours?;
    Ok(removed)
}

/// What time it is by the newest events: the middle of what they say, the earlier one of two.
async fn newest(store: &dyn Store) -> Result<Option<i64>, EventError> {
    let range = Range { prefix: LOG.to_owned(), backward: true, limit: NEWEST, ..Range::default() };
    let mut times = Vec::with_capacity(NEWEST);
    for found in store.range(range).await?.entries {
        tokio::task::yield_now().await;
        times.push(Stored::read(&found.value)?.event.at_ns);
    }
    times.sort_unstable();
    Ok(times.get(times.len().saturating_sub(1) / 2).copied())
}

/// What is to go next.
struct Due {
    events: Vec<Stored>,
    head: Seal,
    /// Where the log begins so far, and how that is compared.
    bytes: u64,
    unchanged: Compare,
}

/// The first events that are too old or too much; `None` where there is none.
async fn due(store: &dyn Store, retention: Retention, now: i64) -> Result<Option<Due>, EventError> {
    let floor = get(store, FLOOR).await?;
    let unchanged = match &floor {
        Some(floor) => Compare::Modified(FLOOR.to_owned(), floor.modified),
        None => Compare::Absent(FLOOR.to_owned()),
    };
    let floor = floor.map(|floor| Seal::read(&floor.value).ok_or(EventError::Damaged)).transpose()?;
    let (seq, bytes) = floor.map_or((0, 0), |floor| (floor.seq, floor.bytes));
    let Some(head) = seal(store, HEAD).await? else { return Ok(None) };
    let range =
        Range { prefix: LOG.to_owned(), after: Some(log_key(seq)), limit: AT_ONCE, ..Range::default() };
    let page = store.range(range).await?;
    let age = i64::try_from(retention.age.as_nanos()).unwrap_or(i64::MAX);
    let oldest = now.saturating_sub(age);
    let (mut events, mut left, mut due) = (Vec::new(), head.bytes.saturating_sub(bytes), 0);
    for found in page.entries {
        tokio::task::yield_now().await;
        let event = Stored::read(&found.value)?;
        // The newest one stays whatever it is: the head says that it is there.
        let (at_ns, too_much) = (event.event.at_ns, left > retention.bytes);
        // A clock was wrong: when it was nobody knows, but before what comes after it.
        let unknown = at_ns > now;
        if event.event.seq >= head.seq || (at_ns >= oldest && !unknown && !too_much) {
            break;
        }
        left = left.saturating_sub(event.size as u64);
        events.push(event);
        if too_much || !unknown {
            due = events.len();
        }
    }
    events.truncate(due);
    Ok((!events.is_empty()).then_some(Due { events, head, bytes, unchanged }))
}

/// Removes them, with all that leads to them, and says where the log begins.
async fn remove(store: &dyn Store, signer: &Signer, due: Due) -> Result<u64, EventError> {
    let Some(last) = due.events.last() else { return Ok(0) };
    let bytes = due.bytes + due.events.iter().map(|event| event.size as u64).sum::<u64>();
    let (node, key, signature) = Default::default();
    let (seq, hash, at_ns) = (last.event.seq, last.hash, last.event.at_ns);
    let floor =
        Seal { kind: SealKind::Floor, log: due.head.log, seq, hash, bytes, at_ns, node, key, signature };
    let value = signer.sign(floor).bytes();
    let mut success = vec![Op::Put { key: FLOOR.to_owned(), value, lease: None }];
    // The key that proves it may be of a process that has appended nothing yet.
    success.push(Op::Put { key: signer.entry(), value: signer.public().into(), lease: None });
    for event in &due.events {
        success.push(Op::Delete(log_key(event.event.seq)));
        success.extend(event.event.index().into_iter().map(|(key, _)| Op::Delete(key)));
    }
    let spare = limits::STORE_TXN_ELEMENTS - 1 - success.len();
    let range = Range { prefix: CHECKPOINT.to_owned(), limit: spare.min(AT_ONCE), ..Range::default() };
    let checkpoints = store.range(range).await?.entries.into_iter().map(|entry| entry.key);
    success.extend(checkpoints.filter(|key| seq_of(key).is_some_and(|at| at <= seq)).map(Op::Delete));
    let txn = Txn { compares: vec![due.unchanged], success, failure: Vec::new() };
    let gone = store.txn(txn).await?.succeeded;
    Ok(if gone { due.events.len() as u64 } else { 0 })
}

impl crate::events::Events {
    /// Removes what is too old or too much, now; what appends does so by itself now and then. How
    /// many events have gone.
    pub async fn tidy(&self) -> Result<u64, EventError> {
        let identity = self.0.identity.clone();
        let signer = tokio::task::spawn_blocking(move || identity.signer()).await;
        let signer = signer.map_err(|error| EventError::Key(error.to_string()))?;
        let signer = signer.map_err(|error| EventError::Key(error.to_string()))?;
        keep(&*self.0.store, &signer, self.0.retention).await
    }
}
