//! Settles delivered messages: acknowledge, return, or extend the visibility timeout.

use std::time::Duration;

use crate::json;
use crate::limits;
use crate::queues::keys::{self, MessageId};
use crate::queues::leases::SharedLease;
use crate::queues::record::{self, EventKind, LastEvent, Purged, Record, Versioned, VisibilityMarker};
use crate::queues::{Actor, QueueError, Queues, unmodified_since, validation};
use crate::store::commit::CommitOutcome;
use crate::store::{Compare, Op, StoreError};

/// A message's record and the marker that hides it.
struct Current {
    record: Versioned<Record>,
    marker: Option<Versioned<VisibilityMarker>>,
}

impl Queues {
    /// Acknowledges a message, which deletes it. With a `delivery`, only if it has not been delivered
    /// again since. Only the identity that it was delivered to last can, also when its time is over and
    /// nobody else has taken the message since.
    pub async fn ack(&self, id: &str, delivery: Option<u32>, actor: &Actor<'_>) -> Result<(), QueueError> {
        self.finish(id, delivery, actor, None).await
    }

    /// Acknowledges a message regardless of its consumer, and records the actor and the reason.
    /// The caller authorizes it.
    pub async fn force_ack(
        &self,
        id: &str,
        delivery: Option<u32>,
        why: &str,
        actor: &Actor<'_>,
    ) -> Result<(), QueueError> {
        check_reason(why)?;
        self.finish(id, delivery, actor, Some(why)).await
    }

    /// Deletes a message; with a reason also one that another consumer has taken, or none.
    async fn finish(
        &self,
        id: &str,
        delivery: Option<u32>,
        actor: &Actor<'_>,
        forced: Option<&str>,
    ) -> Result<(), QueueError> {
        let id: MessageId = id.parse()?;
        let mut lost = false;
        for _ in 0..limits::QUEUE_TXN_ATTEMPTS {
            let current = match self.current(&id, delivery).await {
                // A response was lost, and most likely that attempt deleted the message.
                Err(QueueError::UnknownMessage(_)) if lost => return Ok(()),
                current => current?,
            };
            let taker = check_taker(&current, actor);
            if forced.is_none() {
                taker.clone()?;
            }
            let key = keys::message(&id.queue, id.position);
            let sequence = id.position.sequence;
            let hidden = keys::hidden(&id.queue, sequence);
            let compares = vec![
                unmodified_since(key.clone(), current.record.modified),
                // No consumer has taken it since.
                match &current.marker {
                    Some(marker) => unmodified_since(hidden.clone(), marker.modified),
                    None => Compare::Absent(hidden.clone()),
                },
            ];
            let mut ops = [key, keys::body(&id.queue, sequence), hidden].map(Op::Delete).to_vec();
            if let (Some(why), Err(_)) = (forced, &taker) {
                let discarded = Purged::of_message(sequence, worker(&current), why, actor);
                let value = json::encode(&discarded);
                ops.push(Op::Put { key: keys::purged(&id.queue), value, lease: None });
            }
            match self.commit(compares, ops).await? {
                CommitOutcome::Applied(_) => {
                    self.note_removal();
                    return Ok(());
                }
                CommitOutcome::Conflict => {}
                CommitOutcome::Unknown => lost = true,
            }
        }
        Err(QueueError::Contended)
    }

    /// Returns a message to the queue, after a delay if one is given. At the delivery limit it becomes
    /// a dead letter.
    pub async fn nak(
        &self,
        id: &str,
        delivery: Option<u32>,
        delay: Option<Duration>,
        why: Option<&str>,
        actor: &Actor<'_>,
    ) -> Result<(), QueueError> {
        self.give_back(id, (delivery, delay), why, actor, false).await
    }

    /// Returns a message to the queue regardless of its consumer, and records the actor and the reason.
    /// The caller authorizes it.
    pub async fn force_nak(
        &self,
        id: &str,
        delivery: Option<u32>,
        delay: Option<Duration>,
        why: &str,
        actor: &Actor<'_>,
    ) -> Result<(), QueueError> {
        check_reason(why)?;
        self.give_back(id, (delivery, delay), Some(why), actor, true).await
    }

