//! API requests and watches: sent to the endpoint in use, and carried over to the next one when it
//! is lost.

use std::collections::BTreeMap;

use roverline_protocol::native::ClientMessage;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::manager::{Manager, left_ns, unix_ns};
use crate::trace::RequestSpan;
use crate::{Event, REQUEST_LOST};

/// A command over this path is done once per id, and never after its time to live.
const COMMANDS: &str = "/api/v2/commands";
/// Most pending requests and watches of a link; more are rejected.
const MAX_PENDING: usize = 1_024;

/// Requests without a response, and watches.
#[derive(Debug, Default)]
pub(super) struct PendingRequests {
    all: BTreeMap<u64, PendingRequest>,
    /// The connection that has received all of them except those marked as not sent.
    connection: Option<u64>,
}

#[derive(Debug)]
struct PendingRequest {
    message: ClientMessage,
    sent: bool,
    submitted: Instant,
    /// Its span, unless it is a watch.
    span: Option<RequestSpan>,
}

impl PendingRequest {
    fn is_watch(&self) -> bool {
        matches!(self.message, ClientMessage::Watch { .. })
    }

    /// The message to send: with its trace context if the endpoint records traces, and a command with the time at which
    /// it left the client, by the endpoint's clock, if that is known.
    fn message(&self, traces: bool, offset_s: Option<f64>) -> ClientMessage {
        let mut message = self.message.clone();
        if let ClientMessage::Request { method, path, body: Some(Value::Object(body)), .. } = &mut message
            && method == "POST"
            && path == COMMANDS
            && let Some(sent_ns) = left_ns(self.submitted.elapsed(), offset_s)
        {
            body.entry("sent_ns").or_insert_with(|| json!(sent_ns));
        }
        if let (ClientMessage::Request { traceparent, .. }, Some(span), true) =
            (&mut message, &self.span, traces)
        {
            *traceparent = Some(span.traceparent());
        }
        message
    }

    /// Whether it may be sent twice.
    fn is_read_only(&self) -> bool {
        match &self.message {
            ClientMessage::Request { method, .. } => method == "GET",
            _ => true,
        }
    }
}

impl Manager {
    /// Submits a request, now or when an endpoint becomes available.
    pub(super) async fn submit(&mut self, id: u64, message: ClientMessage) {
        if self.pending.all.len() >= MAX_PENDING {
            self.emit(lost_response(id, "too many requests wait for their answers")).await;
            return;
        }
        let span = request_span(&message);
        self.pending.all.insert(id, PendingRequest { message, sent: false, submitted: Instant::now(), span });
        self.send_pending().await;
    }

    /// Ends a watch.
    pub(super) fn unwatch(&mut self, id: u64) {
        if self.pending.all.remove(&id).is_some_and(|watch| watch.sent)
            && let Some(active) = self.active
        {
            self.slots[active].send(ClientMessage::Unwatch { id });
        }
    }

    /// Sends the pending requests that the endpoint in use has not received. A request that a lost
    /// endpoint may have executed is not repeated.
    pub(super) async fn send_pending(&mut self) {
        let Some(active) = self.active.filter(|active| self.slots[*active].session.established) else {
            return;
        };
        let connection = self.slots[active].connection.as_ref().map(|connection| connection.id);
        if self.pending.connection != connection {
            let previous = |slot: &&mut crate::endpoint::EndpointState| {
                slot.connection.as_ref().map(|c| c.id) == self.pending.connection
            };
            if let Some(old) = self.slots.iter_mut().find(previous) {
                for id in self.pending.all.iter().filter(|(_, r)| r.is_watch()).map(|(id, _)| *id) {
                    old.send(ClientMessage::Unwatch { id });
                }
            }
            self.pending.connection = connection;
            let in_doubt =
                self.pending.all.iter().filter(|(_, r)| r.sent && !r.is_read_only()).map(|(id, _)| *id);
            for id in in_doubt.collect::<Vec<_>>() {
                if let Some(span) = self.pending.all.remove(&id).and_then(|request| request.span) {
                    self.slots[active].report(&span, unix_ns(), true);
                }
                self.emit(lost_response(
                    id,
                    "the endpoint was lost before it answered: it may have been done",
                ))
                .await;
            }
            self.pending.all.values_mut().for_each(|request| request.sent = false);
        }
        for request in self.pending.all.values_mut().filter(|request| !request.sent) {
            let traces = self.slots[active].session.traces;
            let offset_s = self.slots[active].session.clock.seconds();
            request.sent = self.slots[active].send_now(request.message(traces, offset_s));
            if !request.sent {
                // The connection's queue is full: the next tick goes on here.
                break;
            }
        }
    }

    /// Handles a response.
    pub(super) async fn on_response(&mut self, id: u64, status: u16, body: Value) {
        let Some(request) = self.pending.all.get(&id) else { return };
        if !request.is_watch() {
            if let (Some(active), Some(span)) = (self.active, &request.span) {
                self.slots[active].report(span, unix_ns(), status >= 500);
            }
            self.pending.all.remove(&id);
        }
        self.emit(Event::Response { id, status, body }).await;
    }
}

/// The span of a request; a watch has none.
fn request_span(message: &ClientMessage) -> Option<RequestSpan> {
    let ClientMessage::Request { method, path, traceparent, .. } = message else { return None };
    let path = path.split('?').next().unwrap_or_default();
    // Whoever reads traces must not make them.
    let is_traced = !path.starts_with("/api/v2/traces");
    is_traced.then(|| RequestSpan::start_in(traceparent.as_deref(), format!("{method} {path}")))
}

fn lost_response(id: u64, reason: &str) -> Event {
    let body = json!({"type": "about:blank", "title": "Lost", "status": REQUEST_LOST, "detail": reason});
    Event::Response { id, status: REQUEST_LOST, body }
}
