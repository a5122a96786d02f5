//! The plain dialect: one flat JSON object five times a second, for any WebSocket client.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::backoff::Jitter;
use roverline_protocol::native::{CLOSE_DRAIN, TopicInfo};
use roverline_protocol::status::{EventDocument, EventKind};
use roverline_protocol::{Priority, limits};
use roverline_schema::Plan;
use roverline_source::RawSample;
use roverline_source::clock::{monotonic, unix_ns};
use serde::Deserialize;
use serde_json::json;
use tungstenite::protocol::Message;

use crate::access::Deed;
use crate::connection::frame;
use crate::connection::reader::Inbound;
use crate::dialect::session::{Care, Context, Ending};
use crate::dialect::{RESTARTS, rosbridge};
use crate::hub::{Form, Wish};
pub use crate::telemetry::Telemetry;

const DECISION: Duration = Duration::from_millis(limits::DIALECT_DECISION_MS);

/// What a plain client may say.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// The telemetry, now.
    #[serde(rename = "request_telemetry")]
    Telemetry,
    /// Messages of these topics as they come.
    Subscribe {
        /// Globs.
        topics: Vec<String>,
        /// At most so many messages per second and topic.
        #[serde(default)]
        max_rate_hz: Option<f64>,
    },
    /// No longer.
    Unsubscribe {
        /// As they were subscribed.
        topics: Vec<String>,
    },
    /// Stop the rover.
    EmergencyStop {
        /// The rover does an id once; absent: a new one.
        #[serde(default)]
        id: Option<String>,
        /// Why, for the log.
        #[serde(default)]
        reason: String,
    },
    /// Who I am.
    Auth {
        /// As it was handed out.
        token: String,
    },
    /// Are you there?
    Ping,
}

/// How a plain session comes to its end.
pub enum Outcome {
    /// Indeed.
    Ended(Ending),
    /// By what it said it is no plain client.
    Rosbridge(Message),
}

/// Serves a plain session until it ends, or turns out to be another. With `patient` nothing is sent
/// until the client has spoken or has had a moment to.
pub async fn serve(context: &Context, inbound: &mut Inbound, patient: bool) -> Outcome {
    let mut first = None;
    if patient {
        match tokio::time::timeout(DECISION, inbound.next()).await {
            Ok(Ok(message)) if rosbridge::speaks(&message) => return Outcome::Rosbridge(message),
            Ok(Ok(message)) => first = Some(message),
            Ok(Err(ending)) => return Outcome::Ended(ending),
            Err(_) => {}
        }
    }
    telemetry_until_it_ends(context, inbound, first).await
}

