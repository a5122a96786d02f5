//! Work queues.

mod documents;
mod rendezvous;
mod routes;

use std::time::Duration;

use bytes::Bytes;
use roverline_coordination::Client;
use roverline_coordination::queues::{Actor, DequeueOptions, Message, QueueError, Queues, Settings};
use roverline_protocol::api::queues::{
    Ack, CountDocument, DeadDocument, Dequeue, DequeueDocument, Enqueue, EnqueueDocument, Extend, Nak,
    PeekDocument, Purge, QueueList, QueueSettings, Redrive, SimpleAck, SimpleDequeue, SimpleDequeued,
    SimpleEnqueue, SimpleEnqueued, SimpleOutcome, SimpleQueues,
};
use roverline_protocol::limits;
use serde_json::Value;

use crate::access::Permission;
use crate::api::action::QueuesAction as Action;
use crate::api::error::ApiError;
use crate::api::query::Paging;
pub(crate) use crate::api::queues::routes::ROUTES;
use crate::api::request::{self, ApiRequest};
use crate::api::response::{HttpResponse, json};

/// Dispatches an operation.
pub(crate) async fn handle(request: &ApiRequest<'_>, action: Action) -> Result<HttpResponse, ApiError> {
    let queues = &request.endpoint.coordination.queues;
    let (by, name) = (request.by(), request.client().unwrap_or_default());
    let by = Actor { client: Client::of(&by, &name), now_ns };
    match action {
        Action::SimpleEnqueue => simple_enqueue(request, queues, &by).await,
        Action::SimpleDequeue => simple_dequeue(request, queues, &by).await,
        Action::SimpleAck => simple_ack(request, queues, &by).await,
        Action::SimpleStatus => {
            let view = queues.view(&request.name()?).await?;
            Ok(json(&documents::simple_queue(&documents::queue(view, &documents::nodes(request)))))
        }
        Action::SimpleAll => {
            let (all, ..) = part(request, queues, &Paging::whole(limits::QUEUE_ENTRIES)).await?;
            Ok(json(&SimpleQueues { queues: all.iter().map(documents::simple_queue).collect() }))
        }
        Action::List => {
            let (queues, total, next) = part(request, queues, &Paging::parse(request.query)?).await?;
            Ok(json(&QueueList { queues, total, next }))
        }
        Action::One => {
            let view = queues.view(&request.name()?).await?;
            Ok(json(&documents::queue(view, &documents::nodes(request))))
        }
        Action::Enqueue => enqueue(request, queues, &by).await,
        Action::Dequeue => dequeue(request, queues, &by).await,
        Action::Peek | Action::Dead => inspect(request, queues, action).await,
        _ => change(request, queues, action, &by).await,
    }
}

async fn simple_enqueue(
    request: &ApiRequest<'_>,
    queues: &Queues,
    by: &Actor<'_>,
) -> Result<HttpResponse, ApiError> {
    let read = |sent: &[u8]| {
        let SimpleEnqueue { queue_name, message } = request::object(sent)?;
        Ok((queue_name, Message { body: body(&message), ..Message::default() }))
    };
    let (queue_name, message) = request.parse_large(read).await?;
    let done = queues.enqueue(&queue_name, &[message], by).await.map(|mut accepted| accepted.pop());
    let (accepted, message) = expected_refusal(done)?;
    let node_id = documents::node_of(&queue_name, &documents::nodes(request));
    let message_id = accepted.flatten().map(|accepted| accepted.id);
    Ok(json(&SimpleEnqueued { success: message_id.is_some(), message_id, queue_name, node_id, message }))
}

async fn simple_dequeue(
    request: &ApiRequest<'_>,
    queues: &Queues,
    by: &Actor<'_>,
) -> Result<HttpResponse, ApiError> {
    let SimpleDequeue { queue_name } = request.json()?;
    let (taken, _) = expected_refusal(queues.dequeue(&queue_name, DequeueOptions::default(), by).await)?;
    let first = taken.and_then(|mut taken| taken.pop());
    let delivery_time = first.as_ref().map(|first| first.delivered_ns as f64 / 1e9);
    let bytes = first.as_ref().map_or(0, |first| first.body.len());
    let make = move || {
        let message = first.as_ref().map(|first| documents::value(&first.body));
        let message_id = first.map(|first| first.id);
        SimpleDequeued { success: message_id.is_some(), message, message_id, delivery_time }
    };
    request.respond_with(bytes, make).await
}

