//! Queues of work.

mod documents;
mod routes;

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use roverline_coordination::queues::{By, Message, QueueError, Queues, Settings, Take};
use roverline_protocol::api::queues::{
    Ack, CountDocument, DeadDocument, Dequeue, DequeueDocument, Enqueue, EnqueueDocument, Extend, Nak,
    PeekDocument, PlainAck, PlainDequeue, PlainDequeued, PlainDone, PlainEnqueue, PlainEnqueued, PlainQueues,
    Purge, QueueList, QueueSettings, Redrive,
};
use roverline_protocol::limits;
use serde_json::Value;

use crate::access::Deed;
use crate::api::query::Paging;
pub(crate) use crate::api::queues::routes::ROUTES;
use crate::api::request::{self, Ask};
use crate::api::response::{Answer, Failure, json};

/// What is done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    PlainEnqueue,
    PlainDequeue,
    PlainAck,
    PlainStatus,
    PlainAll,
    List,
    One,
    Enqueue,
    Dequeue,
    Ack,
    Nak,
    Extend,
    Redrive,
    Purge,
    Configure,
    Peek,
    Dead,
}

/// Does it.
pub(crate) async fn answer(ask: &Ask<'_>, action: Action) -> Result<Answer, Failure> {
    let queues = &ask.endpoint.coordination.queues;
    let who = ask.asker();
    let by = By { who: &who, now_ns };
    match action {
        Action::PlainEnqueue => plain_enqueue(ask, queues, &by).await,
        Action::PlainDequeue => plain_dequeue(ask, queues, &by).await,
        Action::PlainAck => plain_ack(ask, queues).await,
        Action::PlainStatus => {
            let view = queues.view(&ask.name()?).await?;
            Ok(json(&documents::plain(&documents::queue(view, &documents::nodes(ask)))))
        }
        Action::PlainAll => {
            let (all, ..) = part(ask, queues, &Paging::whole(limits::QUEUE_ENTRIES)).await?;
            Ok(json(&PlainQueues { queues: all.iter().map(documents::plain).collect() }))
        }
        Action::List => {
            let (queues, total, next) = part(ask, queues, &Paging::parse(ask.query)?).await?;
            Ok(json(&QueueList { queues, total, next }))
        }
        Action::One => {
            let view = queues.view(&ask.name()?).await?;
            Ok(json(&documents::queue(view, &documents::nodes(ask))))
        }
        Action::Enqueue => enqueue(ask, queues, &by).await,
        Action::Dequeue => dequeue(ask, queues, &by).await,
        Action::Peek | Action::Dead => look(ask, queues, action).await,
        _ => change(ask, queues, action, &by).await,
    }
}

async fn plain_enqueue(ask: &Ask<'_>, queues: &Queues, by: &By<'_>) -> Result<Answer, Failure> {
    let read = |sent: &[u8]| {
        let PlainEnqueue { queue_name, message } = request::object(sent)?;
        Ok((queue_name, Message { body: body(&message), ..Message::default() }))
    };
    let (queue_name, message) = ask.large(read).await?;
    let done = queues.enqueue(&queue_name, &[message], by).await.map(|mut accepted| accepted.pop());
    let (accepted, message) = refused(done)?;
    let node_id = documents::node_of(&queue_name, &documents::nodes(ask));
    let message_id = accepted.flatten().map(|accepted| accepted.id);
    Ok(json(&PlainEnqueued { success: message_id.is_some(), message_id, queue_name, node_id, message }))
}

async fn plain_dequeue(ask: &Ask<'_>, queues: &Queues, by: &By<'_>) -> Result<Answer, Failure> {
    let PlainDequeue { queue_name } = ask.json()?;
    let (taken, _) = refused(queues.dequeue(&queue_name, Take::default(), by).await)?;
    let first = taken.and_then(|mut taken| taken.pop());
    let delivery_time = first.as_ref().map(|first| first.delivered_ns as f64 / 1e9);
    let bytes = first.as_ref().map_or(0, |first| first.body.len());
    let make = move || {
        let message = first.as_ref().map(|first| documents::value(&first.body));
        let message_id = first.map(|first| first.id);
        PlainDequeued { success: message_id.is_some(), message, message_id, delivery_time }
    };
    ask.tell(bytes, make).await
}

async fn plain_ack(ask: &Ask<'_>, queues: &Queues) -> Result<Answer, Failure> {
    let PlainAck { message_id } = ask.json()?;
    let (done, message) = refused(queues.ack(&message_id, None).await)?;
    Ok(json(&PlainDone { success: done.is_some(), message }))
}

