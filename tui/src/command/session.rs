//! A link and the model it fills, without a screen.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roverline_client::{Config, Event, Events, Link};

use crate::model::{Model, Now};
use crate::update::{Effect, Msg, update};

/// Events taken in one go before the time is looked at again.
const BATCH: usize = 256;
/// Without events, the model hears of the time this often.
const TICK: Duration = Duration::from_millis(100);

/// Tells the time to a model.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Begins now.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// The time.
    pub fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: Now::ORIGIN + self.0.elapsed(), wall_ns: i64::try_from(wall.as_nanos()).unwrap_or(0) }
    }
}

/// Does what a model wants of its link. A stop comes back as a message with its id.
pub fn perform(link: &Link, effect: &Effect) -> Option<Msg> {
    match effect {
        Effect::Subscribe { topic, max_rate_hz } => link.subscribe(topic, *max_rate_hz),
        Effect::Unsubscribe(topic) => link.unsubscribe(topic),
        Effect::Schema(type_name) => link.schema(type_name),
        Effect::EmergencyStop { engage } => {
            let id = link.emergency_stop(*engage, "operator at the console");
            tracing::warn!(engage, id, "emergency stop");
            return Some(Msg::StopSent { id, engage: *engage });
        }
        Effect::Suspend | Effect::Quit => {}
    }
    None
}

/// For a program that looks once: the best endpoint that answers, without waiting whether it stays
/// the best.
pub fn at_once(config: Config) -> Config {
    config.hasty()
}

/// A link and the model it fills.
#[derive(Debug)]
pub struct Watch {
    /// What is known.
    pub model: Model,
    link: Link,
    events: Events,
    clock: Clock,
}

impl Watch {
    /// Opens the link.
    pub fn open(config: Config) -> Watch {
        let (link, events) = Link::open(at_once(config));
        Watch { model: Model::default(), link, events, clock: Clock::start() }
    }

    /// Takes in what comes until `done` says so or the time is over.
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

    fn take(&mut self, first: Event) {
        self.send(Msg::Link(first));
        for _ in 0..BATCH {
            let Some(event) = self.events.try_next() else { return };
            self.send(Msg::Link(event));
        }
    }

    fn send(&mut self, msg: Msg) {
        for effect in update(&mut self.model, msg) {
            if let Some(msg) = perform(&self.link, &effect) {
                update(&mut self.model, msg);
            }
        }
    }
}
