//! Dequeues messages: the first available ones, in order of delivery.

use std::collections::HashMap;
use std::time::Duration;

use crate::json;
use crate::limits;
use crate::queues::keys::{self, MessageId, MessagePosition};
use crate::queues::leases::SharedLease;
use crate::queues::record::{self, EventKind, LastEvent, Meta, Record, Versioned, VisibilityMarker};
use crate::queues::{
    Actor, Delivery, DequeueOptions, QueueError, Queues, Settings, check_name, unmodified_since, validation,
};
use crate::store::commit::CommitOutcome;
use crate::store::{Compare, Entry, Op, Revision, StoreError};

/// Attempts to read a consistent state from the present, before a past revision is read.
const CONSISTENT_READ_ATTEMPTS: usize = 8;

/// A message that is available.
pub(super) struct Available {
    pub(super) position: MessagePosition,
    pub(super) record: Versioned<Record>,
}

/// The hidden messages of a queue.
#[derive(Default)]
pub(super) struct HiddenMessages {
    pub(super) markers: HashMap<u64, VisibilityMarker>,
    pub(super) delayed: usize,
    pub(super) in_flight: usize,
    /// The revision of the first page.
    pub(super) since: Revision,
}

/// The first available messages.
struct ScanResult {
    available: Vec<Available>,
    in_flight: usize,
    since: Revision,
    until: Revision,
}

impl Queues {
    /// Dequeues the first available messages; empty if there are none.
    pub async fn dequeue(
        &self,
        queue: &str,
        options: DequeueOptions,
        actor: &Actor<'_>,
    ) -> Result<Vec<Delivery>, QueueError> {
        Ok(self.try_dequeue(queue, options, actor).await?.0)
    }

    /// Dequeues messages; also returns the revision of the read, from which a caller can watch for
    /// news.
    pub(super) async fn try_dequeue(
        &self,
        queue: &str,
        options: DequeueOptions,
        actor: &Actor<'_>,
    ) -> Result<(Vec<Delivery>, Revision), QueueError> {
        check_name(queue)?;
        actor.check()?;
        validation::check_batch_size(options.max)?;
        options.visibility.map_or(Ok(()), validation::check_duration)?;
        let _guard = self.lock_queue(queue).await;
        let (mut lost, mut at) = (0, None);
        while lost < limits::QUEUE_TXN_ATTEMPTS {
            let scan = match self.scan(queue, options.max, at).await {
                Err(QueueError::Store(StoreError::Compacted(_))) if at.is_some() => {
                    (lost, at) = (lost + 1, None);
                    continue;
                }
                scan => scan?,
            };
            if scan.available.is_empty() {
                if scan.since == scan.until {
                    return Ok((Vec::new(), scan.since));
                }
                // The pages were of different revisions, and a message may have been available at one
                // of them. Reading a past revision costs more.
                lost += 1;
                at = (lost >= CONSISTENT_READ_ATTEMPTS).then_some(scan.until);
                continue;
            }
            let settings = self.settings(queue).await?;
            let (exhausted, fit): (Vec<_>, Vec<_>) = scan
                .available
                .into_iter()
                .partition(|available| available.record.value.tries >= settings.max_deliveries);
            if !exhausted.is_empty() {
                lost += usize::from(!self.move_to_dead_letters(queue, &exhausted, actor).await?);
                continue;
            }
            let room = limits::QUEUE_FLIGHT_MESSAGES.saturating_sub(scan.in_flight);
            if room == 0 {
                return Err(QueueError::TooManyInFlight);
            }
            let visibility = options.visibility.unwrap_or(Duration::from_millis(settings.visibility_ms));
            let delivered = self.mark_delivered(queue, &fit_limits(fit, room), visibility, actor).await?;
            if !delivered.is_empty() {
                return Ok((delivered, scan.since));
            }
            lost += 1;
        }
        Err(QueueError::Contended)
    }

    pub(super) async fn settings(&self, queue: &str) -> Result<Settings, QueueError> {
        let (meta, _) = self.read_key::<Meta>(keys::meta(queue)).await?;
        Ok(meta.map(|meta| meta.value.settings).unwrap_or_default())
    }

    /// Finds the first available messages. Reads only the small keys, and only as many as are hidden
    /// and requested.
    async fn scan(&self, queue: &str, max: usize, at: Option<Revision>) -> Result<ScanResult, QueueError> {
        let hidden = self.read_hidden(queue, at).await?;
        let (prefix, mut after, mut available) = (keys::messages(queue), None, Vec::new());
        let limit = (hidden.markers.len() + max).min(limits::STORE_PAGE_ENTRIES);
        loop {
            let page = self.page(&prefix, after.take(), at, limit).await?;
            for entry in &page.entries {
                let position = keys::position_of(&entry.key);
                let position = position.ok_or_else(|| QueueError::Damaged(entry.key.clone()))?;
                if available.len() < max && !hidden.markers.contains_key(&position.sequence) {
                    available.push(Available { position, record: record::decode(entry)? });
                }
            }
            if available.len() >= max || !page.more {
                return Ok(ScanResult {
                    available,
                    in_flight: hidden.in_flight,
                    since: hidden.since,
                    until: page.revision,
                });
            }
            after = page.entries.last().map(|entry| entry.key.clone());
        }
    }

