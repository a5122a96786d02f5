//! One native client's session: its state, and the handling of its messages and of changes.

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::budget::ByteRate;
use roverline_protocol::limits;
use roverline_protocol::native::{ClientIdentity, ClientMessage, Level, ServerMessage};
use roverline_protocol::status::{EndpointDocument, EndpointEvent};
use roverline_protocol::trace::{ReportedSpan, SampleTimes};
use roverline_source::clock::{monotonic, unix_ns};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tracing::{Instrument, Span};
use tungstenite::protocol::Message;

use crate::access::Role;
use crate::connection::close_reason::CloseReason;
use crate::connection::frame;
use crate::dialect::native::api_requests::{self, PendingRequests, Request};
use crate::dialect::native::directory::DirectorySync;
use crate::dialect::native::encoding::FORMAT;
use crate::dialect::native::error::RequestError;
use crate::dialect::native::heartbeat::Heartbeat;
use crate::dialect::native::publish::{PublishReports, publish};
use crate::dialect::session::driver::{DialectSession, MessageError, stopping};
use crate::dialect::session::{ServiceReport, SessionContext};
use crate::endpoint::drain::Drain;
use crate::hub::SubscribeOptions;

/// The state of one session.
pub(super) struct Session<'a> {
    context: &'a SessionContext,
    heartbeat: Heartbeat,
    requests: PendingRequests,
    directory: DirectorySync,
    directory_changes: watch::Receiver<Arc<Vec<EndpointDocument>>>,
    events: broadcast::Receiver<EndpointEvent>,
    drain: watch::Receiver<Option<Drain>>,
    /// The trace context of the last `resume`, for the `subscribe` that follows it.
    switch_traceparent: Option<String>,
    publish_reports: PublishReports,
}

