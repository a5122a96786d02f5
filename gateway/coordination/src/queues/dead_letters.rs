//! Dead letters: moves, redrives and purges messages that could not be processed.

use crate::json;
use crate::limits;
use crate::queues::dequeue::Available;
use crate::queues::keys::{self, MessagePosition};
use crate::queues::record::{self, EventKind, LastEvent, Meta, Purged, Record, Versioned};
use crate::queues::{Actor, QueueError, Queues, check_name, unmodified_since};
use crate::store::commit::CommitOutcome;
use crate::store::{Compare, Op, StoreError};

/// Messages purged per transaction; each takes at most seven of its elements.
const PURGED: usize = 17;

impl Queues {
    /// Moves messages that have reached the delivery limit to the dead letters. Returns whether this
    /// call did.
    pub(super) async fn move_to_dead_letters(
        &self,
        queue: &str,
        exhausted: &[Available],
        actor: &Actor<'_>,
    ) -> Result<bool, StoreError> {
        let (mut compares, mut ops) = (Vec::new(), Vec::new());
        for Available { position, record } in exhausted {
            let why = format!("delivered {} times and never acknowledged", record.value.tries);
            let dead =
                Record { last: LastEvent::new(EventKind::Dead, actor, Some(&why)), ..record.value.clone() };
            let key = keys::message(queue, *position);
            compares.push(unmodified_since(key.clone(), record.modified));
            compares.push(Compare::Absent(keys::hidden(queue, position.sequence)));
            ops.push(Op::Delete(key));
            ops.push(Op::Put {
                key: keys::dead(queue, position.sequence),
                value: json::encode(&dead),
                lease: None,
            });
        }
        Ok(matches!(self.commit(compares, ops).await?, CommitOutcome::Applied(_)))
    }

    /// Moves dead letters back to their positions in the queue, oldest first, with a fresh delivery
    /// limit. Returns how many.
    pub async fn redrive(&self, queue: &str, max: usize, actor: &Actor<'_>) -> Result<usize, QueueError> {
        self.existing_meta(queue).await?;
        let max = max.min(limits::QUEUE_MESSAGES);
        let (mut done, mut lost) = (0, 0);
        while done < max && lost < limits::QUEUE_TXN_ATTEMPTS {
            let limit = limits::QUEUE_BATCH_MESSAGES.min(max - done);
            let page = self.page(&keys::dead_all(queue), None, None, limit).await?;
            if page.entries.is_empty() {
                return Ok(done);
            }
            let (mut compares, mut ops) = (Vec::new(), Vec::new());
            for entry in &page.entries {
                let Versioned { value: record, modified } = record::decode::<Record>(entry)?;
                let sequence = sequence(&entry.key)?;
                let record =
                    Record { tries: 0, last: LastEvent::new(EventKind::Redriven, actor, None), ..record };
                let position = MessagePosition { priority: record.priority, sequence };
                compares.push(unmodified_since(entry.key.clone(), modified));
                ops.push(Op::Delete(entry.key.clone()));
                let key = keys::message(queue, position);
                ops.push(Op::Put { key, value: json::encode(&record), lease: None });
            }
            match self.commit(compares, ops).await? {
                CommitOutcome::Applied(_) => done += page.entries.len(),
                // Not counted, even if a lost response hides a success.
                CommitOutcome::Conflict | CommitOutcome::Unknown => lost += 1,
            }
        }
        if lost < limits::QUEUE_TXN_ATTEMPTS { Ok(done) } else { Err(QueueError::Contended) }
    }

    /// Deletes every message that is in the queue now, including those in flight, and the dead letters
    /// if `dead` is set. Returns how many. Authorization is up to the caller.
    pub async fn purge(
        &self,
        queue: &str,
        dead: bool,
        why: Option<&str>,
        actor: &Actor<'_>,
    ) -> Result<usize, QueueError> {
        let end = self.existing_meta(queue).await?.next;
        let mut purged = Purged::new(why, actor);
        let prefixes = [Some(keys::messages(queue)), dead.then(|| keys::dead_all(queue))];
        let mut lost = 0;
        for prefix in prefixes.into_iter().flatten() {
            let mut after = None;
            while lost < limits::QUEUE_TXN_ATTEMPTS {
                let page = self.page(&prefix, after.clone(), None, PURGED).await?;
                let (mut compares, mut ops, mut count) = (Vec::new(), Vec::new(), 0);
                for entry in &page.entries {
                    let sequence = sequence(&entry.key)?;
                    // Messages enqueued since then stay.
                    if sequence < end {
                        compares.push(unmodified_since(entry.key.clone(), entry.modified));
                        ops.push(Op::Delete(entry.key.clone()));
                        ops.push(Op::Delete(keys::body(queue, sequence)));
                        ops.push(Op::Delete(keys::hidden(queue, sequence)));
                        count += 1;
                    }
                }
                let next = page.entries.last().map(|entry| entry.key.clone());
                if count > 0 {
                    let record = Purged { messages: purged.messages + count, ..purged.clone() };
                    let value = json::encode(&record);
                    ops.push(Op::Put { key: keys::purged(queue), value, lease: None });
                    if !matches!(self.commit(compares, ops).await?, CommitOutcome::Applied(_)) {
                        lost += 1;
                        continue;
                    }
                    purged = record;
                }
                if !page.more {
                    break;
                }
                after = next;
            }
        }
        self.local.sizes.lock().remove(queue);
        self.local.stats.forget(queue);
        self.note_removal();
        if lost < limits::QUEUE_TXN_ATTEMPTS { Ok(purged.messages) } else { Err(QueueError::Contended) }
    }

    /// The metadata of an existing queue.
    pub(super) async fn existing_meta(&self, queue: &str) -> Result<Meta, QueueError> {
        check_name(queue)?;
        let (meta, _) = self.read_key::<Meta>(keys::meta(queue)).await?;
        meta.map(|meta| meta.value).ok_or_else(|| QueueError::UnknownQueue(queue.to_owned()))
    }
}

fn sequence(key: &str) -> Result<u64, QueueError> {
    keys::sequence_of(key).ok_or_else(|| QueueError::Damaged(key.to_owned()))
}
