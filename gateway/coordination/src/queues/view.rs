//! Queues to look at: nothing here changes them.

use std::time::Instant;

use bytes::Bytes;
use roverline_protocol::limits;
use serde::de::DeserializeOwned;

use crate::queues::keys::{self, MessageId, Place};
use crate::queues::record::{self, Meta, Read, Record};
use crate::queues::stats::{self, Count};
use crate::queues::{QueueError, Queues, Settings, error};
use crate::store::Revision;

/// How often it is tried to count all at one moment.
const MOMENTS: usize = 3;
/// So many queues are each counted as they are now; of more it is told how they were of late.
const FEW: usize = 8;
/// Records that are read at a stretch.
const SLICE: usize = 128;

/// A queue as it was at one moment, or nearly, where it changes all the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Messages that can be taken now.
    pub ready: usize,
    /// Messages that are delivered and not acknowledged.
    pub in_flight: usize,
    /// Messages that can be taken later.
    pub delayed: usize,
    /// Messages that nobody could deal with.
    pub dead: usize,
    /// Messages there ever were.
    pub enqueued: u64,
    /// When the first message that is still there was put into it, Unix nanoseconds.
    pub oldest_ns: Option<u64>,
    /// How it deals with its messages.
    pub settings: Settings,
}

/// A message that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub id: String,
    /// What it says.
    pub body: Bytes,
    /// Its priority.
    pub priority: u8,
    /// How often it was delivered.
    pub deliveries: u32,
    /// Who put it into the queue.
    pub by: String,
    /// When, Unix nanoseconds.
    pub enqueued_ns: u64,
    /// Whether it can be taken now.
    pub ready: bool,
}

/// A message that nobody could deal with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it stands among them; asking for those after it goes on from here.
    pub sequence: u64,
    /// The message.
    pub message: Listed,
    /// Why it is here.
    pub why: Option<String>,
    /// Since when, Unix nanoseconds.
    pub dead_ns: u64,
    /// By whose doing.
    pub dead_by: String,
}

impl Queues {
    /// One queue.
    pub async fn view(&self, queue: &str) -> Result<QueueView, QueueError> {
        self.view_at(queue, false).await
    }

    /// Several, each as it was of late: whoever asks for many gets them at little cost.
    pub async fn views(&self, queues: &[String]) -> Result<Vec<QueueView>, QueueError> {
        let lately = queues.len() > FEW;
        let mut views = Vec::with_capacity(queues.len());
        for queue in queues {
            views.push(self.view_at(queue, lately).await?);
        }
        Ok(views)
    }