    async fn give_back(
        &self,
        id: &str,
        (delivery, delay): (Option<u32>, Option<Duration>),
        why: Option<&str>,
        actor: &Actor<'_>,
        force: bool,
    ) -> Result<(), QueueError> {
        delay.map_or(Ok(()), validation::check_duration)?;
        let id: MessageId = id.parse()?;
        let settings = self.settings(&id.queue).await?;
        let sequence = id.position.sequence;
        let key = keys::message(&id.queue, id.position);
        let hidden = keys::hidden(&id.queue, sequence);
        let mut touched: Vec<u64> = Vec::new();
        for _ in 0..limits::QUEUE_TXN_ATTEMPTS {
            if self.is_last_change(&id, &touched).await? {
                return Ok(());
            }
            let current = self.current(&id, delivery).await.map_err(|error| or_unknown(error, &touched))?;
            let Some(marker) = in_flight(&current) else {
                return Err(or_unknown(QueueError::NotInFlight, &touched));
            };
            let owner = check_owner(&current, actor);
            if !force {
                owner.clone().map_err(|error| or_unknown(error, &touched))?;
            }
            let record = &current.record.value;
            let is_last = record.tries >= settings.max_deliveries;
            let kind = if is_last { EventKind::Dead } else { EventKind::Returned };
            let from = owner.err().and_then(|_| marker.value.by.clone());
            let event = LastEvent { from, ..LastEvent::new(kind, actor, why) };
            let touch = event.touch;
            let value = json::encode(&Record { last: event, ..record.clone() });
            let mut ops = match is_last {
                true => {
                    let dead = keys::dead(&id.queue, sequence);
                    vec![Op::Delete(key.clone()), Op::Put { key: dead, value, lease: None }]
                }
                false => vec![Op::Put { key: key.clone(), value, lease: None }],
            };
            let (marked, lease) = self.mark_returned(&hidden, delay.filter(|_| !is_last), touch).await?;
            ops.push(marked);
            let compares = vec![
                unmodified_since(key.clone(), current.record.modified),
                unmodified_since(hidden.clone(), marker.modified),
            ];
            match (self.commit(compares, ops).await, lease) {
                (Ok(CommitOutcome::Applied(_)), _) => return Ok(()),
                (Ok(CommitOutcome::Conflict), _) => {}
                (Ok(CommitOutcome::Unknown), _) => touched.push(touch),
                (Err(StoreError::LeaseEnded), Some(lease)) => self.local.leases.forget(&lease),
                (Err(error), _) => return Err(error.into()),
            }
        }
        Err(QueueError::Contended)
    }

    /// The operation on the marker of a returned message: it is visible at once, or hidden for a delay by a lease.
    async fn mark_returned(
        &self,
        hidden: &str,
        delay: Option<Duration>,
        touch: u64,
    ) -> Result<(Op, Option<SharedLease>), StoreError> {
        let Some(delay) = delay else { return Ok((Op::Delete(hidden.to_owned()), None)) };
        let lease = self.local.leases.acquire(delay).await?;
        let value = json::encode(&VisibilityMarker { delivery: None, by: None, touch });
        Ok((Op::Put { key: hidden.to_owned(), value, lease: Some(lease.id) }, Some(lease)))
    }

