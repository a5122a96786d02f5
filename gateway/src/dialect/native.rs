//! The native dialect: see [`roverline_protocol::native`] for the wire.

mod api_requests;
mod directory;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::budget::ByteRate;
use roverline_protocol::limits;
use roverline_protocol::native::{Binary, CLOSE_DRAIN, ClientMessage, Level, ServerMessage, TopicInfo};
use roverline_source::clock::{monotonic, unix_ns};
use tokio::sync::broadcast::error::RecvError;
use tungstenite::protocol::Message;

use crate::connection::frame;
use crate::connection::reader::Inbound;
use crate::dialect::RESTARTS;
use crate::dialect::native::api_requests::{Request, Requests};
use crate::dialect::session::{Care, Context, Ending, Service};
use crate::hub::{Form, Wish};

/// The announcement of topics that came and went.
pub fn topics_frame(up: Vec<TopicInfo>, down: Vec<u32>) -> Bytes {
    frame::json(&ServerMessage::Topics { up, down })
}

/// Serves a native session until it ends.
pub async fn serve(context: &Context, mut inbound: Inbound) -> Ending {
    greet(context);
    let mut directory = context.endpoint.directory.subscribe();
    let mut beat = tokio::time::interval(Duration::from_millis(limits::HEARTBEAT_MS));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut pulse = Pulse::default();
    let mut told = directory::Told::default();
    told.greet(context);
    let mut care = Care::default();
    let mut bad = 0u32;
    let mut requests = Requests::default();
    let mut events = context.endpoint.events.subscribe();
    let mut drain = context.endpoint.draining();
    // It is asked first, and closed when it is still there at the end.
    let mut leave = std::pin::pin!(context.endpoint.time_to_leave(1.0));
    let mut stop = context.endpoint.stopping();
    loop {
        tokio::select! {
            message = inbound.next() => match message {
                Err(ending) => return ending,
                Ok(message) => {
                    if let Err(why) = handle(context, &mut pulse, &mut requests, &message) {
                        bad += 1;
                        context.endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
                        say(context, &status(Level::Error, "bad_message", why));
                        if bad > limits::BAD_MESSAGES_PER_SESSION {
                            return Ending::new(1008, "too many bad messages");
                        }
                    }
                }
            },
            _ = beat.tick() => {
                match care.look(context, monotonic()) {
                    Err(ending) => return ending,
                    Ok(None) => {}
                    Ok(Some(Service { level, reason, shed })) => {
                        say(context, &ServerMessage::Service { level, reason, shed });
                    }
                }
                told.look(context, monotonic());
                if !context.info.outbox().is_paused() {
                    tell_drops(context);
                    pulse.beat(context);
                }
            }
            event = events.recv() => match event {
                Ok(event) => say(context, &ServerMessage::Event(event)),
                // Too slow for some of them; `/status` has them all.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ending::new(1001, "the endpoint is stopping"),
            },
            Ok(()) = drain.changed() => {
                let drain = *drain.borrow_and_update();
                if let Some(drain) = drain {
                    let to = context.endpoint.peers.with_room();
                    say(context, &ServerMessage::Drain { deadline_ms: drain.left().as_millis() as u64, to });
                }
            }
            () = &mut leave => return Ending::new(CLOSE_DRAIN, RESTARTS),
            Ok(()) = directory.changed() => told.changed(context),
            _ = stop.changed() => return Ending::new(1001, "the endpoint is stopping"),
        }
    }
}

/// The heartbeats of one session.
struct Pulse {
    every: u32,
    ticks: u32,
    beats: u32,
    sent_before: u64,
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse { every: 1, ticks: 0, beats: 0, sent_before: 0 }
    }
}

impl Pulse {
    /// Any frame is a sign of life: beats only when nothing else was sent.
    fn beat(&mut self, context: &Context) {
        self.ticks += 1;
        if self.ticks < self.every {
            return;
        }
        self.ticks = 0;
        let sent = context.info.outbox().stats().sent;
        if sent == self.sent_before {
            self.beats = self.beats.wrapping_add(1);
            context.info.outbox().control(frame::binary(&[&Binary::heartbeat(self.beats, unix_ns())]));
            self.sent_before = sent + 1;
        } else {
            self.sent_before = sent;
        }
    }

    fn set_interval(&mut self, heartbeat_ms: u64) {
        let bounded = heartbeat_ms.clamp(limits::HEARTBEAT_MS, limits::HEARTBEAT_MAX_MS);
        self.every = u32::try_from(bounded / limits::HEARTBEAT_MS).unwrap_or(1);
    }
}

