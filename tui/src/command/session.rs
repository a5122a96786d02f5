//! A client connection with a model, without a screen.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roverline_client::{Config, Event, Events, Link};

use crate::command::print::complain;
use crate::effect::Effect;
use crate::model::{Model, Now};
use crate::update::{Msg, update};

/// Most events handled before the time is updated.
const BATCH: usize = 256;
/// Interval of clock messages without events.
const TICK: Duration = Duration::from_millis(100);

/// Provides the model's time.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts now.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// The current time.
    pub fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: Now::ORIGIN + self.0.elapsed(), wall_ns: i64::try_from(wall.as_nanos()).unwrap_or(0) }
    }
}

/// Executes a model's effects on its connection. A stop comes back as a message with its id.
pub fn perform(link: &Link, effect: &Effect) -> Option<Msg> {
    match effect {
        Effect::Subscribe { topics, max_rate_hz } => link.subscribe_all(topics, *max_rate_hz),
        Effect::Unsubscribe(topics) => link.unsubscribe_all(topics),
        Effect::Schema(type_name) => link.schema(type_name),
        Effect::EmergencyStop { engage } => {
            let id = link.emergency_stop(*engage, "operator at the console");
            tracing::warn!(engage, id, "emergency stop");
            return Some(Msg::StopSent { id, engage: *engage });
        }
        Effect::Request { number, method, path, body } => {
            let id = link.request(method, path, body.clone());
            return Some(Msg::RequestSent { number: *number, id });
        }
        Effect::Watch { number, path } => {
            return Some(Msg::RequestSent { number: *number, id: link.watch(path) });
        }
        Effect::Unwatch(id) => link.unwatch(*id),
        Effect::Publish { topic, type_name, body, ttl, token } => {
            link.publish(topic, type_name, body.clone(), *ttl, *token);
        }
        Effect::DrivingInput(_)
        | Effect::SaveCommands(_)
        | Effect::Copy(_)
        | Effect::Picture(_)
        | Effect::Bell
        | Effect::Title(_)
        | Effect::Suspend
        | Effect::Quit => {}
    }
    None
}

/// For one-shot programs: uses the best endpoint that answers, without waiting for it to prove
/// stable.
pub fn without_delay(config: Config) -> Config {
    config.without_hysteresis()
}

/// A connection and the model it fills.
#[derive(Debug)]
pub struct HeadlessSession {
    /// The model.
    pub model: Model,
    link: Link,
    events: Events,
    clock: Clock,
}

impl HeadlessSession {
    /// Opens the connection.
    pub fn open(config: Config) -> HeadlessSession {
        let (link, events) = Link::open(without_delay(config));
        HeadlessSession { model: Model::default(), link, events, clock: Clock::start() }
    }

    /// Handles events until `done` returns true or the time is up.
    pub async fn until(&mut self, timeout: Duration, mut done: impl FnMut(&Model) -> bool) {
        let end = tokio::time::Instant::now() + timeout;
        loop {
            let tick = (tokio::time::Instant::now() + TICK).min(end);
            let event = tokio::time::timeout_at(tick, self.events.next()).await;
            self.send(Msg::Clock(self.clock.now()));
            match event {
                Ok(Some(event)) => self.take(event),
                Ok(None) => return,
                Err(_) => {}
            }
            if done(&self.model) || tokio::time::Instant::now() >= end {
                return;
            }
        }
    }

    /// Changes the model, and executes the effects of that.
    pub fn with(&mut self, change: impl FnOnce(&mut Model) -> Vec<Effect>) {
        self.model.now = self.clock.now();
        let effects = change(&mut self.model);
        self.perform_all(effects);
    }

    fn perform_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Some(msg) = perform(&self.link, &effect) {
                update(&mut self.model, msg);
            }
        }
    }

    fn take(&mut self, first: Event) {
        self.send(Msg::Link(first));
        for _ in 0..BATCH {
            let Some(event) = self.events.try_next() else { return };
            self.send(Msg::Link(event));
        }
    }

    fn send(&mut self, msg: Msg) {
        if let Msg::Link(Event::Certificate { text, .. }) = &msg {
            complain(text);
        }
        let effects = update(&mut self.model, msg);
        self.perform_all(effects);
    }
}