async fn simple_ack(
    request: &ApiRequest<'_>,
    queues: &Queues,
    by: &Actor<'_>,
) -> Result<HttpResponse, ApiError> {
    let SimpleAck { message_id } = request.json()?;
    let (done, message) = expected_refusal(queues.ack(&message_id, None, by).await)?;
    Ok(json(&SimpleOutcome { success: done.is_some(), message }))
}

/// Outcomes that the fixed paths report with 200 and `success: false`: a message that is missing, or a
/// full queue. Errors of the store are problems as everywhere.
fn expected_refusal<T>(done: Result<T, QueueError>) -> Result<(Option<T>, Option<String>), ApiError> {
    match done {
        Ok(done) => Ok((Some(done), None)),
        Err(
            error @ (QueueError::UnknownMessage(_)
            | QueueError::UnknownQueue(_)
            | QueueError::Full { .. }
            | QueueError::TooManyInFlight
            | QueueError::TooManyQueues),
        ) => Ok((None, Some(error.to_string()))),
        Err(error) => Err(error.into()),
    }
}

async fn part(
    request: &ApiRequest<'_>,
    queues: &Queues,
    paging: &Paging,
) -> Result<(Vec<roverline_protocol::api::queues::QueueDocument>, usize, Option<String>), ApiError> {
    let (names, total, next) = paging.part(queues.names().await?, String::as_str);
    let nodes = documents::nodes(request);
    let views = queues.views(&names).await?;
    Ok((views.into_iter().map(|view| documents::queue(view, &nodes)).collect(), total, next))
}

async fn enqueue(
    request: &ApiRequest<'_>,
    queues: &Queues,
    by: &Actor<'_>,
) -> Result<HttpResponse, ApiError> {
    let queue = request.name()?;
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
    let messages = request.parse_large(read).await?;
    let accepted = queues.enqueue(&queue, &messages, by).await?;
    let messages = accepted.into_iter().map(documents::accepted).collect();
    Ok(json(&EnqueueDocument { messages, node_id: documents::node_of(&queue, &documents::nodes(request)) }))
}

async fn dequeue(
    request: &ApiRequest<'_>,
    queues: &Queues,
    by: &Actor<'_>,
) -> Result<HttpResponse, ApiError> {
    let (queue, wanted): (_, Dequeue) = (request.name()?, request.json()?);
    if wanted.wait_ms > limits::QUEUE_WAIT_MS {
        let why = format!("wait_ms is at most {}", limits::QUEUE_WAIT_MS);
        return Err(ApiError::unprocessable(why));
    }
    let visibility = wanted.visibility_ms.map(Duration::from_millis);
    let take = DequeueOptions { max: wanted.max.unwrap_or(1), visibility };
    let wait = Duration::from_millis(wanted.wait_ms);
    let taken = queues.dequeue_within(&queue, take, wait, by).await?;
    let bytes = taken.iter().map(|taken| taken.body.len()).sum();
    let make = move || DequeueDocument { messages: taken.into_iter().map(documents::delivery).collect() };
    request.respond_with(bytes, make).await
}

