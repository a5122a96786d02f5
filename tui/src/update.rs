//! State transitions: the only code that changes the model.

mod keys;
pub mod sample;
pub mod subscriptions;

use crossterm::event::KeyEvent;
use roverline_client::BreakerState;
use roverline_client::Event;
use roverline_protocol::native::Level;
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::{EndpointEvent, EventKind};

use crate::composer;
use crate::effect::Effect;
use crate::format;
use crate::global_keys::actions::switch_to;
use crate::model::{Answer, FILTER_CHARS, Model, NOTIFICATION_DURATION, Now, Overlay, Screen};
use crate::picture::{Picture, PictureFault};
use crate::rewind;
use crate::screen::camera;
use crate::screen::drive;
use crate::screen::drive::model::pad::PadEvent;
use crate::screens::entry;

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
    /// The request or the watch of this number has this id on the link.
    RequestSent {
        /// The model's number.
        number: u64,
        /// The link's id.
        id: u64,
    },
    /// A picture has been made, or not.
    Picture {
        /// The number of the job.
        number: u64,
        /// The picture.
        made: Result<Picture, PictureFault>,
    },
    /// The terminal has gained or lost the focus.
    Focus(bool),
    /// It is time to send a velocity, if the rover is driven from here.
    Pulse,
    /// An event of a game controller.
    Pad(PadEvent),
    /// A person is at this console, under this client name.
    Attend(String),
    /// The console begins with this screen and its filter; empty for none.
    Open {
        /// The screen.
        screen: Screen,
        /// Its filter.
        filter: String,
    },
    /// The process should exit.
    Terminate,
}

/// Interval for recomputing rates and list orders, independent of the load.
const REFRESH_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

/// Longest wait for the answers to the last requests of a console that ends.
const LAST_REQUESTS: std::time::Duration = std::time::Duration::from_secs(1);

/// Changes the model and returns the effects.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    let mut effects = apply(model, msg);
    drive::supervise(model, &mut effects);
    effects
}

fn apply(model: &mut Model, msg: Msg) -> Vec<Effect> {
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
            let needs_room = model.question().is_some() || model.overlay == Overlay::Composer;
            if needs_room && !model.has_room_for_question() {
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
        Msg::RequestSent { number, id } => {
            model.api.sent(number, id);
            Vec::new()
        }
        Msg::Picture { number, made } => camera::decoded(model, number, made),
        Msg::Focus(has_focus) => drive::focus(model, has_focus),
        Msg::Pulse => drive::pulse(model),
        Msg::Pad(event) => drive::take_pad(model, &event),
        Msg::Attend(client) => {
            (model.client, model.is_attended) = (client, true);
            Screen::ALL.iter().flat_map(|&screen| (entry(screen).start)(model)).collect()
        }
        Msg::Open { screen, filter } => open(model, screen, &filter),
        Msg::Terminate => vec![Effect::Quit],
    }
}

fn open(model: &mut Model, screen: Screen, filter: &str) -> Vec<Effect> {
    let filter: String = filter.chars().filter(|c| !c.is_control()).take(FILTER_CHARS).collect();
    match screen {
        Screen::Topics => model.topics.filter = filter,
        Screen::Log => model.screens.log.filter = filter,
        _ => {}
    }
    switch_to(model, screen)
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
    let mut effects = sample::decode_selected(model);
    if model.quitting.is_some_and(|since| model.api.pending() == 0 || now.since(since) > LAST_REQUESTS) {
        effects.push(Effect::Quit);
    }
    if model.is_attended {
        effects.extend(Screen::ALL.iter().flat_map(|&screen| (entry(screen).tick)(model)));
        rewind::record(model);
    }
    effects
}

fn link(model: &mut Model, event: Event) -> Vec<Effect> {
    match event {
        Event::Endpoints(endpoints) => {
            model.network.set_endpoints(endpoints);
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
            model.notify(level != ServiceLevel::Full, text);
        }
        Event::Drain { url, .. } => {
            let text = format!("{} is about to restart", model.network.short_name_of(&url));
            model.notify(false, text);
        }
        Event::Breaker { url, state } => {
            let name = model.network.short_name_of(&url);
            let text = match state {
                BreakerState::Open => format!("{name} fails too often and is avoided"),
                BreakerState::HalfOpen => return Vec::new(),
                BreakerState::Closed => format!("{name} is trusted again"),
            };
            model.notify(state == BreakerState::Open, text);
        }
        Event::Radio(radio) => {
            let lasted = format::millis(radio.lasted);
            let text = if radio.silent {
                format!("the radio is silent: nothing on any link for {lasted}")
            } else {
                format!("the radio is back after {lasted}")
            };
            model.notify(radio.silent, text);
        }
        // The same as `Event::Command`, with the state in between.
        Event::Stop(_) => {}
        Event::Response { id, status, body } => return model.respond(id, &Answer { status, body }),
        Event::Gateway(event) => gateway(model, &event),
        Event::Notice { level, text } | Event::Certificate { level, text } => {
            let serious = level != Level::Info;
            model.notify(serious, format::printable(&text));
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
    model.notify(serious, format!("{kind} {what}: {cause}"));
}

fn learn(model: &mut Model, type_name: &str, encoding: &str, text: &str) {
    if let Err(error) = model.registry.add_encoded(type_name, encoding, text.as_bytes()) {
        model.notify(
            true,
            format!("the definition of {} cannot be used: {error}", format::printable(type_name)),
        );
    }
    model.screens.topics.fields.pending = true;
    model.screens.topics.fields.decoded = None;
    composer::update::learned(model);
}

/// From now on keys may answer the question, if it is the one on the screen.
fn drawn(model: &mut Model, number: u64) {
    if let Overlay::Question(question) = &mut model.overlay {
        question.drawn = question.number == number;
    }
}