    /// Extends the visibility timeout of a message from now on.
    pub async fn extend(
        &self,
        id: &str,
        delivery: Option<u32>,
        visibility: Duration,
        actor: &Actor<'_>,
    ) -> Result<(), QueueError> {
        validation::check_duration(visibility)?;
        let id: MessageId = id.parse()?;
        let hidden = keys::hidden(&id.queue, id.position.sequence);
        for _ in 0..limits::QUEUE_TXN_ATTEMPTS {
            let current = self.current(&id, delivery).await?;
            check_owner(&current, actor)?;
            let marker = in_flight(&current).ok_or(QueueError::NotInFlight)?;
            let lease = self.local.leases.acquire(visibility).await?;
            let message = keys::message(&id.queue, id.position);
            let value =
                json::encode(&VisibilityMarker { touch: record::unique_id(), ..marker.value.clone() });
            let compares: Vec<Compare> = vec![
                unmodified_since(message, current.record.modified),
                unmodified_since(hidden.clone(), marker.modified),
            ];
            let ops = vec![Op::Put { key: hidden.clone(), value, lease: Some(lease.id) }];
            match self.commit(compares, ops).await {
                Ok(CommitOutcome::Applied(_)) => match self.local.leases.confirm(&lease).await {
                    Err(StoreError::LeaseEnded) => {}
                    confirmed => return Ok(confirmed?),
                },
                // Extending twice does no harm.
                Ok(CommitOutcome::Conflict | CommitOutcome::Unknown) => {}
                Err(StoreError::LeaseEnded) => self.local.leases.forget(&lease),
                Err(error) => return Err(error.into()),
            }
        }
        Err(QueueError::Contended)
    }

    /// Reads a message and checks that `delivery` is its newest one.
    async fn current(&self, id: &MessageId, delivery: Option<u32>) -> Result<Current, QueueError> {
        let unknown = || QueueError::unknown_message(&id.to_string());
        // The order matters: a delivery between the two reads changes the record as well.
        let (marker, _) =
            self.read_key::<VisibilityMarker>(keys::hidden(&id.queue, id.position.sequence)).await?;
        let (record, _) = self.read_key::<Record>(keys::message(&id.queue, id.position)).await?;
        let record = record.filter(|record| record.value.nonce == id.nonce).ok_or_else(unknown)?;
        match delivery {
            Some(given) if given != record.value.deliveries => {
                Err(QueueError::Stale { given, newest: record.value.deliveries })
            }
            _ => Ok(Current { record, marker }),
        }
    }

    /// Whether one of these changes, whose responses were lost, is the message's last event.
    async fn is_last_change(&self, id: &MessageId, touched: &[u64]) -> Result<bool, QueueError> {
        if touched.is_empty() {
            return Ok(false);
        }
        for key in [keys::message(&id.queue, id.position), keys::dead(&id.queue, id.position.sequence)] {
            let (record, _) = self.read_key::<Record>(key).await?;
            if record.is_some_and(|record| touched.contains(&record.value.last.touch)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The marker of the newest delivery, if it is in flight.
fn in_flight(current: &Current) -> Option<&Versioned<VisibilityMarker>> {
    current.marker.as_ref().filter(|marker| marker.value.delivery == Some(current.record.value.deliveries))
}

/// The identity that works on the message, if one does.
fn worker(current: &Current) -> Option<&str> {
    in_flight(current).and_then(|marker| marker.value.by.as_deref())
}

/// Rejects an actor of another identity than the one that works on the message, if one does.
fn check_owner(current: &Current, actor: &Actor<'_>) -> Result<(), QueueError> {
    match worker(current).filter(|owner| actor.client.identity != Some(*owner)) {
        None => Ok(()),
        Some(owner) => Err(QueueError::NotOwner { owner: owner.to_owned() }),
    }
}

/// Rejects an actor that is not the last one to whom the message was delivered. Its time may be over: what it
/// did is done all the same.
fn check_taker(current: &Current, actor: &Actor<'_>) -> Result<(), QueueError> {
    if in_flight(current).is_some() {
        return check_owner(current, actor);
    }
    let last = &current.record.value.last;
    match last.kind == EventKind::Delivered && last.by == actor.label() {
        true => Ok(()),
        false => Err(QueueError::NotTaken),
    }
}

fn check_reason(why: &str) -> Result<(), QueueError> {
    match (1..=limits::QUEUE_REASON_CHARS).contains(&why.chars().count()) {
        true => Ok(()),
        false => Err(QueueError::InvalidReason),
    }
}

/// After a lost response, our own change may have caused the rejection.
fn or_unknown(error: QueueError, touched: &[u64]) -> QueueError {
    match touched.is_empty() {
        true => error,
        false => StoreError::Unknown(error.to_string()).into(),
    }
}
