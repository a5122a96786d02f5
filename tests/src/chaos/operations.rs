//! The recorded operations on queues, events and shared values.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use roverline_coordination::Client;
use roverline_coordination::commands::{Begun, JournalEntry, JournalError};
use roverline_coordination::events::{EventError, Expected, NewEvent, Query};
use roverline_coordination::kv::{Author, Expect, Item, KvError};
use roverline_coordination::queues::{Actor, DequeueOptions, Message, QueueError, Settings};
use roverline_coordination::store::StoreError;
use serde_json::json;

use super::journal::Outcome;
use super::store_clients::{StoreClients, number};

/// Visibility timeout of a message: short, so that messages are delivered again during the run.
const VISIBLE: Duration = Duration::from_millis(700);
/// Maximum deliveries of a message: low, so that some become dead letters.
const DELIVERIES: u32 = 3;

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |wall| wall.as_nanos() as u64)
}

fn by(who: &str) -> Actor<'_> {
    Actor { client: Client::of(who, who), now_ns }
}

/// A refusal without names, so that equal reasons are counted together.
fn refused(reason: &str) -> Outcome {
    Outcome::Refused { why: reason.to_owned() }
}

fn from_queue_error(error: QueueError) -> Result<Outcome, StoreError> {
    match error {
        QueueError::Store(error) => Err(error),
        QueueError::UnknownMessage(_) => Ok(refused("the message is done with, or dead")),
        QueueError::Stale { .. } => Ok(refused("the message was delivered again")),
        error => Ok(Outcome::Refused { why: error.to_string() }),
    }
}

fn from_event_error(error: EventError) -> Result<Outcome, StoreError> {
    match error {
        EventError::Store(error) => Err(error),
        error => Ok(Outcome::Refused { why: error.to_string() }),
    }
}

fn from_kv_error(error: KvError) -> Result<Outcome, StoreError> {
    match error {
        KvError::Store(error) => Err(error),
        error => Ok(Outcome::Refused { why: error.to_string() }),
    }
}

fn from_journal_error(error: JournalError) -> Result<Outcome, StoreError> {
    match error {
        JournalError::Store(error) => Err(error),
        error => Ok(Outcome::Refused { why: error.to_string() }),
    }
}

fn known(entry: &JournalEntry) -> Outcome {
    let by = entry.document["by"].as_str().unwrap_or_default().to_owned();
    Outcome::Known { by, finished: entry.finished }
}

fn shared(item: Option<&Item>) -> Outcome {
    let value = item.and_then(|item| number(&item.value));
    Outcome::Shared { value, modified: item.map_or(0, |item| item.modified.0) }
}

impl StoreClients {
    /// Configures a queue whose messages reach their delivery limit soon.
    pub(crate) async fn configure(&self, queue: &str) -> Result<(), String> {
        let settings = Settings { max_deliveries: DELIVERIES, visibility_ms: VISIBLE.as_millis() as u64 };
        self.queues.configure(queue, settings, &by("proof")).await.map_err(|error| error.to_string())
    }

    pub(crate) async fn enqueue(&self, queue: &str, client: &str, body: u64) -> Result<Outcome, StoreError> {
        let message = Message { body: Bytes::from(body.to_string()), ..Message::default() };
        match self.queues.enqueue(queue, &[message], &by(client)).await {
            Ok(accepted) => match accepted.into_iter().next() {
                Some(one) => Ok(Outcome::Queued { id: one.id }),
                None => Ok(refused("nothing was accepted")),
            },
            Err(error) => from_queue_error(error),
        }
    }

    pub(crate) async fn dequeue(&self, queue: &str, client: &str) -> Result<Outcome, StoreError> {
        match self.queues.dequeue(queue, DequeueOptions::default(), &by(client)).await {
            Ok(taken) => Ok(taken.into_iter().next().map_or(Outcome::Empty, |taken| Outcome::Delivered {
                body: number(&taken.body).unwrap_or_default(),
                id: taken.id,
                delivery: taken.delivery,
                visible_ms: taken.visibility_ms,
            })),
            Err(error) => from_queue_error(error),
        }
    }

