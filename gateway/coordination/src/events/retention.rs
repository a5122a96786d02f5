//! Retention: removes events that are too old or exceed the size limit, only from the beginning of the log.
//! The new floor is signed, so that the rest can still be verified and readers learn what was removed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::events::entry::{CHECKPOINT, FLOOR, HEAD, LOG, PRUNE_LOCK, Stored, log_key, seq_of};
use crate::events::seal::{Seal, SealKind, Signer};
use crate::events::{EventError, get, seal};
use crate::limits;
use crate::store::{Compare, Op, Range, Store, Txn};

/// Retention time of events.
const EVENT_KEPT_S: u64 = 30 * 86_400;
/// Retention size of events.
const EVENT_KEPT_BYTES: u64 = 256 << 20;
/// Interval of retention.
const EVENT_RETENTION_MS: u64 = 60_000;
/// Events removed in one step, so that other writers get through.
const EVENT_REMOVED_EVENTS: u64 = 5_000;

/// A retention policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The maximum age, measured against the median time of the newest events: one wrong clock removes
    /// nothing, and an idle log loses nothing.
    pub age: Duration,
    /// The maximum size in bytes.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { age: Duration::from_secs(EVENT_KEPT_S), bytes: EVENT_KEPT_BYTES }
    }
}

/// Applies the policy periodically until it is dropped.
pub(super) type RetentionTask = AbortOnDropHandle<()>;

/// Events removed by one transaction.
const BATCH_EVENTS: usize = 20;
/// Number of newest events whose median time counts as now.
const MEDIAN_OF: usize = 31;
/// How long the lock excludes other processes.
const LEASE: Duration = Duration::from_secs(30);

pub(super) fn start(store: Arc<dyn Store>, signer: Signer, retention: Retention) -> RetentionTask {
    let task = tokio::spawn(async move {
        let mut tick = interval(Duration::from_millis(EVENT_RETENTION_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match prune_due(&*store, &signer, retention).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "old events are gone from the log"),
                Err(error) => tracing::warn!(%error, "old events stay in the log for now"),
            }
        }
    });
    AbortOnDropHandle::new(task)
}

/// Removes events that are due, unless another process is doing so. Returns their number.
pub(super) async fn prune_due(
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
    let lock = Txn {
        compares: vec![Compare::Absent(PRUNE_LOCK.to_owned())],
        success: vec![Op::Put { key: PRUNE_LOCK.to_owned(), value, lease: Some(lease) }],
        failure: Vec::new(),
    };
    let ours = store.txn(lock).await;
    let mut removed = 0;
    if ours.as_ref().is_ok_and(|outcome| outcome.succeeded) {
        while removed < EVENT_REMOVED_EVENTS
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

/// The median time of the newest events; the earlier one of two.
async fn newest(store: &dyn Store) -> Result<Option<i64>, EventError> {
    let range = Range { prefix: LOG.to_owned(), backward: true, limit: MEDIAN_OF, ..Range::default() };
    let mut times = Vec::with_capacity(MEDIAN_OF);
    for found in store.range(range).await?.entries {
        tokio::task::yield_now().await;
        times.push(Stored::read(&found.value)?.event.at_ns);
    }
    times.sort_unstable();
    Ok(times.get(times.len().saturating_sub(1) / 2).copied())
}

/// The events to remove next.
struct Due {
    events: Vec<Stored>,
    head: Seal,
    /// The size removed so far, and the condition that the floor is unchanged.
    bytes: u64,
    unchanged: Compare,
}

/// The first events that are too old or exceed the size; `None` if there are none.
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
        Range { prefix: LOG.to_owned(), after: Some(log_key(seq)), limit: BATCH_EVENTS, ..Range::default() };
    let page = store.range(range).await?;
    let age = i64::try_from(retention.age.as_nanos()).unwrap_or(i64::MAX);
    let oldest = now.saturating_sub(age);
    let (mut events, mut left, mut due) = (Vec::new(), head.bytes.saturating_sub(bytes), 0);
    for found in page.entries {
        tokio::task::yield_now().await;
        let event = Stored::read(&found.value)?;
        // The newest event always stays, because the head refers to it.
        let (at_ns, too_much) = (event.event.at_ns, left > retention.bytes);
        // Written with a wrong clock: its time is unknown, but before that of the following events.
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

/// Removes events with their index entries, and signs the new floor.
async fn remove(store: &dyn Store, signer: &Signer, due: Due) -> Result<u64, EventError> {
    let Some(last) = due.events.last() else { return Ok(0) };
    let bytes = due.bytes + due.events.iter().map(|event| event.size as u64).sum::<u64>();
    let (node, key, signature) = Default::default();
    let (seq, hash, at_ns) = (last.event.seq, last.hash, last.event.at_ns);
    let floor =
        Seal { kind: SealKind::Floor, log: due.head.log, seq, hash, bytes, at_ns, node, key, signature };
    let value = signer.sign(floor).bytes();
    let mut success = vec![Op::Put { key: FLOOR.to_owned(), value, lease: None }];
    // The signing key may belong to a process that has appended nothing yet.
    success.push(Op::Put { key: signer.entry(), value: signer.public().into(), lease: None });
    for event in &due.events {
        success.push(Op::Delete(log_key(event.event.seq)));
        success.extend(event.event.index().into_iter().map(|(key, _)| Op::Delete(key)));
    }
    let spare = limits::STORE_TXN_ELEMENTS - 1 - success.len();
    let range = Range { prefix: CHECKPOINT.to_owned(), limit: spare.min(BATCH_EVENTS), ..Range::default() };
    let checkpoints = store.range(range).await?.entries.into_iter().map(|entry| entry.key);
    success.extend(checkpoints.filter(|key| seq_of(key).is_some_and(|at| at <= seq)).map(Op::Delete));
    let txn = Txn { compares: vec![due.unchanged], success, failure: Vec::new() };
    let gone = store.txn(txn).await?.succeeded;
    Ok(if gone { due.events.len() as u64 } else { 0 })
}

impl crate::events::Events {
    /// Applies the retention policy now; otherwise the appending process does so periodically. Returns the
    /// number of removed events.
    pub async fn prune(&self) -> Result<u64, EventError> {
        let identity = self.0.identity.clone();
        let signer = tokio::task::spawn_blocking(move || identity.signer()).await;
        let signer = signer.map_err(|error| EventError::Key(error.to_string()))?;
        let signer = signer.map_err(|error| EventError::Key(error.to_string()))?;
        prune_due(&*self.0.store, &signer, self.0.retention).await
    }
}