async fn telemetry_until_it_ends(
    context: &Context,
    inbound: &mut Inbound,
    mut first: Option<Message>,
) -> Outcome {
    let endpoint = &context.endpoint;
    endpoint.hub.attach(context.info.id, context.info.outbox().clone(), Form::PlainJson);
    context.info.outbox().control(initial(context));
    let mut tick = tokio::time::interval(Duration::from_millis(1_000 / u64::from(limits::PLAIN_RATE_HZ)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    let (mut ticks, mut bad) = (0u32, 0u32);
    let mut care = Care::default();
    let mut stop = endpoint.stopping();
    let mut jitter = Jitter::new(unix_ns().unsigned_abs() ^ context.info.id);
    let mut leave = std::pin::pin!(endpoint.time_to_leave(jitter.unit()));
    let mut events = endpoint.events.subscribe();
    loop {
        tokio::select! {
            event = events.recv() => tell_promotion(context, event.ok()),
            message = next(inbound, &mut first) => match message {
                Err(ending) => return Outcome::Ended(ending),
                Ok(message) if rosbridge::speaks(&message) => return Outcome::Rosbridge(message),
                Ok(message) => {
                    if let Err(why) = handle(context, &message) {
                        bad += 1;
                        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
                        say(context, &json!({"type": "error", "code": "bad_message", "message": why}));
                        if bad > limits::BAD_MESSAGES_PER_SESSION {
                            return Outcome::Ended(Ending::new(1008, "too many bad messages"));
                        }
                    }
                }
            },
            _ = tick.tick() => {
                // A judge who never subscribes listens as well, but one who is about to gets a moment.
                ticks = ticks.saturating_add(1);
                if ticks == limits::PLAIN_RATE_HZ {
                    endpoint.ingress.listener_arrived();
                }
                let (outbox, now) = (context.info.outbox(), monotonic());
                match care.look(context, now) {
                    Err(ending) => return Outcome::Ended(ending),
                    Ok(None) => {}
                    Ok(Some(service)) => outbox.control(service.plain()),
                }
                if ticks.is_multiple_of(outbox.level().one_summary_in()) {
                    let frame = endpoint.telemetry.frame(&endpoint.hub);
                    outbox.latest(u32::MAX, Priority::Emergency, frame, now);
                } else {
                    outbox.count_shed();
                }
                if !outbox.is_paused() {
                    tell_drops(context);
                }
            }
            () = &mut leave => return Outcome::Ended(Ending::new(CLOSE_DRAIN, RESTARTS)),
            _ = stop.changed() => return Outcome::Ended(Ending::new(1001, "the endpoint is stopping")),
        }
    }
}

/// The first message: the telemetry, and who serves whom.
fn initial(context: &Context) -> Bytes {
    let own = context.endpoint.document();
    let mut message = context.endpoint.telemetry.object(&context.endpoint.hub, "initial");
    message.insert(
        "endpoint".to_owned(),
        json!({"tier": own.tier, "port": own.port, "scopes": own.scopes, "covers": own.covers}),
    );
    message.insert("role".to_owned(), json!(context.info.identity().role));
    message.insert("may_stop".to_owned(), context.may(Deed::EngageStop).is_ok().into());
    frame::json(&message)
}

/// What was said at first, then what is said.
async fn next(inbound: &mut Inbound, first: &mut Option<Message>) -> Result<Message, Ending> {
    match first.take() {
        Some(message) => Ok(message),
        None => inbound.next().await,
    }
}

fn say(context: &Context, message: &serde_json::Value) {
    context.info.outbox().control(frame::json(message));
}

/// Of all that happens, a plain client needs to know when what the endpoint serves changes.
fn tell_promotion(context: &Context, event: Option<EventDocument>) {
    let Some(event) = event.filter(|e| matches!(e.kind, EventKind::Promotion | EventKind::GiveBack)) else {
        return;
    };
    let own = context.endpoint.document();
    say(
        context,
        &json!({
            "type": "promotion", "event": event.kind, "cause": event.cause,
            "from": event.from, "to": event.to, "covers": own.covers, "scopes": own.scopes,
        }),
    );
}

fn tell_drops(context: &Context) {
    let drops = context.info.outbox().take_drops();
    let count: u64 = drops.iter().map(|drop| drop.count).sum();
    if count > 0 {
        say(context, &json!({"type": "dropped", "count": count}));
    }
}

impl Request {
    /// What a client says; an error is a sentence for it. Nesting is bounded by the JSON reader.
    pub fn decode(text: &str) -> Result<Request, String> {
        serde_json::from_str(text).map_err(|error| {
            format!(
                "not understood: {error}; send {{\"type\":\"request_telemetry\"}}, \
                 {{\"type\":\"subscribe\",\"topics\":[\"/odom\"]}} or {{\"type\":\"emergency_stop\"}}"
            )
        })
    }
}

/// An error is a sentence for the client; the session goes on.
fn handle(context: &Context, message: &Message) -> Result<(), String> {
    let Message::Text(text) = message else {
        return Err("send JSON as a text message".to_owned());
    };
    let request = Request::decode(text.as_str())?;
    let (endpoint, id) = (&context.endpoint, context.info.id);
    match request {
        Request::Telemetry => {
            let frame = frame::text(&endpoint.telemetry.message(&endpoint.hub, "telemetry"));
            context.info.outbox().control(frame);
        }
        Request::Subscribe { topics, max_rate_hz } => {
            let wish = Wish { patterns: topics, max_rate_hz, ..Wish::default() };
            let granted = endpoint.hub.subscribe(id, &wish).map_err(|error| error.to_string())?;
            endpoint.ingress.listener_arrived();
            let (topics, matching) = (wish.patterns, granted.matching);
            say(context, &json!({"type": "subscribed", "topics": topics, "matching": matching}));
        }
        Request::Unsubscribe { topics } => {
            endpoint.hub.unsubscribe(id, &topics);
            say(context, &json!({"type": "unsubscribed", "topics": topics}));
        }
        Request::EmergencyStop { id: command, reason } => {
            let command = command.unwrap_or_else(|| format!("plain-{id}-{}", unix_ns()));
            context.emergency_stop(command, true, reason, |id, accepted, message| {
                frame::json(
                    &json!({"type": "emergency_stop", "id": id, "accepted": accepted, "message": message}),
                )
            });
        }
        Request::Auth { token } => {
            let role = context.authenticate(&token).map_err(|denied| denied.to_string())?;
            let may_stop = context.may(Deed::EngageStop).is_ok();
            say(context, &json!({"type": "auth", "role": role, "may_stop": may_stop}));
        }
        Request::Ping => say(context, &json!({"type": "pong", "timestamp": unix_ns() as f64 / 1e9})),
    }
    Ok(())
}

/// A sample as a plain client gets it: decoded, or its size where the type is not known.
pub fn sample_frame(topic: &TopicInfo, plan: Option<&Plan>, sample: &RawSample) -> Bytes {
    let mut out = Vec::with_capacity(sample.payload.len() * 3 + 256);
    out.extend_from_slice(b"{\"type\":\"message\",\"topic\":");
    push_json(&mut out, &topic.name);
    out.extend_from_slice(b",\"msg_type\":");
    push_json(&mut out, &topic.type_name);
    let stamp = sample.receive_time_ns as f64 / 1e9;
    out.extend_from_slice(format!(",\"seq\":{},\"stamp\":{stamp},\"msg\":", sample.id.seq).as_bytes());
    match plan.map(|plan| plan.write_json(&sample.payload, &mut out)) {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            out.extend_from_slice(b"null,\"error\":");
            push_json(&mut out, &error.to_string());
        }
        None => {
            out.extend_from_slice(b"null,\"error\":\"the type is not known\",\"bytes\":");
            out.extend_from_slice(sample.payload.len().to_string().as_bytes());
        }
    }
    out.push(b'}');
    if out.len() > limits::OUTBOUND_MESSAGE_BYTES {
        return frame::json(&json!({
            "type": "message", "topic": topic.name, "msg_type": topic.type_name, "seq": sample.id.seq,
            "msg": null, "error": "the message is too large for JSON", "bytes": sample.payload.len(),
        }));
    }
    frame::text(&out)
}

fn push_json(out: &mut Vec<u8>, text: &str) {
    // Strings always serialize.
    let _ = serde_json::to_writer(out, text);
}
