//! Taking messages: the first that nobody has, in order.

use std::collections::HashMap;
use std::time::Duration;

use roverline_protocol::limits;

use crate::queues::commit::Done;
use crate::queues::keys::{self, MessageId, Place};
use crate::queues::record::{self, Fact, Marker, Meta, Read, Record, What};
use crate::queues::{By, Delivery, QueueError, Queues, Settings, Take, check_name, error, same};
use crate::store::{Compare, Entry, Op, Revision, StoreError};

/// How often it is tried to read all at one moment, before the past is read.
const MOMENTS: usize = 8;

/// A message that can be taken.
pub(super) struct Free {
    pub(super) place: Place,
    pub(super) record: Read<Record>,
}

/// What cannot be taken now.
#[derive(Default)]
pub(super) struct Hidden {
    pub(super) markers: HashMap<u64, Marker>,
    pub(super) delayed: usize,
    pub(super) flight: usize,
    /// When the first of it was read.
    pub(super) since: Revision,
}

/// The first messages that can be taken.
struct Found {
    free: Vec<Free>,
    flight: usize,
    since: Revision,
    until: Revision,
}

impl Queues {
    /// Takes messages, the first ones that nobody has; none, if there are none.
    pub async fn dequeue(&self, queue: &str, take: Take, by: &By<'_>) -> Result<Vec<Delivery>, QueueError> {
        Ok(self.attempt(queue, take, by).await?.0)
    }

    /// Takes messages, or says since when there were none.
    pub(super) async fn attempt(
        &self,
        queue: &str,
        take: Take,
        by: &By<'_>,
    ) -> Result<(Vec<Delivery>, Revision), QueueError> {
        check_name(queue)?;
        error::check_most(take.most)?;
        take.visibility.map_or(Ok(()), error::check_time)?;
        let _turn = self.turn(queue).await;
        let (mut lost, mut at) = (0, None);
        while lost < limits::QUEUE_TRIES_ATTEMPTS {
            let found = match self.find(queue, take.most, at).await {
                Err(QueueError::Store(StoreError::Compacted(_))) if at.is_some() => {
                    (lost, at) = (lost + 1, None);
                    continue;
                }
                found => found?,
            };
            if found.free.is_empty() {
                if found.since == found.until {
                    return Ok((Vec::new(), found.since));
                }
                // What was read was not all of one moment, in which there may have been one. To read the
                // past costs more.
                lost += 1;
                at = (lost >= MOMENTS).then_some(found.until);
                continue;
            }
            let settings = self.settings(queue).await?;
            let (worn, fit): (Vec<_>, Vec<_>) =
                found.free.into_iter().partition(|free| free.record.value.tries >= settings.max_deliveries);
            if !worn.is_empty() {
                lost += usize::from(!self.bury(queue, &worn, by).await?);
                continue;
            }
            let room = limits::QUEUE_FLIGHT_MESSAGES.saturating_sub(found.flight);
            if room == 0 {
                return Err(QueueError::Flight);
            }
            let visibility = take.visibility.unwrap_or(Duration::from_millis(settings.visibility_ms));
            let taken = self.take(queue, &within(fit, room), visibility, by).await?;
            if !taken.is_empty() {
                return Ok((taken, found.since));
            }
            lost += 1;
        }
        Err(QueueError::Contended)
    }

    pub(super) async fn settings(&self, queue: &str) -> Result<Settings, QueueError> {
        let (meta, _) = self.one::<Meta>(keys::meta(queue)).await?;
        Ok(meta.map(|meta| meta.value.settings).unwrap_or_default())
    }

    /// The first messages that nobody has; nothing but the small keys is read, and of these as many
    /// as are hidden and wanted.
    async fn find(&self, queue: &str, most: usize, at: Option<Revision>) -> Result<Found, QueueError> {
        let hidden = self.hidden(queue, at).await?;
        let (prefix, mut after, mut free) = (keys::messages(queue), None, Vec::new());
        let limit = (hidden.markers.len() + most).min(limits::STORE_PAGE_ENTRIES);
        loop {
            let page = self.page(&prefix, after.take(), at, limit).await?;
            for entry in &page.entries {
                let place = keys::place_of(&entry.key);
                let place = place.ok_or_else(|| QueueError::Damaged(entry.key.clone()))?;
                if free.len() < most && !hidden.markers.contains_key(&place.sequence) {
                    free.push(Free { place, record: record::read(entry)? });
                }
            }
            if free.len() >= most || !page.more {
                return Ok(Found { free, flight: hidden.flight, since: hidden.since, until: page.revision });
            }
            after = page.entries.last().map(|entry| entry.key.clone());
        }
    }

