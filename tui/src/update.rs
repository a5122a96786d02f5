//! State transitions: the only code that changes the model.

mod keys;
mod sample;
mod subscriptions;

use crossterm::event::KeyEvent;
use roverline_client::BreakerState;
use roverline_client::Event;
use roverline_protocol::native::Level;
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::{EndpointEvent, EventKind};

use crate::format;
use crate::model::{Model, NOTIFICATION_DURATION, Notification, Now, Overlay};

/// An event.
#[derive(Clone, Debug)]
pub enum Msg {
    /// The current time. Precedes all other events of that moment.
    Clock(Now),
    /// A key was typed.
    Key(KeyEvent),
    /// A key arrived together with others, this many in all: too fast to be typed. It is text of a
    /// paste, or what a stuck link held back.
    FastKey(KeyEvent, usize),
    /// A text was pasted.
    Paste(String),
    /// The terminal has taken a frame with the question of this number, or without any (0).
    Drawn(u64),
    /// The terminal was resized to this many columns and lines.
    Resize(u16, u16),
    /// An event of the client.
    Link(Event),
    /// The requested stop was sent under this id.
    StopSent {
        /// The command's id.
        id: String,
        /// Engage or release.
        engage: bool,
    },
    /// The process should exit.
    Terminate,
}

/// An action for the runtime.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Subscribe to these topics.
    Subscribe {
        /// Their names.
        topics: Vec<String>,
        /// Maximum rate.
        max_rate_hz: Option<f64>,
    },
    /// Unsubscribe from these topics.
    Unsubscribe(Vec<String>),
    /// Request the definition of a type.
    Schema(String),
    /// Engage or release the emergency stop.
    EmergencyStop {
        /// Engage or release.
        engage: bool,
    },
    /// Restore the terminal and suspend until the shell continues the process.
    Suspend,
    /// Exit.
    Quit,
}

/// Interval for recomputing rates and list orders, independent of the load.
const REFRESH_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

/// Changes the model and returns the effects.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Clock(now) => clock(model, now),
        Msg::Key(event) => keys::press(model, event, 1),
        Msg::FastKey(event, together) => keys::press(model, event, together),
        Msg::Paste(text) => keys::paste(model, &text),
        Msg::Drawn(number) => {
            drawn(model, number);
            Vec::new()
        }
        Msg::Resize(columns, lines) => {
            model.size = (columns, lines);
            if model.question().is_some() && !model.has_room_for_question() {
                // A question that does not fit on the screen cannot be answered.
                model.overlay = Overlay::None;
            }
            Vec::new()
        }
        Msg::Link(event) => link(model, event),
        Msg::StopSent { id, engage } => {
            model.stop_sent(id, engage);
            Vec::new()
        }
        Msg::Terminate => vec![Effect::Quit],
    }
}

fn clock(model: &mut Model, now: Now) -> Vec<Effect> {
    model.now = Now { mono: now.mono.max(model.now.mono), ..now };
    let now = model.now;
    if model.refreshed.is_some_and(|at| now.since(at) < REFRESH_EVERY) {
        return sample::decode_selected(model);
    }
    model.refreshed = Some(now.mono);
    model.topics.set_served(model.network.is_connected(), now);
    model.topics.refresh(now, model.network.is_responsive());
    if model.notification.as_ref().is_some_and(|shown| now.since(shown.at) > NOTIFICATION_DURATION) {
        model.notification = None;
    }
    sample::decode_selected(model)
}

fn link(model: &mut Model, event: Event) -> Vec<Effect> {
    match event {
        Event::Endpoints(endpoints) => {
            model.network.endpoints = endpoints;
            model.topics.set_served(model.network.is_connected(), model.now);
        }
        Event::Failover(failover) => {
            // Another endpoint may know a type that the last one did not.
            model.asked_schemas.clear();
            model.network.failover(failover, model.now);
            model.topics.set_served(model.network.is_connected(), model.now);
        }
        Event::Topics(infos) => {
            model.topics.list(&infos, model.now);
            return subscriptions::adjust(model);
        }
        Event::Sample(sample) => return sample::take(model, &sample),
        Event::Schema { type_name, encoding, text } => learn(model, &type_name, &encoding, &text),
        Event::Command { id, accepted, message } => {
            model.stop_answered(&id, accepted, format::printable(&message));
        }
        Event::Service { url, level, reason, .. } => {
            let name = model.network.short_name_of(&url);
            let text = format!("{name} gives {} service: {}", level.word(), format::printable(&reason));
            notify(model, level != ServiceLevel::Full, text);
        }
        Event::Drain { url, .. } => {
            let text = format!("{} is about to restart", model.network.short_name_of(&url));
            notify(model, false, text);
        }
        Event::Breaker { url, state } => {
            let name = model.network.short_name_of(&url);
            let text = match state {
                BreakerState::Open => format!("{name} fails too often and is avoided"),
                BreakerState::HalfOpen => return Vec::new(),
                BreakerState::Closed => format!("{name} is trusted again"),
            };
            notify(model, state == BreakerState::Open, text);
        }
        Event::Radio(radio) => {
            let lasted = format::millis(radio.lasted);
            let text = if radio.silent {
                format!("the radio is silent: nothing on any link for {lasted}")
            } else {
                format!("the radio is back after {lasted}")
            };
            notify(model, radio.silent, text);
        }
        // The same as `Event::Command`, with the state in between.
        Event::Stop(_) => {}
        // No screen uses it yet.
        Event::Response { .. } => {}
        Event::Gateway(event) => gateway(model, &event),
        Event::Notice { level, text } | Event::Certificate { level, text } => {
            let serious = level != Level::Info;
            notify(model, serious, format::printable(&text));
        }
    }
    Vec::new()
}

/// Shows events of the whole gateway; switches of other clients are ignored.
fn gateway(model: &mut Model, event: &EndpointEvent) {
    let serious = match event.kind {
        EventKind::EndpointDown | EventKind::Promotion => true,
        EventKind::EndpointUp | EventKind::EndpointHealth | EventKind::GiveBack => false,
        _ => return,
    };
    let kind = event.kind.word().replace('_', " ");
    let what = event.to.as_deref().or(event.from.as_deref()).map(format::printable).unwrap_or_default();
    let cause = format::printable(&event.cause);
    notify(model, serious, format!("{kind} {what}: {cause}"));
}

fn learn(model: &mut Model, type_name: &str, encoding: &str, text: &str) {
    if let Err(error) = model.registry.add_encoded(type_name, encoding, text.as_bytes()) {
        notify(
            model,
            true,
            format!("the definition of {} cannot be used: {error}", format::printable(type_name)),
        );
    }
    model.fields.pending = true;
    model.fields.decoded = None;
}

/// From now on keys may answer the question, if it is the one on the screen.
fn drawn(model: &mut Model, number: u64) {
    if let Overlay::Question(question) = &mut model.overlay {
        question.drawn = question.number == number;
    }
}

fn notify(model: &mut Model, serious: bool, text: String) {
    model.notification = Some(Notification { at: model.now.mono, serious, text });
}
