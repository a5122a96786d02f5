//! Putting messages into a queue: all of a batch or none, each behind all that came before it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use roverline_protocol::limits;

use crate::queues::commit::Done;
use crate::queues::keys::{self, MessageId, Place};
use crate::queues::leases::Lasting;
use crate::queues::record::{self, Fact, Marker, Meta, Read, Record, What};
use crate::queues::{Accepted, By, Message, QueueError, Queues, check_name, error, same};
use crate::store::{Compare, Op, Revision, StoreError};

/// What was in a queue when it was counted last. With what has come since it is no less than what
/// is in it now, so that it has to be counted again only when that is too much.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted {
    messages: usize,
    bytes: u64,
    /// As the queue had them then.
    next: u64,
    ever_bytes: u64,
    /// When, and after how many times that this process made room.
    when: Option<(Instant, u64)>,
}

/// The leases of a batch: for each time one.
type Times = HashMap<Duration, Lasting>;

impl Queues {
    /// Puts messages into a queue, which is made if there is none. Once this answers they are there,
    /// whatever happens.
    pub async fn enqueue(
        &self,
        queue: &str,
        messages: &[Message],
        by: &By<'_>,
    ) -> Result<Vec<Accepted>, QueueError> {
        check_name(queue)?;
        error::check_batch(messages)?;
        let _turn = self.turn(queue).await;
        let mut tries = 0..limits::QUEUE_TRIES_ATTEMPTS;
        while tries.next().is_some() {
            let (meta, read) = self.meta(queue, by).await?;
            let known = self.known(queue, messages).await?;
            let plan = Plan::new(queue, messages, &known, meta.value.next);
            if plan.new.is_empty() {
                return Ok(plan.accepted);
            }
            self.check_room(queue, &meta.value, &plan).await?;
            let times = self.times(&plan).await?;
            let touch = record::fresh();
            let (compares, ops) = plan.transaction(queue, &meta, touch, &times, by);
            let done = match self.commit(compares, ops).await {
                // A lease that was kept for use ended, while the computer slept.
                Err(StoreError::LeaseEnded) => {
                    times.values().for_each(|lease| self.here.leases.forget(lease));
                    continue;
                }
                done => done?,
            };
            let ours = |entry: &crate::store::Entry| {
                record::read::<Meta>(entry).is_ok_and(|meta| meta.value.touch == touch)
            };
            match done {
                Done::Yes(_) => return Ok(plan.accepted),
                Done::Perhaps if self.first_change(&keys::meta(queue), read, ours).await? => {
                    return Ok(plan.accepted);
                }
                Done::No | Done::Perhaps => {}
            }
        }
        Err(QueueError::Contended)
    }

    /// What holds for all of a queue, and when that was read; a new one's, if there is none.
    pub(super) async fn meta(&self, queue: &str, by: &By<'_>) -> Result<(Read<Meta>, Revision), QueueError> {
        let (known, at) = self.one::<Meta>(keys::meta(queue)).await?;
        if let Some(known) = known {
            return Ok((known, at));
        }
        if self.page(keys::QUEUES, None, None, limits::QUEUE_ENTRIES).await?.entries.len()
            >= limits::QUEUE_ENTRIES
        {
            return Err(QueueError::Queues);
        }
        let value = Meta { next: 1, by: by.name(), at_ns: (by.now_ns)(), ..Meta::default() };
        Ok((Read { value, modified: Revision(0) }, at))
    }

    /// Messages that are known already, by their dedup ids.
    async fn known(&self, queue: &str, messages: &[Message]) -> Result<BTreeMap<String, String>, QueueError> {
        let mut known = BTreeMap::new();
        let ids: BTreeSet<&str> = messages.iter().filter_map(|message| message.dedup.as_deref()).collect();
        for id in ids {
            let (first, _) = self.one::<String>(keys::dedup(queue, id)).await?;
            known.extend(first.map(|first| (id.to_owned(), first.value)));
        }
        Ok(known)
    }

    async fn times(&self, plan: &Plan<'_>) -> Result<Times, StoreError> {
        let remembered = plan.new.iter().any(|(_, message)| message.dedup.is_some());
        let dedup = remembered.then_some(Duration::from_millis(limits::QUEUE_DEDUP_MS));
        let delays = plan.new.iter().filter_map(|(_, message)| message.delay);
        let mut times = Times::new();
        for time in delays.chain(dedup) {
            if let Entry::Vacant(free) = times.entry(time) {
                free.insert(self.here.leases.lasting(time).await?);
            }
        }
        Ok(times)
    }

    /// Refuses what would be too much in one queue.
    async fn check_room(&self, queue: &str, meta: &Meta, plan: &Plan<'_>) -> Result<(), QueueError> {
        let (messages, bytes) = (plan.new.len(), plan.bytes());
        let known = self.sizes().get(queue).copied();
        let mut size = known.map(|known| known.now(meta));
        let removed = self.here.removed.load(Ordering::Relaxed);
        let stands = known.is_some_and(|known| known.stands(removed));
        if size.is_none_or(|size| !fits(size, messages, bytes) && !stands) {
            let when = Some((Instant::now(), removed));
            let counted = Counted { when, ..self.count(queue, meta).await? };
            let mut sizes = self.sizes();
            if sizes.len() >= limits::QUEUE_ENTRIES && !sizes.contains_key(queue) {
                sizes.clear();
            }
            sizes.insert(queue.to_owned(), counted);
            size = Some((counted.messages, counted.bytes));
        }
        let (held, held_bytes) = size.unwrap_or_default();
        if !fits((held, held_bytes), messages, bytes) {
            return Err(QueueError::Full { messages: held, bytes: held_bytes });
        }
        let delayed = plan.new.iter().filter(|(_, message)| message.delay.is_some()).count();
        if delayed > 0 && self.hidden(queue, None).await?.delayed + delayed > limits::QUEUE_DELAYED_MESSAGES {
            return Err(QueueError::Delayed);
        }
        Ok(())
    }