    pub(crate) async fn ack(&self, id: &str, delivery: u32, client: &str) -> Result<Outcome, StoreError> {
        let result = self.queues.ack(id, Some(delivery), &by(client)).await;
        result.map_or_else(from_queue_error, |()| Ok(Outcome::Acked))
    }

    pub(crate) async fn nak(&self, id: &str, delivery: u32, client: &str) -> Result<Outcome, StoreError> {
        let result = self.queues.nak(id, Some(delivery), None, Some("not now"), &by(client)).await;
        result.map_or_else(from_queue_error, |()| Ok(Outcome::Returned))
    }

    pub(crate) async fn append(&self, stream: &str, id: &str) -> Result<Outcome, StoreError> {
        let event = NewEvent {
            stream: stream.to_owned(),
            kind: "proof.noted".to_owned(),
            id: Some(id.to_owned()),
            at_ns: now_ns().cast_signed(),
            ..NewEvent::default()
        };
        let result = self.events.append(event, Expected::Any).await;
        result.map_or_else(from_event_error, |at| Ok(Outcome::Appended { seq: at.seq }))
    }

    pub(crate) async fn share(&self, key: &str, value: u64, client: &str) -> Result<Outcome, StoreError> {
        let author = Author { by: Arc::from(client), client: None, at_ns: now_ns().cast_signed() };
        let value = Bytes::from(value.to_string());
        let result = self.cache.put(key, value, &Expect::Any, None, &author).await;
        result.map_or_else(from_kv_error, |item| Ok(shared(Some(&item))))
    }

    pub(crate) async fn begin(&self, id: &str, by: &str) -> Result<Outcome, StoreError> {
        match self.commands.begin(id, "same", json!({"by": by})).await {
            Ok(Begun::New) => Ok(Outcome::Begun),
            Ok(Begun::Known(entry)) => Ok(known(&entry)),
            Err(error) => from_journal_error(error),
        }
    }

    pub(crate) async fn finish(&self, id: &str, by: &str) -> Result<Outcome, StoreError> {
        let updated = self.commands.update(id, "same", json!({"by": by}), true).await;
        updated.map_or_else(from_journal_error, |()| Ok(Outcome::Finished))
    }

    pub(crate) async fn cached_read(&self, key: &str) -> Result<Outcome, StoreError> {
        self.cache.get(key).await.map_or_else(from_kv_error, |read| Ok(shared(read.item.as_ref())))
    }

    /// The whole log: sequence number and id of each event in order, and the findings of its verification.
    pub(crate) async fn log(&self) -> Result<(Vec<(u64, String)>, Vec<String>), String> {
        let (mut log, mut from) = (Vec::new(), Some(1));
        while from.is_some() {
            let page = self.events.read(Query { from, limit: usize::MAX, ..Query::default() }).await;
            let page = page.map_err(|error| error.to_string())?;
            log.extend(page.events.into_iter().map(|stored| (stored.event.seq, stored.event.id)));
            from = page.next;
        }
        let verdict = self.events.verify().await.map_err(|error| error.to_string())?;
        Ok((log, verdict.findings.into_iter().map(|finding| finding.what).collect()))
    }

    /// The ids of all dead letters of a queue.
    pub(crate) async fn dead_letters(&self, queue: &str) -> Result<Vec<String>, String> {
        let (mut dead, mut after) = (Vec::new(), 0);
        loop {
            let page = self.queues.dead_letters(queue, after, 20).await.map_err(|error| error.to_string())?;
            let Some(last) = page.last() else { return Ok(dead) };
            after = last.sequence;
            dead.extend(page.into_iter().map(|letter| letter.message.id));
        }
    }

    /// Whether a queue has messages that are still to be delivered.
    pub(crate) async fn has_messages(&self, queue: &str) -> Result<bool, String> {
        let view = self.queues.view(queue).await.map_err(|error| error.to_string())?;
        Ok(view.ready + view.in_flight + view.delayed > 0)
    }
}
