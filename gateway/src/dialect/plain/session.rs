//! One plain client's session: its state, and the handling of its messages and of changes.

use std::time::Duration;

use roverline_protocol::Priority;
use roverline_protocol::status::{EndpointEvent, EventKind};
use roverline_source::clock::unix_ns;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tungstenite::protocol::Message;

use crate::access::Permission;
use crate::connection::close_reason::CloseReason;
use crate::connection::frame;
use crate::dialect::plain::encoding::FORMAT;
use crate::dialect::plain::error::RequestError;
use crate::dialect::plain::request::Request;
use crate::dialect::session::driver::{DialectSession, MessageError};
use crate::dialect::session::{ServiceReport, SessionContext};
use crate::hub::SubscribeOptions;
use crate::limits;

/// The time between two telemetry messages.
const PERIOD: Duration = Duration::from_millis(1_000 / limits::PLAIN_RATE_HZ as u64);

/// The state of one session.
pub(super) struct Session<'a> {
    context: &'a SessionContext,
    ticks: u32,
    events: broadcast::Receiver<EndpointEvent>,
}

impl<'a> Session<'a> {
    /// Opens a session: sends the first message.
    pub(super) fn open(context: &'a SessionContext) -> Session<'a> {
        let endpoint = &context.endpoint;
        endpoint.hub.attach(context.info.id, context.info.outbox().clone(), FORMAT);
        let session = Session { context, ticks: 0, events: endpoint.events.subscribe() };
        session.send_initial();
        session
    }

    /// Sends the first message: the telemetry, the endpoint and the client's role.
    fn send_initial(&self) {
        let endpoint = &self.context.endpoint;
        let own = endpoint.document();
        let mut message = endpoint.telemetry.object(&endpoint.hub, "initial");
        message.insert(
            "endpoint".to_owned(),
            json!({"tier": own.tier, "port": own.port, "scopes": own.scopes, "covers": own.covers}),
        );
        message.insert("role".to_owned(), json!(self.context.info.identity().role));
        message.insert("may_stop".to_owned(), self.may_stop().into());
        self.context.info.outbox().control(frame::json(&message));
    }

    fn may_stop(&self) -> bool {
        self.context.authorize(Permission::EngageStop).is_ok()
    }

    fn send(&self, message: &Value) {
        self.context.info.outbox().control(frame::json(message));
    }

    /// Reports promotions, the only events that change what a plain client receives.
    fn report_promotion(&self, event: &EndpointEvent) {
        if !matches!(event.kind, EventKind::Promotion | EventKind::GiveBack) {
            return;
        }
        let own = self.context.endpoint.document();
        self.send(&json!({
            "type": "promotion", "event": event.kind, "cause": event.cause,
            "from": event.from, "to": event.to, "covers": own.covers, "scopes": own.scopes,
        }));
    }

    /// Handles one message.
    async fn handle(&self, message: &Message) -> Result<(), RequestError> {
        let Message::Text(text) = message else {
            return Err(RequestError::NotText);
        };
        let (context, endpoint, id) = (self.context, &self.context.endpoint, self.context.info.id);
        match Request::decode(text.as_str())? {
            Request::Telemetry => {
                let frame = frame::text(&endpoint.telemetry.message(&endpoint.hub, "telemetry"));
                context.info.outbox().control(frame);
            }
            Request::Subscribe { topics, max_rate_hz } => {
                let options =
                    SubscribeOptions { patterns: topics, max_rate_hz, ..SubscribeOptions::default() };
                let outcome = endpoint.hub.subscribe(id, &options).await?;
                endpoint.ingress.listener_arrived();
                let (topics, matching) = (options.patterns, outcome.matching);
                self.send(&json!({"type": "subscribed", "topics": topics, "matching": matching}));
            }
            Request::Unsubscribe { topics } => {
                endpoint.hub.unsubscribe(id, &topics).await;
                self.send(&json!({"type": "unsubscribed", "topics": topics}));
            }
            Request::EmergencyStop { id: command, reason } => {
                let command = command.unwrap_or_else(|| format!("plain-{id}-{}", unix_ns()));
                context.emergency_stop(command, true, &reason, None, |id, accepted, message| {
                    frame::json(
                        &json!({"type": "emergency_stop", "id": id, "accepted": accepted, "message": message}),
                    )
                });
            }
            Request::Auth { token } => {
                let role = context.authenticate(&token)?;
                self.send(&json!({"type": "auth", "role": role, "may_stop": self.may_stop()}));
            }
            Request::Ping => self.send(&json!({"type": "pong", "timestamp": unix_ns() as f64 / 1e9})),
        }
        Ok(())
    }
}

impl DialectSession for Session<'_> {
    type Malformed = RequestError;

    fn ticks() -> Interval {
        let mut ticks = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    async fn on_message(&mut self, message: &Message) -> Result<(), MessageError<RequestError>> {
        match crate::dialect::recognize(message) {
            Some(dialect) => Err(MessageError::OtherDialect(dialect)),
            None => self.handle(message).await.map_err(MessageError::Malformed),
        }
    }

    fn report_malformed(&mut self, error: RequestError) {
        self.send(&json!({"type": "error", "code": "bad_message", "message": error.to_string()}));
    }

    fn report_service(&mut self, ServiceReport { level, reason, shed }: ServiceReport) {
        self.send(&json!({"type": "service", "level": level, "reason": reason, "shed": shed}));
    }

    fn on_tick(&mut self, now: Duration) {
        let endpoint = &self.context.endpoint;
        // A client that never subscribes counts as a listener too, but first gets a moment to subscribe.
        self.ticks = self.ticks.saturating_add(1);
        if self.ticks == limits::PLAIN_RATE_HZ {
            endpoint.ingress.listener_arrived();
        }
        let outbox = self.context.info.outbox();
        if self.ticks.is_multiple_of(outbox.level().one_summary_in()) {
            outbox.latest(u32::MAX, Priority::Emergency, endpoint.telemetry.frame(&endpoint.hub), now);
        } else {
            outbox.count_shed();
        }
    }

    fn on_active_tick(&mut self, _: Duration) {
        let drops = self.context.info.outbox().take_drops();
        let count: u64 = drops.iter().map(|drop| drop.count).sum();
        if count > 0 {
            self.send(&json!({"type": "dropped", "count": count}));
        }
    }

    async fn next_change(&mut self) -> Result<(), CloseReason> {
        match self.events.recv().await {
            Ok(event) => self.report_promotion(&event),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
        Ok(())
    }
}
