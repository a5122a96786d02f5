//! Read-only views of queues, messages and dead letters.

use std::time::Instant;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::limits;
use crate::queues::keys::{self, MessageId, MessagePosition};
use crate::queues::record::{self, Meta, Record, Versioned};
use crate::queues::stats::{self, CachedStats, QueueView};
use crate::queues::{QueueError, Queues, validation};
use crate::store::Revision;
use crate::store::scan::Pages;

/// Attempts to count a queue at a single revision.
const CONSISTENT_READ_ATTEMPTS: usize = 3;
/// Up to this many queues are counted afresh; for more, recent statistics are enough.
const MAX_FRESH_COUNTS: usize = 8;
/// Records parsed before yielding to other tasks.
const YIELD_INTERVAL_ENTRIES: usize = 128;

/// A message in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSummary {
    /// The message id.
    pub id: String,
    /// The payload.
    pub body: Bytes,
    /// The priority.
    pub priority: u8,
    /// The number of deliveries.
    pub deliveries: u32,
    /// The producer's identity.
    pub by: String,
    /// The unverified name that the producer declares.
    pub client: Option<String>,
    /// When it was enqueued, nanoseconds since the Unix epoch.
    pub enqueued_ns: u64,
    /// Whether it is available now.
    pub ready: bool,
}

/// A message that could not be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The sequence number; listing continues after it.
    pub sequence: u64,
    /// The message.
    pub message: MessageSummary,
    /// The reason, if one was given.
    pub why: Option<String>,
    /// When it became a dead letter, nanoseconds since the Unix epoch.
    pub dead_ns: u64,
    /// The identity that made it a dead letter.
    pub dead_by: String,
    /// The unverified name that its client declares.
    pub dead_by_client: Option<String>,
}

impl Queues {
    /// The statistics of one queue.
    pub async fn view(&self, queue: &str) -> Result<QueueView, QueueError> {
        self.view_at(queue, false).await
    }

    /// The statistics of several queues; many queues are answered from recent counts to limit the cost.
    pub async fn views(&self, queues: &[String]) -> Result<Vec<QueueView>, QueueError> {
        let recent_is_enough = queues.len() > MAX_FRESH_COUNTS;
        let mut views = Vec::with_capacity(queues.len());
        for queue in queues {
            views.push(self.view_at(queue, recent_is_enough).await?);
        }
        Ok(views)
    }