impl<'a> Session<'a> {
    /// Opens a session: sends the hello, the topics and the directory.
    pub(super) fn open(context: &'a SessionContext) -> Session<'a> {
        send_hello(context);
        let endpoint = &context.endpoint;
        let directory_changes = endpoint.directory_changes();
        let mut directory = DirectorySync::default();
        directory.send_initial(context);
        Session {
            context,
            heartbeat: Heartbeat::default(),
            requests: PendingRequests::default(),
            directory,
            directory_changes,
            events: endpoint.events.subscribe(),
            drain: endpoint.draining(),
            switch_traceparent: None,
            publish_reports: PublishReports::default(),
        }
    }

    fn send(&self, message: &ServerMessage) {
        send(self.context, message);
    }

    fn report_drain(&mut self) {
        let drain = *self.drain.borrow_and_update();
        if let Some(drain) = drain {
            let to = self.context.endpoint.peers.with_capacity();
            self.send(&ServerMessage::Drain { deadline_ms: drain.left().as_millis() as u64, to });
        }
    }

    /// Handles one message.
    async fn handle(&mut self, message: &Message) -> Result<(), RequestError> {
        let received_ns = unix_ns();
        let Message::Text(text) = message else {
            return Err(RequestError::NotText);
        };
        if let Some(request) = api_requests::parse_large_request(text.as_str()) {
            self.requests.spawn_request(self.context, request);
            return Ok(());
        }
        let message: ClientMessage = serde_json::from_str(text.as_str())?;
        let (context, endpoint, id) = (self.context, &self.context.endpoint, self.context.info.id);
        match message {
            ClientMessage::Hello { client, heartbeat_ms } => {
                context.info.set_client(&client);
                if let Some(heartbeat_ms) = heartbeat_ms {
                    self.heartbeat.set_interval(heartbeat_ms);
                }
            }
            ClientMessage::Auth { token } => self.authenticate(&token)?,
            ClientMessage::Resume { cursors, age_ms, traceparent } => {
                if cursors.len() > limits::CURSORS_PER_RESUME {
                    return Err(RequestError::Cursors);
                }
                let age = Duration::from_millis(age_ms.min(limits::REPLAY_AGE_MS));
                if endpoint.hub.resume(id, cursors, age) {
                    context.resumed();
                }
                self.switch_traceparent = traceparent;
            }
            ClientMessage::Subscribe { id: request, topics, max_rate_hz, scopes } => {
                let options =
                    SubscribeOptions { patterns: topics, max_rate_hz, scopes, ..SubscribeOptions::default() };
                let span = match self.switch_traceparent.take() {
                    Some(traceparent) => context.resume_span(&traceparent),
                    None => Span::none(),
                };
                self.subscribe(request, &options).instrument(span).await?;
            }
            ClientMessage::Unsubscribe { topics } => {
                endpoint.hub.unsubscribe(id, &topics).await;
                context.downgrade_to_standby();
            }
            ClientMessage::Schema { type_name } => self.send_schema(type_name),
            ClientMessage::Time { t0_ns } => {
                // A client that sends time requests keeps sending them: from now on its silence means that it
                // is gone.
                context.info.outbox().expect_liveness();
                self.send(&ServerMessage::Time { t0_ns, t1_ns: received_ns, t2_ns: unix_ns() });
            }
            ClientMessage::EmergencyStop { id: command, engage, reason, traceparent } => {
                let traceparent = traceparent.as_deref();
                context.emergency_stop(command, engage, &reason, traceparent, |id, accepted, message| {
                    frame::json(&ServerMessage::Command { id, accepted, message })
                });
            }
            ClientMessage::Budget { bytes_per_s } => {
                context.request_budget((bytes_per_s > 0).then(|| ByteRate::new(bytes_per_s)));
            }
            ClientMessage::Request { id, method, path, body, traceparent } => {
                // A JSON value always serializes.
                let body = body.map(|body| serde_json::to_vec(&body).unwrap_or_default().into());
                let body = body.unwrap_or_default();
                self.requests.spawn_request(context, Request { id, method, path, body, traceparent });
            }
            ClientMessage::Watch { id, path } => self.requests.watch(context, id, &path),
            ClientMessage::Unwatch { id } => self.requests.unwatch(id),
            ClientMessage::Publish(message) => {
                if let Some((code, text)) = publish(context, &mut self.publish_reports, message) {
                    self.send(&status(Level::Warning, code, text));
                }
            }
            ClientMessage::Spans { spans } => self.record_spans(spans),
            ClientMessage::SampleTimes { samples } => self.record_sample_times(&samples),
            ClientMessage::Switched(report) => endpoint.record_failover(&context.info, report),
        }
        Ok(())
    }

    /// Changes the session's identity. A denied token counts as malformed, so that guessing ends the session.
    fn authenticate(&self, token: &str) -> Result<(), RequestError> {
        let role = self.context.authenticate(token)?;
        self.send(&status(Level::Info, "role", role.name()));
        Ok(())
    }

    /// Keeps spans of the client, as its own word for what happened.
    fn record_spans(&self, spans: Vec<ReportedSpan>) {
        let is_foreign = self.context.info.is_confined();
        if let Some(ring) = self.context.endpoint.spans.as_ref().filter(|_| !is_foreign) {
            let info = &self.context.info;
            ring.report(spans, &info.label(), info.identity().role, monotonic());
        }
    }

    /// Keeps when samples of this session arrived at its client.
    fn record_sample_times(&self, samples: &[SampleTimes]) {
        let is_foreign = self.context.info.is_confined();
        if let Some(ring) = self.context.endpoint.hub.sample_ring().filter(|_| !is_foreign) {
            let info = &self.context.info;
            ring.report(info.id, samples, info.identity().role == Role::Observer);
        }
    }

    async fn subscribe(&self, request: Option<u64>, options: &SubscribeOptions) -> Result<(), RequestError> {
        let endpoint = &self.context.endpoint;
        if let Err(full) = self.context.authorize_subscribe(options.scopes) {
            // Names the endpoints with free slots.
            self.send(&status(Level::Error, "full", endpoint.full_message(full)));
            return Ok(());
        }
        let outcome = endpoint.hub.subscribe(self.context.info.id, options).await;
        self.context.downgrade_to_standby();
        let outcome = outcome?;
        endpoint.ingress.listener_arrived();
        self.send(&ServerMessage::Subscribed { id: request, matching: outcome.matching });
        if let Some((replayed, gaps)) = outcome.resumed {
            Span::current().record("roverline.replayed", replayed);
            self.send(&ServerMessage::Resumed { replayed, gaps });
        }
        Ok(())
    }

    fn send_schema(&self, type_name: String) {
        let hub = &self.context.endpoint.hub;
        // What is not CDR has the definition that came with it, or none.
        let foreign = hub.with_topics(|mut topics| {
            let topic = Iterator::find(&mut topics, |topic| {
                topic.info.type_name == type_name && !topic.info.encoding.is_cdr()
            })?;
            topic.definition.clone()
        });
        let (encoding, text) = match (foreign, hub.registry().text(&type_name)) {
            (Some(own), _) => (own.encoding, own.text),
            (None, Ok(text)) => ("ros2msg".to_owned(), text),
            (None, Err(error)) => {
                return self.send(&status(Level::Warning, "unknown_type", error.to_string()));
            }
        };
        self.send(&ServerMessage::Schema { type_name, encoding, text: text.to_string() });
    }
}

impl DialectSession for Session<'_> {
    type Malformed = RequestError;