fn greet(context: &Context) {
    let endpoint = &context.endpoint;
    say(
        context,
        &ServerMessage::Hello {
            protocol: 1,
            endpoint: endpoint.document(),
            session: context.info.id,
            heartbeat_ms: limits::HEARTBEAT_MS,
            time_ns: unix_ns(),
        },
    );
    // Attached first, listed second: a topic that appears in between is told twice, never missed.
    endpoint.hub.attach(context.info.id, context.info.outbox().clone(), Form::Native);
    say(context, &ServerMessage::Topics { up: endpoint.hub.topic_infos(), down: Vec::new() });
}

fn tell_drops(context: &Context) {
    let topics = context.info.outbox().take_drops();
    if !topics.is_empty() {
        say(context, &ServerMessage::Dropped { topics });
    }
}

fn say(context: &Context, message: &ServerMessage) {
    context.info.outbox().control(frame::json(message));
}

fn status(level: Level, code: &str, message: impl Into<String>) -> ServerMessage {
    ServerMessage::Status { level, code: code.to_owned(), message: message.into() }
}

/// An error is a sentence for the client; the session goes on.
fn handle(
    context: &Context,
    pulse: &mut Pulse,
    requests: &mut Requests,
    message: &Message,
) -> Result<(), String> {
    let t1_ns = unix_ns();
    let Message::Text(text) = message else {
        return Err("the native dialect takes JSON text messages".to_owned());
    };
    if let Some(Request { id, method, path, body }) = api_requests::long(text.as_str()) {
        requests.ask(context, id, method, path, body);
        return Ok(());
    }
    let message: ClientMessage =
        serde_json::from_str(text.as_str()).map_err(|error| format!("not understood: {error}"))?;
    let (endpoint, id) = (&context.endpoint, context.info.id);
    match message {
        ClientMessage::Hello { client, heartbeat_ms } => {
            context.info.set_client(&client);
            if let Some(heartbeat_ms) = heartbeat_ms {
                pulse.set_interval(heartbeat_ms);
            }
        }
        ClientMessage::Auth { token } => {
            let answer = match context.authenticate(&token) {
                Ok(role) => status(Level::Info, "role", role.name()),
                Err(denied) => status(Level::Error, "denied", denied.to_string()),
            };
            say(context, &answer);
        }
        ClientMessage::Resume { cursors, age_ms } => {
            if cursors.len() > limits::CURSORS_PER_RESUME {
                return Err(format!("a resume may have {} cursors", limits::CURSORS_PER_RESUME));
            }
            context.resumed();
            endpoint.hub.resume(id, cursors, Duration::from_millis(age_ms.min(limits::REPLAY_AGE_MS)));
        }
        ClientMessage::Subscribe { id: request, topics, max_rate_hz, scopes } => {
            if let Err(full) = context.may_subscribe(scopes) {
                say(context, &status(Level::Error, "full", full));
                return Ok(());
            }
            let wish = Wish { patterns: topics, max_rate_hz, scopes, ..Wish::default() };
            let granted = endpoint.hub.subscribe(id, &wish);
            context.settle();
            let granted = granted.map_err(|error| error.to_string())?;
            endpoint.ingress.listener_arrived();
            say(context, &ServerMessage::Subscribed { id: request, matching: granted.matching });
            if let Some((replayed, gaps)) = granted.resumed {
                say(context, &ServerMessage::Resumed { replayed, gaps });
            }
        }
        ClientMessage::Unsubscribe { topics } => {
            endpoint.hub.unsubscribe(id, &topics);
            context.settle();
        }
        ClientMessage::Schema { type_name } => match endpoint.hub.registry().text(&type_name) {
            Ok(text) => {
                let text: Arc<str> = text;
                let encoding = "ros2msg".to_owned();
                say(context, &ServerMessage::Schema { type_name, encoding, text: text.to_string() });
            }
            Err(error) => say(context, &status(Level::Warning, "unknown_type", error.to_string())),
        },
        ClientMessage::Time { t0_ns } => {
            // Who asks will ask again: from now on its silence says something.
            context.info.outbox().answers();
            say(context, &ServerMessage::Time { t0_ns, t1_ns, t2_ns: unix_ns() });
        }
        ClientMessage::EmergencyStop { id: command, engage, reason } => {
            context.emergency_stop(command, engage, reason, |id, accepted, message| {
                frame::json(&ServerMessage::Command { id, accepted, message })
            });
        }
        ClientMessage::Budget { bytes_per_s } => {
            context.ask_budget((bytes_per_s > 0).then(|| ByteRate::new(bytes_per_s)));
        }
        ClientMessage::Request { id, method, path, body } => {
            // A JSON value always serializes.
            let body = body.map(|body| serde_json::to_vec(&body).unwrap_or_default().into());
            requests.ask(context, id, method, path, body.unwrap_or_default());
        }
        ClientMessage::Watch { id, path } => requests.watch(context, id, &path),
        ClientMessage::Unwatch { id } => requests.unwatch(id),
        ClientMessage::Switched(report) => endpoint.client_switched(&context.info.client(), report),
    }
    Ok(())
}