    /// Counts a queue, or takes what was counted for somebody else: since this was asked, or, where
    /// there is much to count or `lately` is enough, of late.
    async fn view_at(&self, queue: &str, lately: bool) -> Result<QueueView, QueueError> {
        let asked = Instant::now();
        let meta = self.known_queue(queue).await?;
        let turn = self.here.counts.turn(queue);
        let mut last = turn.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.stands(asked, lately)) {
            return Ok(last.view.clone());
        }
        let begun = Instant::now();
        let mut moments = 1..=MOMENTS;
        loop {
            let (view, one_moment) = self.counted(queue, &meta).await?;
            // To count many once more would take long, and they change meanwhile.
            if one_moment || stats::is_much(&view) || moments.next().is_none() {
                *last = Some(Count { view: view.clone(), begun });
                return Ok(view);
            }
        }
    }

    /// The names of all queues.
    pub async fn names(&self) -> Result<Vec<String>, QueueError> {
        let mut names = Vec::new();
        self.each::<Meta>(keys::QUEUES, None, |key, _| {
            names.extend(key.strip_prefix(keys::QUEUES).map(str::to_owned));
        })
        .await?;
        Ok(names)
    }

    /// The first messages of a queue, in the order of delivery, also those that somebody has.
    pub async fn peek(&self, queue: &str, most: usize) -> Result<Vec<Listed>, QueueError> {
        self.known_queue(queue).await?;
        error::check_most(most)?;
        let hidden = self.hidden(queue, None).await?;
        let page = self.page(&keys::messages(queue), None, None, most).await?;
        let (mut listed, mut bytes) = (Vec::new(), 0);
        for entry in &page.entries {
            let place = keys::place_of(&entry.key).ok_or_else(|| QueueError::Damaged(entry.key.clone()))?;
            let record = record::read::<Record>(entry)?.value;
            bytes += record.bytes;
            if bytes > limits::QUEUE_BATCH_BYTES && !listed.is_empty() {
                break;
            }
            let ready = !hidden.markers.contains_key(&place.sequence);
            listed.extend(self.listed(queue, place, &record, ready).await?);
        }
        Ok(listed)
    }

    /// Dead letters, the oldest first, behind this one.
    pub async fn dead(&self, queue: &str, after: u64, most: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.known_queue(queue).await?;
        error::check_most(most)?;
        let page = self.page(&keys::dead_all(queue), Some(keys::dead(queue, after)), None, most).await?;
        let (mut letters, mut bytes) = (Vec::new(), 0);
        for entry in &page.entries {
            let sequence =
                keys::sequence_of(&entry.key).ok_or_else(|| QueueError::Damaged(entry.key.clone()))?;
            let record = record::read::<Record>(entry)?.value;
            bytes += record.bytes;
            if bytes > limits::QUEUE_BATCH_BYTES && !letters.is_empty() {
                break;
            }
            let place = Place { priority: record.priority, sequence };
            if let Some(message) = self.listed(queue, place, &record, false).await? {
                let (why, dead_ns, dead_by) = (record.last.why, record.last.at_ns, record.last.by);
                letters.push(DeadLetter { sequence, message, why, dead_ns, dead_by });
            }
        }
        Ok(letters)
    }

    /// A message with its payload; none, if it was done with meanwhile.
    async fn listed(
        &self,
        queue: &str,
        place: Place,
        record: &Record,
        ready: bool,
    ) -> Result<Option<Listed>, QueueError> {
        let (body, _) = self.entry(keys::body(queue, place.sequence)).await?;
        let id = MessageId { queue: queue.to_owned(), place, nonce: record.nonce };
        Ok(body.map(|body| Listed {
            id: id.to_string(),
            body: body.value,
            priority: record.priority,
            deliveries: record.deliveries,
            by: record.by.clone(),
            enqueued_ns: record.at_ns,
            ready,
        }))
    }

    /// A queue, and whether that was all at one moment.
    async fn counted(&self, queue: &str, meta: &Meta) -> Result<(QueueView, bool), QueueError> {
        let hidden = self.hidden(queue, None).await?;
        let (mut messages, mut dead, mut oldest_ns) = (0_usize, 0, None::<u64>);
        self.each::<Record>(&keys::messages(queue), None, |_, record| {
            messages += 1;
            let put_ns = record.value.at_ns;
            oldest_ns = Some(oldest_ns.map_or(put_ns, |oldest_ns| oldest_ns.min(put_ns)));
        })
        .await?;
        self.each::<Record>(&keys::dead_all(queue), None, |_, _| dead += 1).await?;
        let (_, until) = self.entry(keys::meta(queue)).await?;
        let view = QueueView {
            name: queue.to_owned(),
            ready: messages.saturating_sub(hidden.markers.len()),
            in_flight: hidden.flight,
            delayed: hidden.delayed,
            dead,
            enqueued: meta.next.saturating_sub(1),
            oldest_ns,
            settings: meta.settings,
        };
        Ok((view, hidden.since == until))
    }

    /// Everything under a prefix, page by page. Returns when the first page was read.
    pub(super) async fn each<T: DeserializeOwned>(
        &self,
        prefix: &str,
        at: Option<Revision>,
        mut with: impl FnMut(&str, Read<T>),
    ) -> Result<Revision, QueueError> {
        let (mut after, mut since) = (None, None);
        loop {
            let page = self.page(prefix, after.take(), at, limits::STORE_PAGE_ENTRIES).await?;
            for slice in page.entries.chunks(SLICE) {
                for entry in slice {
                    with(&entry.key, record::read(entry)?);
                }
                // Whatever else this thread does gets its turn.
                tokio::task::yield_now().await;
            }
            let since = *since.get_or_insert(page.revision);
            if !page.more {
                return Ok(since);
            }
            after = page.entries.last().map(|entry| entry.key.clone());
        }
    }
}
