//! Enqueues messages: all of a batch or none, behind everything enqueued before.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::json;
use crate::limits;
use crate::queues::keys::{self, MessageId, MessagePosition};
use crate::queues::leases::SharedLease;
use crate::queues::record::{self, EventKind, LastEvent, Meta, Record, Versioned, VisibilityMarker};
use crate::queues::{Accepted, Actor, Message, QueueError, Queues, check_name, unmodified_since, validation};
use crate::store::commit::{CommitOutcome, is_first_change};
use crate::store::{Compare, Op, Revision, StoreError};

/// How long a deduplication id is remembered.
const QUEUE_DEDUP_MS: u64 = 300_000;

/// Bytes of the unacknowledged messages of one queue.
const QUEUE_BYTES: u64 = 256 << 20;

/// The size of a queue when it was last counted. Together with everything enqueued since it is an upper
/// bound of the present size, so a recount is needed only when the bound is too high.
#[derive(Clone, Copy, Default)]
pub(super) struct SizeBound {
    messages: usize,
    bytes: u64,
    /// The queue's next sequence number at that time.
    next: u64,
    ever_bytes: u64,
    /// When it was counted, and this process's removal counter at that time.
    when: Option<(Instant, u64)>,
}

/// The leases of a batch, by duration.
type LeasesByDuration = HashMap<Duration, SharedLease>;

impl Queues {
    /// Enqueues messages; creates the queue if it does not exist. Once this returns, the messages are
    /// durable.
    pub async fn enqueue(
        &self,
        queue: &str,
        messages: &[Message],
        actor: &Actor<'_>,
    ) -> Result<Vec<Accepted>, QueueError> {
        check_name(queue)?;
        actor.check()?;
        validation::check_batch(messages)?;
        let owner = actor.label();
        self.quota.pace(&owner, messages.iter().map(|message| message.body.len() as u64).sum())?;
        let _guard = self.lock_queue(queue).await;
        let mut tries = 0..limits::QUEUE_TXN_ATTEMPTS;
        while tries.next().is_some() {
            let (meta, read) = self.meta(queue, actor).await?;
            let known = self.known_duplicates(queue, messages, actor.client.identity).await?;
            let plan = EnqueuePlan::new(queue, messages, &known, meta.value.next);
            if plan.new.is_empty() {
                return Ok(plan.accepted);
            }
            self.check_capacity(queue, &meta.value, &plan).await?;
            let counted = plan.counted(queue);
            let counted: Vec<_> = counted.iter().map(|(key, bytes)| (key.as_str(), *bytes)).collect();
            let reservation = self.quota.reserve(&owner, &counted)?;
            let leases = self.acquire_leases(&plan).await?;
            let touch = record::unique_id();
            let (compares, ops) = plan.transaction(queue, &meta, touch, &leases, actor);
            let done = match self.commit(compares, ops).await {
                // A reused lease ended while the computer was suspended.
                Err(StoreError::LeaseEnded) => {
                    leases.values().for_each(|lease| self.local.leases.forget(lease));
                    continue;
                }
                done => done?,
            };
            let ours = |entry: &crate::store::Entry| {
                record::decode::<Meta>(entry).is_ok_and(|meta| meta.value.touch == touch)
            };
            match done {
                CommitOutcome::Applied(outcome) => {
                    reservation.commit(&counted, outcome.revision);
                    return Ok(plan.accepted);
                }
                CommitOutcome::Unknown
                    if is_first_change(&*self.store, &keys::meta(queue), read, ours).await? =>
                {
                    return Ok(plan.accepted);
                }
                CommitOutcome::Conflict | CommitOutcome::Unknown => {}
            }
        }
        Err(QueueError::Contended)
    }

    /// The metadata of a queue and the revision of the read; new metadata if the queue does not exist.
    pub(super) async fn meta(
        &self,
        queue: &str,
        actor: &Actor<'_>,
    ) -> Result<(Versioned<Meta>, Revision), QueueError> {
        let (known, at) = self.read_key::<Meta>(keys::meta(queue)).await?;
        if let Some(known) = known {
            return Ok((known, at));
        }
        if self.page(keys::QUEUES, None, None, limits::QUEUE_ENTRIES).await?.entries.len()
            >= limits::QUEUE_ENTRIES
        {
            return Err(QueueError::TooManyQueues);
        }
        let value = Meta { next: 1, by: actor.label(), at_ns: (actor.now_ns)(), ..Meta::default() };
        Ok((Versioned { value, modified: Revision(0) }, at))
    }