    /// Counts a queue, or reuses a concurrent count; a slightly older count is enough for a large queue
    /// or with `recent_is_enough`.
    async fn view_at(&self, queue: &str, recent_is_enough: bool) -> Result<QueueView, QueueError> {
        let requested = Instant::now();
        let meta = self.existing_meta(queue).await?;
        let entry = self.local.stats.entry(queue);
        let mut last = entry.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.is_current(requested, recent_is_enough)) {
            return Ok(last.view.clone());
        }
        let started = Instant::now();
        let mut attempts = 1..=CONSISTENT_READ_ATTEMPTS;
        loop {
            let (view, is_consistent) = self.count_messages(queue, &meta).await?;
            // Recounting a large queue would take long, and it changes meanwhile.
            if is_consistent || stats::is_large(&view) || attempts.next().is_none() {
                *last = Some(CachedStats { view: view.clone(), started });
                return Ok(view);
            }
        }
    }

    /// The names of all queues.
    pub async fn names(&self) -> Result<Vec<String>, QueueError> {
        let mut names = Vec::new();
        self.for_each::<Meta>(keys::QUEUES, None, |key, _| {
            names.extend(key.strip_prefix(keys::QUEUES).map(str::to_owned));
        })
        .await?;
        Ok(names)
    }

    /// The first messages of a queue in order of delivery, including those in flight.
    pub async fn peek(&self, queue: &str, max: usize) -> Result<Vec<MessageSummary>, QueueError> {
        self.existing_meta(queue).await?;
        validation::check_batch_size(max)?;
        let hidden = self.read_hidden(queue, None).await?;
        let page = self.page(&keys::messages(queue), None, None, max).await?;
        let (mut summaries, mut bytes) = (Vec::new(), 0);
        for entry in &page.entries {
            let position =
                keys::position_of(&entry.key).ok_or_else(|| QueueError::Damaged(entry.key.clone()))?;
            let record = record::decode::<Record>(entry)?.value;
            bytes += record.bytes;
            if bytes > limits::QUEUE_BATCH_BYTES && !summaries.is_empty() {
                break;
            }
            let ready = !hidden.markers.contains_key(&position.sequence);
            summaries.extend(self.summarize(queue, position, &record, ready).await?);
        }
        Ok(summaries)
    }

    /// Dead letters after this sequence number, oldest first.
    pub async fn dead_letters(
        &self,
        queue: &str,
        after: u64,
        max: usize,
    ) -> Result<Vec<DeadLetter>, QueueError> {
        self.existing_meta(queue).await?;
        validation::check_batch_size(max)?;
        let page = self.page(&keys::dead_all(queue), Some(keys::dead(queue, after)), None, max).await?;
        let (mut letters, mut bytes) = (Vec::new(), 0);
        for entry in &page.entries {
            let sequence =
                keys::sequence_of(&entry.key).ok_or_else(|| QueueError::Damaged(entry.key.clone()))?;
            let record = record::decode::<Record>(entry)?.value;
            bytes += record.bytes;
            if bytes > limits::QUEUE_BATCH_BYTES && !letters.is_empty() {
                break;
            }
            let position = MessagePosition { priority: record.priority, sequence };
            if let Some(message) = self.summarize(queue, position, &record, false).await? {
                let last = record.last;
                letters.push(DeadLetter {
                    sequence,
                    message,
                    why: last.why,
                    dead_ns: last.at_ns,
                    dead_by: last.by,
                    dead_by_client: last.client,
                });
            }
        }
        Ok(letters)
    }

    /// A message with its payload; `None` if it was removed meanwhile.
    async fn summarize(
        &self,
        queue: &str,
        position: MessagePosition,
        record: &Record,
        ready: bool,
    ) -> Result<Option<MessageSummary>, QueueError> {
        let (body, _) = self.get(keys::body(queue, position.sequence)).await?;
        let id = MessageId { queue: queue.to_owned(), position, nonce: record.nonce };
        Ok(body.map(|body| MessageSummary {
            id: id.to_string(),
            body: body.value,
            priority: record.priority,
            deliveries: record.deliveries,
            by: record.by.clone(),
            client: record.client.clone(),
            enqueued_ns: record.at_ns,
            ready,
        }))
    }

    /// Counts a queue; also returns whether all reads were of one revision.
    async fn count_messages(&self, queue: &str, meta: &Meta) -> Result<(QueueView, bool), QueueError> {
        let hidden = self.read_hidden(queue, None).await?;
        let (mut messages, mut dead, mut oldest_ns) = (0_usize, 0, None::<u64>);
        self.for_each::<Record>(&keys::messages(queue), None, |_, record| {
            messages += 1;
            let put_ns = record.value.at_ns;
            oldest_ns = Some(oldest_ns.map_or(put_ns, |oldest_ns| oldest_ns.min(put_ns)));
        })
        .await?;
        self.for_each::<Record>(&keys::dead_all(queue), None, |_, _| dead += 1).await?;
        let (_, until) = self.get(keys::meta(queue)).await?;
        let view = QueueView {
            name: queue.to_owned(),
            ready: messages.saturating_sub(hidden.markers.len()),
            in_flight: hidden.in_flight,
            delayed: hidden.delayed,
            dead,
            enqueued: meta.next.saturating_sub(1),
            oldest_ns,
            settings: meta.settings,
        };
        Ok((view, hidden.since == until))
    }

    /// Visits every entry under a prefix, page by page; returns the revision of the first page.
    pub(super) async fn for_each<T: DeserializeOwned>(
        &self,
        prefix: &str,
        at: Option<Revision>,
        mut with: impl FnMut(&str, Versioned<T>),
    ) -> Result<Revision, QueueError> {
        let mut pages = Pages::unpinned(&*self.store, prefix, at);
        let mut since = None;
        while let Some(page) = pages.next().await? {
            for slice in page.entries.chunks(YIELD_INTERVAL_ENTRIES) {
                for entry in slice {
                    with(&entry.key, record::decode(entry)?);
                }
                // Let other tasks on this thread run.
                tokio::task::yield_now().await;
            }
            since.get_or_insert(page.revision);
        }
        Ok(since.unwrap_or_default())
    }
}
