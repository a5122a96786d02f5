//! Messages that nobody could deal with, and those that nobody wants any more.

use roverline_protocol::limits;

use crate::queues::commit::Done;
use crate::queues::dequeue::Free;
use crate::queues::keys::{self, Place};
use crate::queues::record::{self, Fact, Meta, Purged, Read, Record, What};
use crate::queues::{By, QueueError, Queues, check_name, same};
use crate::store::{Compare, Op, StoreError};

/// Messages that are thrown away in one transaction: each has seven parts at most.
const PURGED: usize = 17;

impl Queues {
    /// Makes dead letters of messages that were delivered often enough. Says whether it was we who
    /// did.
    pub(super) async fn bury(&self, queue: &str, worn: &[Free], by: &By<'_>) -> Result<bool, StoreError> {
        let (mut compares, mut ops) = (Vec::new(), Vec::new());
        for Free { place, record } in worn {
            let why = format!("delivered {} times and never acknowledged", record.value.tries);
            let dead = Record { last: Fact::new(What::Dead, by, Some(&why)), ..record.value.clone() };
            let key = keys::message(queue, *place);
            compares.push(same(key.clone(), record.modified));
            compares.push(Compare::Absent(keys::hidden(queue, place.sequence)));
            ops.push(Op::Delete(key));
            ops.push(Op::Put {
                key: keys::dead(queue, place.sequence),
                value: record::bytes(&dead),
                lease: None,
            });
        }
        Ok(matches!(self.commit(compares, ops).await?, Done::Yes(_)))
    }

    /// Puts dead letters back where they were in the queue, the oldest first; each is delivered as
    /// often again as a new one. Returns how many.
    pub async fn redrive(&self, queue: &str, most: usize, by: &By<'_>) -> Result<usize, QueueError> {
        self.known_queue(queue).await?;
        let most = most.min(limits::QUEUE_MESSAGES);
        let (mut done, mut lost) = (0, 0);
        while done < most && lost < limits::QUEUE_TRIES_ATTEMPTS {
            let limit = limits::QUEUE_BATCH_MESSAGES.min(most - done);
            let page = self.page(&keys::dead_all(queue), None, None, limit).await?;
            if page.entries.is_empty() {
                return Ok(done);
            }
            let (mut compares, mut ops) = (Vec::new(), Vec::new());
            for entry in &page.entries {
                let Read { value: record, modified } = record::read::<Record>(entry)?;
                let sequence = sequence(&entry.key)?;
                let record = Record { tries: 0, last: Fact::new(What::Redriven, by, None), ..record };
                let place = Place { priority: record.priority, sequence };
                compares.push(same(entry.key.clone(), modified));
                ops.push(Op::Delete(entry.key.clone()));
                let key = keys::message(queue, place);
                ops.push(Op::Put { key, value: record::bytes(&record), lease: None });
            }
            match self.commit(compares, ops).await? {
                Done::Yes(_) => done += page.entries.len(),
                // Not counted, where it was we and it was not told.
                Done::No | Done::Perhaps => lost += 1,
            }
        }
        if lost < limits::QUEUE_TRIES_ATTEMPTS { Ok(done) } else { Err(QueueError::Contended) }
    }

    /// Throws away every message that is in the queue now, also those that are worked on; `dead` ones
    /// as well, if so asked. Returns how many. Whether one may is for the caller to say.
    pub async fn purge(
        &self,
        queue: &str,
        dead: bool,
        why: Option<&str>,
        by: &By<'_>,
    ) -> Result<usize, QueueError> {
        let end = self.known_queue(queue).await?.next;
        let why = why.map(|why| why.chars().take(limits::QUEUE_REASON_CHARS).collect());
        let mut purged = Purged { by: by.name(), at_ns: (by.now_ns)(), why, messages: 0 };
        let prefixes = [Some(keys::messages(queue)), dead.then(|| keys::dead_all(queue))];
        let mut lost = 0;
        for prefix in prefixes.into_iter().flatten() {
            let mut after = None;
            while lost < limits::QUEUE_TRIES_ATTEMPTS {
                let page = self.page(&prefix, after.clone(), None, PURGED).await?;
                let (mut compares, mut ops, mut count) = (Vec::new(), Vec::new(), 0);
                for entry in &page.entries {
                    let sequence = sequence(&entry.key)?;
                    // What came since stays.
                    if sequence < end {
                        compares.push(same(entry.key.clone(), entry.modified));
                        ops.push(Op::Delete(entry.key.clone()));
                        ops.push(Op::Delete(keys::body(queue, sequence)));
                        ops.push(Op::Delete(keys::hidden(queue, sequence)));
                        count += 1;
                    }
                }
                let next = page.entries.last().map(|entry| entry.key.clone());
                if count > 0 {
                    let told = Purged { messages: purged.messages + count, ..purged.clone() };
                    let value = record::bytes(&told);
                    ops.push(Op::Put { key: keys::purged(queue), value, lease: None });
                    if !matches!(self.commit(compares, ops).await?, Done::Yes(_)) {
                        lost += 1;
                        continue;
                    }
                    purged = told;
                }
                if !page.more {
                    break;
                }
                after = next;
            }
        }
        self.sizes().remove(queue);
        self.here.counts.forget(queue);
        self.made_room();
        if lost < limits::QUEUE_TRIES_ATTEMPTS { Ok(purged.messages) } else { Err(QueueError::Contended) }
    }

    /// What holds for all of a queue that there is.
    pub(super) async fn known_queue(&self, queue: &str) -> Result<Meta, QueueError> {
        check_name(queue)?;
        let (meta, _) = self.one::<Meta>(keys::meta(queue)).await?;
        meta.map(|meta| meta.value).ok_or_else(|| QueueError::UnknownQueue(queue.to_owned()))
    }
}

fn sequence(key: &str) -> Result<u64, QueueError> {
    keys::sequence_of(key).ok_or_else(|| QueueError::Damaged(key.to_owned()))
}
