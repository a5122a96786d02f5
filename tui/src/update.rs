//! What happens when something happened: the only place that changes the model.

mod keys;
mod sample;
mod subscriptions;

use crossterm::event::KeyEvent;
use roverline_client::Event;
use roverline_protocol::breaker::BreakerState;
use roverline_protocol::native::Level;
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::{EventDocument, EventKind};

use crate::format;
use crate::model::{Model, Notice, Now, StopCommand};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Msg {
    /// It is this late. Comes before everything else that happened then.
    Clock(Now),
    /// A key was pressed.
    Key(KeyEvent),
    /// The terminal has this many columns and lines.
    Resize(u16, u16),
    /// From the link.
    Link(Event),
    /// The stop that was asked for is on its way under this id.
    StopSent {
        /// The command's id.
        id: String,
        /// Engage, or release.
        engage: bool,
    },
    /// The process is asked to end.
    Terminate,
}

/// What the runtime shall do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask for a topic.
    Subscribe {
        /// Its name.
        topic: String,
        /// At most this often.
        max_rate_hz: Option<f64>,
    },
    /// No longer ask for it.
    Unsubscribe(String),
    /// Ask for the definition of a type.
    Schema(String),
    /// Engage or release the emergency stop.
    EmergencyStop {
        /// Engage, or release.
        engage: bool,
    },
    /// Give the terminal back and stop until the shell continues us.
    Suspend,
    /// End.
    Quit,
}

/// How long a notice stays.
pub const NOTICE_STAYS: std::time::Duration = std::time::Duration::from_secs(8);
/// A stop nobody answered for this long has failed, as far as the operator is concerned.
pub const STOP_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Rates and the order of lists are made anew this often, however much happens.
const REFRESH_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

/// Changes the model; what else is to be done comes back.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Clock(now) => clock(model, now),
        Msg::Key(event) => keys::press(model, event),
        Msg::Resize(columns, lines) => {
            model.size = (columns, lines);
            Vec::new()
        }
        Msg::Link(event) => link(model, event),
        Msg::StopSent { id, engage } => {
            model.stop = Some(StopCommand { id, engage, sent: model.now.mono, answer: None });
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
    let served = model.network.all_down_since.is_none() && model.network.active().is_some();
    model.topics.refresh(now, served);
    if model.notice.as_ref().is_some_and(|notice| now.since(notice.at) > NOTICE_STAYS) {
        model.notice = None;
    }
    sample::decode_selected(model)
}

fn link(model: &mut Model, event: Event) -> Vec<Effect> {
    match event {
        Event::Endpoints(endpoints) => model.network.endpoints = endpoints,
        Event::Failover(failover) => {
            // Another endpoint may know a type that the last one did not.
            model.asked_schemas.clear();
            model.network.failover(failover, model.now);
        }
        Event::Topics(infos) => {
            model.topics.list(&infos, model.now);
            return subscriptions::adjust(model);
        }
        Event::Sample(sample) => return sample::take(model, &sample),
        Event::Schema { type_name, text } => learn(model, &type_name, &text),
        Event::Command { id, accepted, message } => answer(model, &id, accepted, &message),
        Event::Service { url, level, reason, .. } => {
            let name = model.network.short_name_of(&url);
            let text = format!("{name} gives {} service: {}", level.word(), format::printable(&reason));
            notice(model, level != ServiceLevel::Full, text);
        }
        Event::Drain { url, .. } => {
            let text = format!("{} is about to restart", model.network.short_name_of(&url));
            notice(model, false, text);
        }
        Event::Breaker { url, state } => {
            let name = model.network.short_name_of(&url);
            let text = match state {
                BreakerState::Open => format!("{name} fails too often and is avoided"),
                BreakerState::HalfOpen => return Vec::new(),
                BreakerState::Closed => format!("{name} is trusted again"),
            };
            notice(model, state == BreakerState::Open, text);
        }
        Event::Radio(radio) => {
            let lasted = format::millis(radio.lasted);
            let text = if radio.silent {
                format!("the radio is silent: nothing on any link for {lasted}")
            } else {
                format!("the radio is back after {lasted}")
            };
            notice(model, radio.silent, text);
        }
        // Nothing on the screen asks yet.
        Event::Response { .. } => {}
        Event::Gateway(event) => gateway(model, &event),
        Event::Notice { level, text } => {
            let serious = level != Level::Info;
            notice(model, serious, format::printable(&text));
        }
    }
    Vec::new()
}

/// What concerns the gateway as a whole; the switches of other clients do not concern this one.
fn gateway(model: &mut Model, event: &EventDocument) {
    let serious = match event.kind {
        EventKind::EndpointDown | EventKind::Promotion => true,
        EventKind::EndpointUp | EventKind::EndpointHealth | EventKind::GiveBack => false,
        _ => return,
    };
    let kind = event.kind.word().replace('_', " ");
    let what = event.to.as_deref().or(event.from.as_deref()).map(format::printable).unwrap_or_default();
    let cause = format::printable(&event.cause);
    notice(model, serious, format!("{kind} {what}: {cause}"));
}

fn learn(model: &mut Model, type_name: &str, text: &str) {
    if let Err(error) = model.registry.add(type_name, text) {
        notice(
            model,
            true,
            format!("the definition of {} cannot be used: {error}", format::printable(type_name)),
        );
    }
    model.fields.pending = true;
    model.fields.decoded = None;
}

/// Every connected endpoint answers; one that accepted is enough, so a refusal never replaces it.
fn answer(model: &mut Model, id: &str, accepted: bool, message: &str) {
    let now = model.now.mono;
    let Some(stop) = model.stop.as_mut().filter(|stop| stop.id == id) else { return };
    if accepted || stop.answer.is_none() {
        stop.answer = Some((accepted, format::printable(message), now));
    }
}

fn notice(model: &mut Model, serious: bool, text: String) {
    model.notice = Some(Notice { at: model.now.mono, serious, text });
}
