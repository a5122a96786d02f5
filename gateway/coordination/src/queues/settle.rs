//! What becomes of a message that was taken: done with, given back, or kept for longer.

use std::time::Duration;

use roverline_protocol::limits;

use crate::queues::commit::Done;
use crate::queues::keys::{self, MessageId};
use crate::queues::record::{self, Fact, Marker, Read, Record, What};
use crate::queues::{By, QueueError, Queues, error, same};
use crate::store::{Compare, Op, StoreError};

/// A message as it is, and what hides it.
struct Current {
    record: Read<Record>,
    marker: Option<Read<Marker>>,
}

impl Queues {
    /// The message is done with, and never comes again. With a `delivery`, only if it was not delivered
    /// to somebody else since.
    pub async fn ack(&self, id: &str, delivery: Option<u32>) -> Result<(), QueueError> {
        let id: MessageId = id.parse()?;
        let mut lost = false;
        for _ in 0..limits::QUEUE_TRIES_ATTEMPTS {
            let current = match self.current(&id, delivery).await {
                // Nobody but us was about to end it, as far as anybody can tell.
                Err(QueueError::UnknownMessage(_)) if lost => return Ok(()),
                current => current?,
            };
            let key = keys::message(&id.queue, id.place);
            let sequence = id.place.sequence;
            let compares = vec![same(key.clone(), current.record.modified)];
            let ops = [key, keys::body(&id.queue, sequence), keys::hidden(&id.queue, sequence)];
            match self.commit(compares, ops.map(Op::Delete).to_vec()).await? {
                Done::Yes(_) => {
                    self.made_room();
                    return Ok(());
                }
                Done::No => {}
                Done::Perhaps => lost = true,
            }
        }
        Err(QueueError::Contended)
    }

    /// Gives a message back: it can be taken again, after a delay if one is given. Where that was its
    /// last delivery it is a dead letter.
    pub async fn nak(
        &self,
        id: &str,
        delivery: Option<u32>,
        delay: Option<Duration>,
        why: Option<&str>,
        by: &By<'_>,
    ) -> Result<(), QueueError> {
        delay.map_or(Ok(()), error::check_time)?;
        let id: MessageId = id.parse()?;
        let settings = self.settings(&id.queue).await?;
        let sequence = id.place.sequence;
        let key = keys::message(&id.queue, id.place);
        let hidden = keys::hidden(&id.queue, sequence);
        let mut touched: Vec<u64> = Vec::new();
        for _ in 0..limits::QUEUE_TRIES_ATTEMPTS {
            if self.was_touched(&id, &touched).await? {
                return Ok(());
            }
            let current = self.current(&id, delivery).await.map_err(|error| after_lost(error, &touched))?;
            let Some(marker) = in_flight(&current) else {
                return Err(after_lost(QueueError::NotInFlight, &touched));
            };
            let record = &current.record.value;
            let is_last = record.tries >= settings.max_deliveries;
            let fact = Fact::new(if is_last { What::Dead } else { What::Returned }, by, why);
            let touch = fact.touch;
            let value = record::bytes(&Record { last: fact, ..record.clone() });
            let mut ops = match is_last {
                true => {
                    let dead = keys::dead(&id.queue, sequence);
                    vec![Op::Delete(key.clone()), Op::Put { key: dead, value, lease: None }]
                }
                false => vec![Op::Put { key: key.clone(), value, lease: None }],
            };
            let mut lease = None;
            ops.push(match delay.filter(|_| !is_last) {
                None => Op::Delete(hidden.clone()),
                Some(delay) => {
                    let lasting = self.here.leases.lasting(delay).await?;
                    lease = Some(lasting);
                    let value = record::bytes(&Marker { delivery: None, touch });
                    Op::Put { key: hidden.clone(), value, lease: Some(lasting.id) }
                }
            });
            let compares =
                vec![same(key.clone(), current.record.modified), same(hidden.clone(), marker.modified)];
            match (self.commit(compares, ops).await, lease) {
                (Ok(Done::Yes(_)), _) => return Ok(()),
                (Ok(Done::No), _) => {}
                (Ok(Done::Perhaps), _) => touched.push(touch),
                (Err(StoreError::LeaseEnded), Some(lease)) => self.here.leases.forget(&lease),
                (Err(error), _) => return Err(error.into()),
            }
        }
        Err(QueueError::Contended)
    }

    /// Keeps a message for so long from now on.
    pub async fn extend(
        &self,
        id: &str,
        delivery: Option<u32>,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        error::check_time(visibility)?;
        let id: MessageId = id.parse()?;
        let hidden = keys::hidden(&id.queue, id.place.sequence);
        for _ in 0..limits::QUEUE_TRIES_ATTEMPTS {
            let current = self.current(&id, delivery).await?;
            let marker = in_flight(&current).ok_or(QueueError::NotInFlight)?;
            let lease = self.here.leases.lasting(visibility).await?;
            let message = keys::message(&id.queue, id.place);
            let value = record::bytes(&Marker { touch: record::fresh(), ..marker.value });
            let compares: Vec<Compare> =
                vec![same(message, current.record.modified), same(hidden.clone(), marker.modified)];
            let ops = vec![Op::Put { key: hidden.clone(), value, lease: Some(lease.id) }];
            match self.commit(compares, ops).await {
                Ok(Done::Yes(_)) => match self.here.leases.confirm(&lease).await {
                    Err(StoreError::LeaseEnded) => {}
                    confirmed => return Ok(confirmed?),
                },
                // To be kept once more harms nobody.
                Ok(Done::No | Done::Perhaps) => {}
                Err(StoreError::LeaseEnded) => self.here.leases.forget(&lease),
                Err(error) => return Err(error.into()),
            }
        }
        Err(QueueError::Contended)
    }

    /// The message, if it is there and this delivery is its newest.
    async fn current(&self, id: &MessageId, delivery: Option<u32>) -> Result<Current, QueueError> {
        let unknown = || QueueError::unknown_message(&id.to_string());
        // In this order: who takes the message between changes the message as well.
        let (marker, _) = self.one::<Marker>(keys::hidden(&id.queue, id.place.sequence)).await?;
        let (record, _) = self.one::<Record>(keys::message(&id.queue, id.place)).await?;
        let record = record.filter(|record| record.value.nonce == id.nonce).ok_or_else(unknown)?;
        match delivery {
            Some(given) if given != record.value.deliveries => {
                Err(QueueError::Stale { given, newest: record.value.deliveries })
            }
            _ => Ok(Current { record, marker }),
        }
    }

    /// Whether one of these changes, whose answers were lost, is what happened to the message last.
    async fn was_touched(&self, id: &MessageId, touched: &[u64]) -> Result<bool, QueueError> {
        if touched.is_empty() {
            return Ok(false);
        }
        for key in [keys::message(&id.queue, id.place), keys::dead(&id.queue, id.place.sequence)] {
            let (record, _) = self.one::<Record>(key).await?;
            if record.is_some_and(|record| touched.contains(&record.value.last.touch)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What hides a message for whoever works on it.
fn in_flight(current: &Current) -> Option<&Read<Marker>> {
    current.marker.as_ref().filter(|marker| marker.value.delivery == Some(current.record.value.deliveries))
}

/// Once an answer was lost, a refusal may be of our own making.
fn after_lost(error: QueueError, touched: &[u64]) -> QueueError {
    match touched.is_empty() {
        true => error,
        false => StoreError::Unknown(error.to_string()).into(),
    }
}
