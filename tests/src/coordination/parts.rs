//! What a client does with queues, events and shared values.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use roverline_coordination::events::{EventError, Expected, NewEvent, Query};
use roverline_coordination::kv::{Author, Expect, Item, KvError};
use roverline_coordination::queues::{By, Message, QueueError, Settings, Take};
use roverline_coordination::store::StoreError;

use super::clients::{Hands, number};
use super::journal::Got;

/// How long a message is hidden: so that it comes again while all this goes on.
const VISIBLE: Duration = Duration::from_millis(700);
/// Deliveries of a message, so that some become dead letters.
const DELIVERIES: u32 = 3;

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |wall| wall.as_nanos() as u64)
}

fn by(who: &str) -> By<'_> {
    By { who, now_ns }
}

/// What was refused, without names, so that it can be counted.
fn refused(what: &str) -> Got {
    Got::Refused { why: what.to_owned() }
}

fn of_queue(error: QueueError) -> Result<Got, StoreError> {
    match error {
        QueueError::Store(error) => Err(error),
        QueueError::UnknownMessage(_) => Ok(refused("the message is done with, or dead")),
        QueueError::Stale { .. } => Ok(refused("the message was delivered again")),
        error => Ok(Got::Refused { why: error.to_string() }),
    }
}

fn of_events(error: EventError) -> Result<Got, StoreError> {
    match error {
        EventError::Store(error) => Err(error),
        error => Ok(Got::Refused { why: error.to_string() }),
    }
}

fn of_kv(error: KvError) -> Result<Got, StoreError> {
    match error {
        KvError::Store(error) => Err(error),
        error => Ok(Got::Refused { why: error.to_string() }),
    }
}

fn shared(item: Option<&Item>) -> Got {
    let value = item.and_then(|item| number(&item.value));
    Got::Shared { value, modified: item.map_or(0, |item| item.modified.0) }
}

impl Hands {
    /// Makes a queue whose messages come to an end soon.
    pub(crate) async fn configure(&self, queue: &str) -> Result<(), String> {
        let settings = Settings { max_deliveries: DELIVERIES, visibility_ms: VISIBLE.as_millis() as u64 };
        self.queues.configure(queue, settings, &by("proof")).await.map_err(|error| error.to_string())
    }

    pub(crate) async fn enqueue(&self, queue: &str, client: &str, body: u64) -> Result<Got, StoreError> {
        let message = Message { body: Bytes::from(body.to_string()), ..Message::default() };
        match self.queues.enqueue(queue, &[message], &by(client)).await {
            Ok(accepted) => match accepted.into_iter().next() {
                Some(one) => Ok(Got::Queued { id: one.id }),
                None => Ok(refused("nothing was accepted")),
            },
            Err(error) => of_queue(error),
        }
    }

    pub(crate) async fn dequeue(&self, queue: &str, client: &str) -> Result<Got, StoreError> {
        match self.queues.dequeue(queue, Take::default(), &by(client)).await {
            Ok(taken) => Ok(taken.into_iter().next().map_or(Got::Empty, |taken| Got::Delivered {
                body: number(&taken.body).unwrap_or_default(),
                id: taken.id,
                delivery: taken.delivery,
                visible_ms: taken.visibility_ms,
            })),
            Err(error) => of_queue(error),
        }
    }

    pub(crate) async fn ack(&self, id: &str, delivery: u32) -> Result<Got, StoreError> {
        self.queues.ack(id, Some(delivery)).await.map_or_else(of_queue, |()| Ok(Got::Acked))
    }

    pub(crate) async fn nak(&self, id: &str, delivery: u32, client: &str) -> Result<Got, StoreError> {
        let done = self.queues.nak(id, Some(delivery), None, Some("not now"), &by(client)).await;
        done.map_or_else(of_queue, |()| Ok(Got::Returned))
    }

    pub(crate) async fn append(&self, stream: &str, id: &str) -> Result<Got, StoreError> {
        let event = NewEvent {
            stream: stream.to_owned(),
            kind: "proof.noted".to_owned(),
            id: Some(id.to_owned()),
            at_ns: now_ns().cast_signed(),
            ..NewEvent::default()
        };
        let done = self.events.append(event, Expected::Any).await;
        done.map_or_else(of_events, |at| Ok(Got::Appended { seq: at.seq }))
    }

    pub(crate) async fn share(&self, key: &str, value: u64, client: &str) -> Result<Got, StoreError> {
        let author = Author { by: Arc::from(client), at_ns: now_ns().cast_signed() };
        let value = Bytes::from(value.to_string());
        let done = self.cache.put(key, value, &Expect::Any, None, &author).await;
        done.map_or_else(of_kv, |item| Ok(shared(Some(&item))))
    }

    pub(crate) async fn look(&self, key: &str) -> Result<Got, StoreError> {
        self.cache.get(key).await.map_or_else(of_kv, |read| Ok(shared(read.item.as_ref())))
    }

    /// The whole log: each event's id, in order; and what is wrong with it.
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

    /// The names of all dead letters of a queue.
    pub(crate) async fn dead(&self, queue: &str) -> Result<Vec<String>, String> {
        let (mut dead, mut after) = (Vec::new(), 0);
        loop {
            let page = self.queues.dead(queue, after, 20).await.map_err(|error| error.to_string())?;
            let Some(last) = page.last() else { return Ok(dead) };
            after = last.sequence;
            dead.extend(page.into_iter().map(|letter| letter.message.id));
        }
    }

    /// Whether a queue has messages that are to be delivered still.
    pub(crate) async fn pending(&self, queue: &str) -> Result<bool, String> {
        let view = self.queues.view(queue).await.map_err(|error| error.to_string())?;
        Ok(view.ready + view.in_flight + view.delayed > 0)
    }
}