    /// Known duplicates: message ids by deduplication id.
    async fn known_duplicates(
        &self,
        queue: &str,
        messages: &[Message],
        identity: Option<&str>,
    ) -> Result<BTreeMap<String, String>, QueueError> {
        let mut known = BTreeMap::new();
        let ids: BTreeSet<&str> = messages.iter().filter_map(|message| message.dedup.as_deref()).collect();
        for id in ids {
            let own = self.read_key::<String>(keys::dedup(queue, id, identity));
            // Written by an earlier version, by whomever.
            let anybodys = self.read_key::<String>(keys::dedup(queue, id, None));
            let ((own, _), (anybodys, _)) = tokio::try_join!(own, anybodys)?;
            known.extend(own.or(anybodys).map(|first| (id.to_owned(), first.value)));
        }
        Ok(known)
    }

    async fn acquire_leases(&self, plan: &EnqueuePlan<'_>) -> Result<LeasesByDuration, StoreError> {
        let remembered = plan.new.iter().any(|(_, message)| message.dedup.is_some());
        let dedup = remembered.then_some(Duration::from_millis(QUEUE_DEDUP_MS));
        let delays = plan.new.iter().filter_map(|(_, message)| message.delay);
        let mut leases = LeasesByDuration::new();
        for time in delays.chain(dedup) {
            if let Entry::Vacant(vacant) = leases.entry(time) {
                vacant.insert(self.local.leases.acquire(time).await?);
            }
        }
        Ok(leases)
    }

    /// Rejects a batch that would exceed the limits of the queue.
    async fn check_capacity(
        &self,
        queue: &str,
        meta: &Meta,
        plan: &EnqueuePlan<'_>,
    ) -> Result<(), QueueError> {
        let (messages, bytes) = (plan.new.len(), plan.bytes());
        let known = self.local.sizes.lock().get(queue).copied();
        let mut size = known.map(|known| known.upper_bound(meta));
        let removed = self.local.removed.load(Ordering::Relaxed);
        let is_current = known.is_some_and(|known| known.is_current(removed));
        if size.is_none_or(|size| !fits(size, messages, bytes) && !is_current) {
            let when = Some((Instant::now(), removed));
            let bound = SizeBound { when, ..self.measure(queue, meta).await? };
            let mut sizes = self.local.sizes.lock();
            if sizes.len() >= limits::QUEUE_ENTRIES && !sizes.contains_key(queue) {
                sizes.clear();
            }
            sizes.insert(queue.to_owned(), bound);
            size = Some((bound.messages, bound.bytes));
        }
        let (held, held_bytes) = size.unwrap_or_default();
        if !fits((held, held_bytes), messages, bytes) {
            return Err(QueueError::Full { messages: held, bytes: held_bytes });
        }
        let delayed = plan.new.iter().filter(|(_, message)| message.delay.is_some()).count();
        if delayed > 0
            && self.read_hidden(queue, None).await?.delayed + delayed > limits::QUEUE_DELAYED_MESSAGES
        {
            return Err(QueueError::TooManyDelayed);
        }
        Ok(())
    }

    async fn measure(&self, queue: &str, meta: &Meta) -> Result<SizeBound, QueueError> {
        let mut bound = SizeBound { next: meta.next, ever_bytes: meta.bytes, ..SizeBound::default() };
        for prefix in [keys::messages(queue), keys::dead_all(queue)] {
            self.for_each::<Record>(&prefix, None, |_, record| {
                bound.messages += 1;
                bound.bytes += record.value.bytes as u64;
            })
            .await?;
        }
        Ok(bound)
    }
}

impl SizeBound {
    /// Whether a full queue can be assumed to be full still: this process has removed nothing since,
    /// and the count is recent.
    fn is_current(self, removed: u64) -> bool {
        let moment = Duration::from_millis(limits::QUEUE_COUNTED_MS);
        self.when.is_some_and(|(when, then)| then == removed && when.elapsed() < moment)
    }

