//! Documents of the queues API, built from the store's types.

use roverline_coordination::queues::{Accepted, DeadLetter, Delivery, MessageSummary, QueueView};
use roverline_protocol::Tier;
use roverline_protocol::api::queues::{
    AcceptedDocument, DeadMessage, DeliveryDocument, ListedMessage, QueueDocument, SimpleQueue,
};
use serde_json::Value;

use crate::api::queues::rendezvous;
use crate::api::request::ApiRequest;

/// The endpoints that serve.
pub(crate) fn nodes(request: &ApiRequest<'_>) -> Vec<Tier> {
    let all = request.endpoint.directory_document().endpoints.into_iter().map(|entry| entry.peer.endpoint);
    let mut serving: Vec<Tier> =
        all.filter(|endpoint| endpoint.status.serves()).map(|endpoint| endpoint.tier).collect();
    serving.dedup();
    if serving.is_empty() {
        // This endpoint answers, after all.
        serving.push(request.endpoint.tier);
    }
    serving
}

/// The endpoint that a queue belongs to, for status and load only: any endpoint serves any queue.
pub(crate) fn node_of(queue: &str, nodes: &[Tier]) -> String {
    rendezvous::node_of(queue, nodes.iter().map(|tier| tier.name())).unwrap_or_default().to_owned()
}

/// A message's body; a body that is not JSON becomes a string.
pub(crate) fn value(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into())
}

pub(crate) fn queue(view: QueueView, nodes: &[Tier]) -> QueueDocument {
    QueueDocument {
        node_id: node_of(&view.name, nodes),
        name: view.name,
        ready: view.ready,
        in_flight: view.in_flight,
        delayed: view.delayed,
        dead: view.dead,
        enqueued: view.enqueued,
        oldest_ns: view.oldest_ns,
        max_deliveries: view.settings.max_deliveries,
        visibility_ms: view.settings.visibility_ms,
    }
}

pub(crate) fn simple_queue(queue: &QueueDocument) -> SimpleQueue {
    SimpleQueue {
        queue_name: queue.name.clone(),
        size: queue.ready + queue.delayed,
        in_flight: queue.in_flight,
        node_id: queue.node_id.clone(),
    }
}

pub(crate) fn accepted(accepted: Accepted) -> AcceptedDocument {
    AcceptedDocument { message_id: accepted.id, duplicate: accepted.duplicate }
}

pub(crate) fn delivery(taken: Delivery) -> DeliveryDocument {
    DeliveryDocument {
        message: value(&taken.body),
        message_id: taken.id,
        delivery: taken.delivery,
        priority: taken.priority,
        by: taken.by,
        client: taken.client,
        enqueued_ns: taken.enqueued_ns,
        delivered_ns: taken.delivered_ns,
        visibility_ms: taken.visibility_ms,
    }
}

pub(crate) fn listed(listed: MessageSummary) -> ListedMessage {
    ListedMessage {
        message: value(&listed.body),
        message_id: listed.id,
        priority: listed.priority,
        deliveries: listed.deliveries,
        by: listed.by,
        client: listed.client,
        enqueued_ns: listed.enqueued_ns,
        ready: listed.ready,
    }
}

pub(crate) fn dead(letter: DeadLetter) -> DeadMessage {
    DeadMessage {
        sequence: letter.sequence,
        message: listed(letter.message),
        reason: letter.why,
        dead_ns: letter.dead_ns,
        dead_by: letter.dead_by,
        dead_by_client: letter.dead_by_client,
    }
}