/// Operations on messages that are in the queue.
async fn change(
    request: &ApiRequest<'_>,
    queues: &Queues,
    action: Action,
    by: &Actor<'_>,
) -> Result<HttpResponse, ApiError> {
    let queue = request.name()?;
    let one = CountDocument { messages: 1 };
    let count = match action {
        Action::Ack => {
            let Ack { message_id, delivery, force, reason } = request.json()?;
            if force {
                request.authorize(Permission::Overrule("whoever works on a message"))?;
            }
            check_belongs(&queue, &message_id)?;
            let done = match (force, reason) {
                (true, reason) => {
                    let why = reason.unwrap_or_default();
                    queues.force_ack(&message_id, delivery, &why, by).await
                }
                (false, None) => queues.ack(&message_id, delivery, by).await,
                (false, Some(_)) => return Err(ApiError::unprocessable("a `reason` is for `force`")),
            };
            done.map(|()| one)?
        }
        Action::Nak => {
            let Nak { message_id, delivery, delay_ms, reason, force } = request.json()?;
            if force {
                request.authorize(Permission::Overrule("whoever works on a message"))?;
            }
            check_belongs(&queue, &message_id)?;
            let (delay, reason) = (delay_ms.map(Duration::from_millis), reason.as_deref());
            let returned = match force {
                true => queues.force_nak(&message_id, delivery, delay, reason.unwrap_or_default(), by).await,
                false => queues.nak(&message_id, delivery, delay, reason, by).await,
            };
            returned.map(|()| one)?
        }
        Action::Extend => {
            let Extend { message_id, delivery, visibility_ms } = request.json()?;
            check_belongs(&queue, &message_id)?;
            let visibility = Duration::from_millis(visibility_ms);
            queues.extend(&message_id, delivery, visibility, by).await.map(|()| one)?
        }
        Action::Redrive => {
            let most = request.json::<Redrive>()?.max.unwrap_or(limits::QUEUE_MESSAGES);
            if most > limits::QUEUE_MESSAGES {
                let why = format!("a queue has at most {} messages", limits::QUEUE_MESSAGES);
                return Err(ApiError::unprocessable(why));
            }
            CountDocument { messages: queues.redrive(&queue, most, by).await? }
        }
        Action::Purge => {
            request.authorize(Permission::Overrule("the messages of a queue"))?;
            let Purge { dead, reason } = request.json()?;
            CountDocument { messages: queues.purge(&queue, dead, reason.as_deref(), by).await? }
        }
        _ => {
            let (new, wanted) = (Settings::default(), request.json::<QueueSettings>()?);
            let settings = Settings {
                max_deliveries: wanted.max_deliveries.unwrap_or(new.max_deliveries),
                visibility_ms: wanted.visibility_ms.unwrap_or(new.visibility_ms),
            };
            queues.configure(&queue, settings, by).await?;
            return Ok(json(&documents::queue(queues.view(&queue).await?, &documents::nodes(request))));
        }
    };
    Ok(json(&count))
}

async fn inspect(
    request: &ApiRequest<'_>,
    queues: &Queues,
    action: Action,
) -> Result<HttpResponse, ApiError> {
    let (queue, params) = (request.name()?, request.parameters()?);
    let most = params.number("max").map_or(limits::QUEUE_BATCH_MESSAGES, |most| most as usize);
    if action == Action::Peek {
        let listed = queues.peek(&queue, most).await?;
        let bytes = listed.iter().map(|listed| listed.body.len()).sum();
        let make = move || PeekDocument { messages: listed.into_iter().map(documents::listed).collect() };
        return request.respond_with(bytes, make).await;
    }
    let letters = queues.dead_letters(&queue, params.number("after").unwrap_or(0), most).await?;
    let next = letters.last().map(|last| last.sequence);
    let bytes = letters.iter().map(|letter| letter.message.body.len()).sum();
    let make = move || DeadDocument { messages: letters.into_iter().map(documents::dead).collect(), next };
    request.respond_with(bytes, make).await
}

/// Rejects a message of another queue than the one in the path.
fn check_belongs(queue: &str, message_id: &str) -> Result<(), QueueError> {
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
            assert_eq!(check_belongs(queue, id).is_ok(), fine, "{queue} {id}");
        }
    }

    #[test]
    fn expected_refusals_are_in_the_body_and_others_are_problems() {
        let status = |error: QueueError| match expected_refusal::<()>(Err(error)) {
            Ok((None, Some(_))) => 200,
            Ok(_) => 0,
            Err(error) => error.into_response("/").status().as_u16(),
        };
        assert_eq!(status(QueueError::UnknownMessage("x".to_owned())), 200);
        assert_eq!(status(QueueError::Full { messages: 1, bytes: 1 }), 200);
        assert_eq!(status(QueueError::InvalidName), 422);
        assert_eq!(status(QueueError::TooLarge(9)), 413);
        assert_eq!(status(QueueError::Contended), 503);
    }
}