    /// An upper bound of the present size.
    fn upper_bound(self, meta: &Meta) -> (usize, u64) {
        let since = usize::try_from(meta.next.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let bytes = meta.bytes.saturating_sub(self.ever_bytes);
        (self.messages.saturating_add(since), self.bytes.saturating_add(bytes))
    }
}

fn fits((held, held_bytes): (usize, u64), messages: usize, bytes: u64) -> bool {
    held.saturating_add(messages) <= limits::QUEUE_MESSAGES && held_bytes.saturating_add(bytes) <= QUEUE_BYTES
}

/// Compares that a queue is unchanged; revision 0: that it does not exist.
pub(super) fn unchanged(queue: &str, modified: Revision) -> Compare {
    match modified.0 {
        0 => Compare::Absent(keys::meta(queue)),
        _ => unmodified_since(keys::meta(queue), modified),
    }
}

/// The effect of a batch.
struct EnqueuePlan<'a> {
    accepted: Vec<Accepted>,
    /// The messages that are not duplicates.
    new: Vec<(MessageId, &'a Message)>,
}

impl<'a> EnqueuePlan<'a> {
    fn new(
        queue: &str,
        messages: &'a [Message],
        known: &BTreeMap<String, String>,
        next: u64,
    ) -> EnqueuePlan<'a> {
        let mut known = known.clone();
        let mut plan = EnqueuePlan { accepted: Vec::new(), new: Vec::new() };
        for message in messages {
            let first = message.dedup.as_ref().and_then(|dedup| known.get(dedup));
            if let Some(first) = first {
                plan.accepted.push(Accepted { id: first.clone(), duplicate: true });
                continue;
            }
            let position =
                MessagePosition { priority: message.priority, sequence: next + plan.new.len() as u64 };
            let id = MessageId { queue: queue.to_owned(), position, nonce: record::unique_id() };
            known.extend(message.dedup.clone().map(|dedup| (dedup, id.to_string())));
            plan.accepted.push(Accepted { id: id.to_string(), duplicate: false });
            plan.new.push((id, message));
        }
        plan
    }

    fn bytes(&self) -> u64 {
        self.new.iter().map(|(_, message)| message.body.len() as u64).sum()
    }

    /// The keys of the new messages, and how many bytes each counts.
    fn counted(&self, queue: &str) -> Vec<(String, u64)> {
        let counted = |(id, message): &(MessageId, &Message)| {
            (keys::message(queue, id.position), message.body.len() as u64)
        };
        self.new.iter().map(counted).collect()
    }

    fn transaction(
        &self,
        queue: &str,
        meta: &Versioned<Meta>,
        touch: u64,
        leases: &LeasesByDuration,
        actor: &Actor<'_>,
    ) -> (Vec<Compare>, Vec<Op>) {
        let lease = |time: Duration| leases.get(&time).map(|lease| lease.id);
        let put = |key, value, lease| Op::Put { key, value, lease };
        let after = Meta {
            next: meta.value.next + self.new.len() as u64,
            bytes: meta.value.bytes + self.bytes(),
            touch,
            ..meta.value.clone()
        };
        let mut ops = vec![put(keys::meta(queue), json::encode(&after), None)];
        for (id, message) in &self.new {
            let last = LastEvent::new(EventKind::Enqueued, actor, None);
            let record = Record {
                nonce: id.nonce,
                priority: message.priority,
                deliveries: 0,
                tries: 0,
                bytes: message.body.len(),
                by: actor.label(),
                client: actor.own_name(),
                at_ns: last.at_ns,
                last,
            };
            ops.push(put(keys::message(queue, id.position), json::encode(&record), None));
            ops.push(put(keys::body(queue, id.position.sequence), message.body.clone(), None));
            if let Some(delay) = message.delay {
                let marker = json::encode(&VisibilityMarker { delivery: None, by: None, touch });
                ops.push(put(keys::hidden(queue, id.position.sequence), marker, lease(delay)));
            }
            if let Some(dedup) = &message.dedup {
                let time = Duration::from_millis(QUEUE_DEDUP_MS);
                let key = keys::dedup(queue, dedup, actor.client.identity);
                ops.push(put(key, json::encode(&id.to_string()), lease(time)));
            }
        }
        (vec![unchanged(queue, meta.modified)], ops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_counted_again_when_it_may_have_room() {
        let moment = Duration::from_millis(limits::QUEUE_COUNTED_MS);
        let bound = |when, removed| SizeBound { when: Some((when, removed)), ..SizeBound::default() };
        let now = Instant::now() + moment;
        assert!(bound(now, 7).is_current(7), "nothing has changed here");
        assert!(!bound(now, 7).is_current(8), "something was done with here");
        let before = Instant::now().checked_sub(moment).unwrap();
        assert!(!bound(before, 7).is_current(7), "elsewhere, perhaps");
    }
}