/// What the fixed paths answer with 200 and without success: that something is not there, or that
/// there is no room. What nobody could do is a problem as everywhere.
fn refused<T>(done: Result<T, QueueError>) -> Result<(Option<T>, Option<String>), Failure> {
    match done {
        Ok(done) => Ok((Some(done), None)),
        Err(
            error @ (QueueError::UnknownMessage(_)
            | QueueError::UnknownQueue(_)
            | QueueError::Full { .. }
            | QueueError::Flight
            | QueueError::Queues),
        ) => Ok((None, Some(error.to_string()))),
        Err(error) => Err(error.into()),
    }
}

async fn part(
    ask: &Ask<'_>,
    queues: &Queues,
    paging: &Paging,
) -> Result<(Vec<roverline_protocol::api::queues::QueueDocument>, usize, Option<String>), Failure> {
    let (names, total, next) = paging.part(queues.names().await?, String::as_str);
    let nodes = documents::nodes(ask);
    let views = queues.views(&names).await?;
    Ok((views.into_iter().map(|view| documents::queue(view, &nodes)).collect(), total, next))
}

async fn enqueue(ask: &Ask<'_>, queues: &Queues, by: &By<'_>) -> Result<Answer, Failure> {
    let queue = ask.name()?;
    let message = |one: roverline_protocol::api::queues::EnqueuedMessage| Message {
        body: body(&one.message),
        priority: one.priority,
        delay: one.delay_ms.map(Duration::from_millis),
        dedup: one.dedup_id,
    };
    let read = move |sent: &[u8]| {
        let Enqueue { messages } = request::object(sent)?;
        Ok(messages.into_iter().map(message).collect::<Vec<Message>>())
    };
    let messages = ask.large(read).await?;
    let accepted = queues.enqueue(&queue, &messages, by).await?;
    let messages = accepted.into_iter().map(documents::accepted).collect();
    Ok(json(&EnqueueDocument { messages, node_id: documents::node_of(&queue, &documents::nodes(ask)) }))
}

async fn dequeue(ask: &Ask<'_>, queues: &Queues, by: &By<'_>) -> Result<Answer, Failure> {
    let (queue, wanted): (_, Dequeue) = (ask.name()?, ask.json()?);
    if wanted.wait_ms > limits::QUEUE_WAIT_MS {
        let why = format!("wait_ms is at most {}", limits::QUEUE_WAIT_MS);
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    let visibility = wanted.visibility_ms.map(Duration::from_millis);
    let take = Take { most: wanted.max.unwrap_or(1), visibility };
    let wait = Duration::from_millis(wanted.wait_ms);
    let taken = queues.dequeue_within(&queue, take, wait, by).await?;
    let bytes = taken.iter().map(|taken| taken.body.len()).sum();
    let make = move || DequeueDocument { messages: taken.into_iter().map(documents::delivery).collect() };
    ask.tell(bytes, make).await
}

/// What concerns messages that are in the queue.
async fn change(ask: &Ask<'_>, queues: &Queues, action: Action, by: &By<'_>) -> Result<Answer, Failure> {
    let queue = ask.name()?;
    let one = CountDocument { messages: 1 };
    let count = match action {
        Action::Ack => {
            let Ack { message_id, delivery } = ask.json()?;
            belongs(&queue, &message_id)?;
            queues.ack(&message_id, delivery).await.map(|()| one)?
        }
        Action::Nak => {
            let Nak { message_id, delivery, delay_ms, reason } = ask.json()?;
            belongs(&queue, &message_id)?;
            let delay = delay_ms.map(Duration::from_millis);
            queues.nak(&message_id, delivery, delay, reason.as_deref(), by).await.map(|()| one)?
        }
        Action::Extend => {
            let Extend { message_id, delivery, visibility_ms } = ask.json()?;
            belongs(&queue, &message_id)?;
            let visibility = Duration::from_millis(visibility_ms);
            queues.extend(&message_id, delivery, visibility).await.map(|()| one)?
        }
        Action::Redrive => {
            let most = ask.json::<Redrive>()?.max.unwrap_or(limits::QUEUE_MESSAGES);
            if most > limits::QUEUE_MESSAGES {
                let why = format!("a queue has at most {} messages", limits::QUEUE_MESSAGES);
                return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, why));
            }
            CountDocument { messages: queues.redrive(&queue, most, by).await? }
        }
        Action::Purge => {
            ask.may(Deed::Overrule("the messages of a queue"))?;
            let Purge { dead, reason } = ask.json()?;
            CountDocument { messages: queues.purge(&queue, dead, reason.as_deref(), by).await? }
        }
        _ => {
            let (new, wanted) = (Settings::default(), ask.json::<QueueSettings>()?);
            let settings = Settings {
                max_deliveries: wanted.max_deliveries.unwrap_or(new.max_deliveries),
                visibility_ms: wanted.visibility_ms.unwrap_or(new.visibility_ms),
            };
            queues.configure(&queue, settings, by).await?;
            return Ok(json(&documents::queue(queues.view(&queue).await?, &documents::nodes(ask))));
        }
    };
    Ok(json(&count))
}