    fn drain_fraction(_: f64) -> f64 {
        // The client is asked to leave first, and closed only if it is still there at the end.
        1.0
    }

    async fn on_message(&mut self, message: &Message) -> Result<(), MessageError<RequestError>> {
        self.handle(message).await.map_err(MessageError::Malformed)
    }

    fn report_malformed(&mut self, error: RequestError) {
        self.send(&status(Level::Error, error.code(), error.to_string()));
    }

    fn report_service(&mut self, ServiceReport { level, reason, shed }: ServiceReport) {
        self.send(&ServerMessage::Service { level, reason, shed });
    }

    fn on_tick(&mut self, now: Duration) {
        self.directory.poll(self.context, now);
    }

    fn on_active_tick(&mut self, _: Duration) {
        let outbox = self.context.info.outbox();
        let topics = outbox.take_drops();
        if !topics.is_empty() {
            self.send(&ServerMessage::Dropped { topics });
        }
        self.heartbeat.send_if_due(outbox);
    }

    async fn next_change(&mut self) -> Result<(), CloseReason> {
        tokio::select! {
            event = self.events.recv() => match event {
                Ok(_) if self.context.info.is_confined() => {}
                Ok(event) => self.send(&ServerMessage::Event(event)),
                // The receiver lagged behind; `/status` has all events.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(stopping()),
            },
            Ok(()) = self.drain.changed() => self.report_drain(),
            Ok(()) = self.directory_changes.changed() => self.directory.send_changes(self.context),
        }
        Ok(())
    }
}

/// Sends a message to the session's client.
pub(super) fn send(context: &SessionContext, message: &ServerMessage) {
    context.info.outbox().control(frame::json(message));
}

fn send_hello(context: &SessionContext) {
    let endpoint = &context.endpoint;
    let (identity, peer) = (context.info.identity(), context.info.peer());
    let name = crate::identity::label(&identity, peer);
    let hello = ServerMessage::Hello {
        protocol: 1,
        endpoint: endpoint.document(),
        session: context.info.id,
        heartbeat_ms: limits::HEARTBEAT_MS,
        time_ns: unix_ns(),
        traces: endpoint.spans.is_some(),
        client: Some(ClientIdentity { name, role: identity.role.name().to_owned() }),
    };
    send(context, &hello);
    // Attach first, list second: a topic that appears in between is announced twice and never missed.
    endpoint.hub.attach(context.info.id, context.info.outbox().clone(), FORMAT);
    send(context, &ServerMessage::Topics { up: endpoint.hub.topic_infos(), down: Vec::new() });
}

fn status(level: Level, code: &str, message: impl Into<String>) -> ServerMessage {
    ServerMessage::Status { level, code: code.to_owned(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::Tier;
    use roverline_protocol::native::SUBPROTOCOL;
    use serde_json::json;

    use super::*;
    use crate::config::SourceKind;
    use crate::dialect::foxglove::tests::harness::{Harness, Received};

    #[tokio::test]
    async fn guessing_tokens_ends_the_session() {
        let harness = Harness::new(Tier::Primary, Role::Observer, SourceKind::Dds).await;
        let mut client = harness.connect_with(SUBPROTOCOL).await;
        for _ in 0..=limits::BAD_MESSAGES_PER_SESSION {
            client.send_json(json!({"op": "auth", "token": "guess"})).await;
        }
        let mut denied = 0;
        let code = loop {
            match client.next().await {
                Received::Json(json) if json["code"] == "denied" => denied += 1,
                Received::Closed(code) => break code,
                _ => {}
            }
        };
        assert_eq!((code, denied), (1008, limits::BAD_MESSAGES_PER_SESSION + 1));
    }
}