    async fn count(&self, queue: &str, meta: &Meta) -> Result<Counted, QueueError> {
        let mut counted = Counted { next: meta.next, ever_bytes: meta.bytes, ..Counted::default() };
        for prefix in [keys::messages(queue), keys::dead_all(queue)] {
            self.each::<Record>(&prefix, None, |_, record| {
                counted.messages += 1;
                counted.bytes += record.value.bytes as u64;
            })
            .await?;
        }
        Ok(counted)
    }
}

impl Counted {
    /// Whether a queue that was full still is, as far as needs to be known: nothing of it was done
    /// with here, and elsewhere it was hardly.
    fn stands(self, removed: u64) -> bool {
        let moment = Duration::from_millis(limits::QUEUE_COUNTED_MS);
        self.when.is_some_and(|(when, then)| then == removed && when.elapsed() < moment)
    }

    /// No less than what there is now.
    fn now(self, meta: &Meta) -> (usize, u64) {
        let since = usize::try_from(meta.next.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let bytes = meta.bytes.saturating_sub(self.ever_bytes);
        (self.messages.saturating_add(since), self.bytes.saturating_add(bytes))
    }
}

fn fits((held, held_bytes): (usize, u64), messages: usize, bytes: u64) -> bool {
    held.saturating_add(messages) <= limits::QUEUE_MESSAGES
        && held_bytes.saturating_add(bytes) <= limits::QUEUE_BYTES
}

/// That nobody has changed a queue since; revision 0: that there is none.
pub(super) fn unchanged(queue: &str, modified: Revision) -> Compare {
    match modified.0 {
        0 => Compare::Absent(keys::meta(queue)),
        _ => same(keys::meta(queue), modified),
    }
}

/// What a batch comes to.
struct Plan<'a> {
    accepted: Vec<Accepted>,
    /// Those that are not known yet.
    new: Vec<(MessageId, &'a Message)>,
}

impl<'a> Plan<'a> {
    fn new(queue: &str, messages: &'a [Message], known: &BTreeMap<String, String>, next: u64) -> Plan<'a> {
        let mut known = known.clone();
        let mut plan = Plan { accepted: Vec::new(), new: Vec::new() };
        for message in messages {
            let first = message.dedup.as_ref().and_then(|dedup| known.get(dedup));
            if let Some(first) = first {
                plan.accepted.push(Accepted { id: first.clone(), duplicate: true });
                continue;
            }
            let place = Place { priority: message.priority, sequence: next + plan.new.len() as u64 };
            let id = MessageId { queue: queue.to_owned(), place, nonce: record::fresh() };
            known.extend(message.dedup.clone().map(|dedup| (dedup, id.to_string())));
            plan.accepted.push(Accepted { id: id.to_string(), duplicate: false });
            plan.new.push((id, message));
        }
        plan
    }

    fn bytes(&self) -> u64 {
        self.new.iter().map(|(_, message)| message.body.len() as u64).sum()
    }

    fn transaction(
        &self,
        queue: &str,
        meta: &Read<Meta>,
        touch: u64,
        times: &Times,
        by: &By<'_>,
    ) -> (Vec<Compare>, Vec<Op>) {
        let lease = |time: Duration| times.get(&time).map(|lease| lease.id);
        let put = |key, value, lease| Op::Put { key, value, lease };
        let after = Meta {
            next: meta.value.next + self.new.len() as u64,
            bytes: meta.value.bytes + self.bytes(),
            touch,
            ..meta.value.clone()
        };
        let mut ops = vec![put(keys::meta(queue), record::bytes(&after), None)];
        for (id, message) in &self.new {
            let last = Fact::new(What::Enqueued, by, None);
            let record = Record {
                nonce: id.nonce,
                priority: message.priority,
                deliveries: 0,
                tries: 0,
                bytes: message.body.len(),
                by: by.name(),
                at_ns: last.at_ns,
                last,
            };
            ops.push(put(keys::message(queue, id.place), record::bytes(&record), None));
            ops.push(put(keys::body(queue, id.place.sequence), message.body.clone(), None));
            if let Some(delay) = message.delay {
                let marker = record::bytes(&Marker { delivery: None, touch });
                ops.push(put(keys::hidden(queue, id.place.sequence), marker, lease(delay)));
            }
            if let Some(dedup) = &message.dedup {
                let time = Duration::from_millis(limits::QUEUE_DEDUP_MS);
                ops.push(put(keys::dedup(queue, dedup), record::bytes(&id.to_string()), lease(time)));
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
        let counted = |when, removed| Counted { when: Some((when, removed)), ..Counted::default() };
        let now = Instant::now() + moment;
        assert!(counted(now, 7).stands(7), "nothing has changed here");
        assert!(!counted(now, 7).stands(8), "something was done with here");
        let before = Instant::now().checked_sub(moment).unwrap();
        assert!(!counted(before, 7).stands(7), "elsewhere, perhaps");
    }
}
