//! The handle.

use tokio::sync::mpsc;

use crate::{Config, Event};

/// The handle to a running link: cheap to clone; the link ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Link {}

/// The stream of events; must be read, as it is bounded (samples are dropped and counted when it
/// is full, everything else waits).
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` when the link has ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event if one is there now.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

impl Link {
    /// Starts the link on the current tokio runtime.
    pub fn open(_config: Config) -> (Link, Events) {
        let (_, receiver) = mpsc::channel(1);
        (Link {}, Events(receiver))
    }

    /// Asks for topics that match the glob, at most `max_rate_hz` samples per second and topic.
    pub fn subscribe(&self, _topic: &str, _max_rate_hz: Option<f64>) {}

    /// Takes a subscription back.
    pub fn unsubscribe(&self, _topic: &str) {}

    /// Asks for a type's definition; the answer is an [`Event::Schema`].
    pub fn schema(&self, _type_name: &str) {}

    /// Engages (or releases) the emergency stop through every connected endpoint; returns the
    /// command's id. The answers are [`Event::Command`].
    pub fn emergency_stop(&self, _engage: bool, _reason: &str) -> String {
        String::new()
    }
}