async fn look(ask: &Ask<'_>, queues: &Queues, action: Action) -> Result<Answer, Failure> {
    let (queue, given) = (ask.name()?, ask.parameters()?);
    let most = given.number("max").map_or(limits::QUEUE_BATCH_MESSAGES, |most| most as usize);
    if action == Action::Peek {
        let listed = queues.peek(&queue, most).await?;
        let bytes = listed.iter().map(|listed| listed.body.len()).sum();
        let make = move || PeekDocument { messages: listed.into_iter().map(documents::listed).collect() };
        return ask.tell(bytes, make).await;
    }
    let letters = queues.dead(&queue, given.number("after").unwrap_or(0), most).await?;
    let next = letters.last().map(|last| last.sequence);
    let bytes = letters.iter().map(|letter| letter.message.body.len()).sum();
    let make = move || DeadDocument { messages: letters.into_iter().map(documents::dead).collect(), next };
    ask.tell(bytes, make).await
}

/// Refuses a message of another queue than the one in the path.
fn belongs(queue: &str, message_id: &str) -> Result<(), QueueError> {
    let rest = message_id.strip_prefix(queue).and_then(|rest| rest.strip_prefix(':'));
    match rest.is_some_and(|rest| rest.split(':').count() == 3) {
        true => Ok(()),
        false => Err(QueueError::UnknownMessage(message_id.chars().take(limits::QUEUE_NAME_BYTES).collect())),
    }
}

fn body(message: &Value) -> Bytes {
    // A JSON value always serializes.
    Bytes::from(serde_json::to_vec(message).unwrap_or_default())
}

fn now_ns() -> u64 {
    u64::try_from(roverline_source::clock::unix_ns()).unwrap_or(0)
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Failure {
        let status = match error {
            QueueError::Store(error) => return error.into(),
            QueueError::UnknownQueue(_) | QueueError::UnknownMessage(_) => StatusCode::NOT_FOUND,
            QueueError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            QueueError::Name
            | QueueError::Batch(_)
            | QueueError::Priority(_)
            | QueueError::Time(_)
            | QueueError::Deliveries(_) => StatusCode::UNPROCESSABLE_ENTITY,
            QueueError::Stale { .. }
            | QueueError::NotInFlight
            | QueueError::Full { .. }
            | QueueError::Flight
            | QueueError::Delayed
            | QueueError::Queues => StatusCode::CONFLICT,
            QueueError::Crowded | QueueError::Contended | QueueError::Damaged(_) => {
                return Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                    .with(header::RETRY_AFTER, "1");
            }
        };
        Failure::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_belongs_to_one_queue() {
        for (queue, id, fine) in [
            ("work", "work:0:1:00000000000000ab", true),
            ("a:b", "a:b:0:1:00000000000000ab", true),
            ("a", "a:b:0:1:00000000000000ab", false),
            ("work", "works:0:1:00000000000000ab", false),
            ("work", "work", false),
        ] {
            assert_eq!(belongs(queue, id).is_ok(), fine, "{queue} {id}");
        }
    }

    #[test]
    fn ordinary_refusals_are_told_in_the_body_and_others_are_problems() {
        let status = |error: QueueError| match refused::<()>(Err(error)) {
            Ok((None, Some(_))) => 200,
            Ok(_) => 0,
            Err(failure) => failure.answer("/").status().as_u16(),
        };
        assert_eq!(status(QueueError::UnknownMessage("x".to_owned())), 200);
        assert_eq!(status(QueueError::Full { messages: 1, bytes: 1 }), 200);
        assert_eq!(status(QueueError::Name), 422);
        assert_eq!(status(QueueError::TooLarge(9)), 413);
        assert_eq!(status(QueueError::Contended), 503);
    }
}