    /// What cannot be taken now.
    pub(super) async fn hidden(&self, queue: &str, at: Option<Revision>) -> Result<Hidden, QueueError> {
        let mut hidden = Hidden::default();
        let prefix = keys::hidden_all(queue);
        let read = self.each::<Marker>(&prefix, at, |key, marker| {
            let Some(sequence) = keys::sequence_of(key) else { return };
            hidden.markers.insert(sequence, marker.value);
            match marker.value.delivery {
                Some(_) => hidden.flight += 1,
                None => hidden.delayed += 1,
            }
        });
        let since = read.await?;
        Ok(Hidden { since, ..hidden })
    }

    /// Takes these messages, all of them or none.
    async fn take(
        &self,
        queue: &str,
        free: &[Free],
        visibility: Duration,
        by: &By<'_>,
    ) -> Result<Vec<Delivery>, QueueError> {
        let lease = self.here.leases.lasting(visibility).await?;
        let fact = Fact::new(What::Delivered, by, None);
        let (mut compares, mut ops) = (Vec::new(), Vec::new());
        for Free { place, record } in free {
            let (key, marker) = (keys::message(queue, *place), keys::hidden(queue, place.sequence));
            let after = delivered(&record.value, &fact);
            let value = record::bytes(&Marker { delivery: Some(after.deliveries), touch: fact.touch });
            compares.extend([same(key.clone(), record.modified), Compare::Absent(marker.clone())]);
            ops.push(Op::Put { key, value: record::bytes(&after), lease: None });
            ops.push(Op::Put { key: marker, value, lease: Some(lease.id) });
            ops.push(Op::Get(keys::body(queue, place.sequence)));
        }
        let taken = match self.commit(compares, ops).await {
            Ok(Done::Yes(outcome)) => free.iter().zip(outcome.got).collect(),
            Ok(Done::No) => return Ok(Vec::new()),
            Ok(Done::Perhaps) => self.taken(queue, free, fact.touch).await?,
            Err(StoreError::LeaseEnded) => {
                self.here.leases.forget(&lease);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        match self.here.leases.confirm(&lease).await {
            // It took too long: others may have them by now.
            Err(StoreError::LeaseEnded) => return Ok(Vec::new()),
            confirmed => confirmed?,
        }
        let delivery = |(free, body): (&Free, Option<Entry>)| {
            let record = delivered(&free.record.value, &fact);
            let Some(body) = body else {
                tracing::error!(
                    queue,
                    sequence = free.place.sequence,
                    "the store has lost a message's payload"
                );
                return None;
            };
            let id = MessageId { queue: queue.to_owned(), place: free.place, nonce: record.nonce };
            Some(Delivery {
                id: id.to_string(),
                body: body.value,
                delivery: record.deliveries,
                priority: free.place.priority,
                by: record.by,
                enqueued_ns: record.at_ns,
                delivered_ns: fact.at_ns,
                visibility_ms: lease.time_ms(),
            })
        };
        Ok(taken.into_iter().filter_map(delivery).collect())
    }

    /// Which of these messages were taken by the change that is known by `touch`, though its answer
    /// was lost; and their payloads.
    async fn taken<'a>(
        &self,
        queue: &str,
        free: &'a [Free],
        touch: u64,
    ) -> Result<Vec<(&'a Free, Option<Entry>)>, QueueError> {
        let mut taken = Vec::new();
        for one in free {
            let (marker, _) = self.one::<Marker>(keys::hidden(queue, one.place.sequence)).await?;
            if marker.is_some_and(|marker| marker.value.touch == touch) {
                taken.push((one, self.entry(keys::body(queue, one.place.sequence)).await?.0));
            }
        }
        Ok(taken)
    }
}

/// The message once it was delivered once more.
fn delivered(record: &Record, fact: &Fact) -> Record {
    Record {
        deliveries: record.deliveries.saturating_add(1),
        tries: record.tries.saturating_add(1),
        last: fact.clone(),
        ..record.clone()
    }
}

/// As many of the first as there is room for, in number and bytes.
fn within(mut free: Vec<Free>, room: usize) -> Vec<Free> {
    let mut bytes = 0;
    let fits = |free: &&Free| {
        bytes += free.record.value.bytes;
        bytes <= limits::QUEUE_BATCH_BYTES
    };
    let count = free.iter().take(room).take_while(fits).count();
    free.truncate(count.max(1));
    free
}