    /// Reads the hidden messages of a queue.
    pub(super) async fn read_hidden(
        &self,
        queue: &str,
        at: Option<Revision>,
    ) -> Result<HiddenMessages, QueueError> {
        let mut hidden = HiddenMessages::default();
        let prefix = keys::hidden_all(queue);
        let read = self.for_each::<VisibilityMarker>(&prefix, at, |key, marker| {
            let Some(sequence) = keys::sequence_of(key) else { return };
            match marker.value.delivery {
                Some(_) => hidden.in_flight += 1,
                None => hidden.delayed += 1,
            }
            hidden.markers.insert(sequence, marker.value);
        });
        let since = read.await?;
        Ok(HiddenMessages { since, ..hidden })
    }

    /// Marks these messages as delivered, all of them or none.
    async fn mark_delivered(
        &self,
        queue: &str,
        available: &[Available],
        visibility: Duration,
        actor: &Actor<'_>,
    ) -> Result<Vec<Delivery>, QueueError> {
        let lease = self.local.leases.acquire(visibility).await?;
        let event = LastEvent::new(EventKind::Delivered, actor, None);
        let (mut compares, mut ops) = (Vec::new(), Vec::new());
        for Available { position, record } in available {
            let (key, marker) = (keys::message(queue, *position), keys::hidden(queue, position.sequence));
            let after = after_delivery(&record.value, &event);
            let value = json::encode(&VisibilityMarker {
                delivery: Some(after.deliveries),
                by: actor.identity(),
                touch: event.touch,
            });
            compares
                .extend([unmodified_since(key.clone(), record.modified), Compare::Absent(marker.clone())]);
            ops.push(Op::Put { key, value: json::encode(&after), lease: None });
            ops.push(Op::Put { key: marker, value, lease: Some(lease.id) });
            ops.push(Op::Get(keys::body(queue, position.sequence)));
        }
        let delivered = match self.commit(compares, ops).await {
            Ok(CommitOutcome::Applied(outcome)) => available.iter().zip(outcome.got).collect(),
            Ok(CommitOutcome::Conflict) => return Ok(Vec::new()),
            Ok(CommitOutcome::Unknown) => self.delivered_despite_loss(queue, available, event.touch).await?,
            Err(StoreError::LeaseEnded) => {
                self.local.leases.forget(&lease);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        match self.local.leases.confirm(&lease).await {
            // The commit took too long: other consumers may have them by now.
            Err(StoreError::LeaseEnded) => return Ok(Vec::new()),
            confirmed => confirmed?,
        }
        let deliveries = delivered.into_iter();
        Ok(deliveries
            .filter_map(|(available, body)| delivery(queue, available, body, &event, &lease))
            .collect())
    }

    /// The messages that the commit identified by `touch` delivered although its response was lost,
    /// with their payloads.
    async fn delivered_despite_loss<'a>(
        &self,
        queue: &str,
        available: &'a [Available],
        touch: u64,
    ) -> Result<Vec<(&'a Available, Option<Entry>)>, QueueError> {
        let mut delivered = Vec::new();
        for one in available {
            let (marker, _) =
                self.read_key::<VisibilityMarker>(keys::hidden(queue, one.position.sequence)).await?;
            if marker.is_some_and(|marker| marker.value.touch == touch) {
                delivered.push((one, self.get(keys::body(queue, one.position.sequence)).await?.0));
            }
        }
        Ok(delivered)
    }
}

/// The record after one more delivery.
fn after_delivery(record: &Record, event: &LastEvent) -> Record {
    Record {
        deliveries: record.deliveries.saturating_add(1),
        tries: record.tries.saturating_add(1),
        last: event.clone(),
        ..record.clone()
    }
}

/// The longest prefix that fits the limits of in-flight messages and batch bytes, at least one message.
fn fit_limits(mut available: Vec<Available>, room: usize) -> Vec<Available> {
    let mut bytes = 0;
    let fits = |available: &&Available| {
        bytes += available.record.value.bytes;
        bytes <= limits::QUEUE_BATCH_BYTES
    };
    let count = available.iter().take(room).take_while(fits).count();
    available.truncate(count.max(1));
    available
}

/// A delivered message; `None` if its payload is lost.
fn delivery(
    queue: &str,
    available: &Available,
    body: Option<Entry>,
    event: &LastEvent,
    lease: &SharedLease,
) -> Option<Delivery> {
    let position = available.position;
    let Some(body) = body else {
        tracing::error!(queue, sequence = position.sequence, "the store has lost a message's payload");
        return None;
    };
    let record = after_delivery(&available.record.value, event);
    let id = MessageId { queue: queue.to_owned(), position, nonce: record.nonce };
    Some(Delivery {
        id: id.to_string(),
        body: body.value,
        delivery: record.deliveries,
        priority: position.priority,
        by: record.by,
        client: record.client,
        enqueued_ns: record.at_ns,
        delivered_ns: event.at_ns,
        visibility_ms: lease.duration_ms(),
    })
}
