//! The handle to a running link, and its stream of events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use roverline_protocol::native::ClientMessage;
use tokio::sync::mpsc;

use crate::dial::{self, Dialer};
use crate::manager::Manager;
use crate::{Config, Event};

/// Events that wait for a slow reader.
const EVENTS: usize = 8_192;
/// Requests that wait for the link.
const REQUESTS: usize = 1_024;

/// What a [`Link`] asks of its manager.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Subscribe { topic: String, max_rate_hz: Option<f64> },
    Unsubscribe { topic: String },
    Schema { type_name: String },
    EmergencyStop { id: String, engage: bool, reason: String },
    Ask { id: u64, message: ClientMessage },
    Unwatch { id: u64 },
}

/// The handle to a running link: cheap to clone; the link ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Link {
    requests: mpsc::Sender<Request>,
    commands: Arc<AtomicU64>,
}

/// The stream of events; must be read, as it is bounded: samples are dropped when it is full,
/// everything else waits.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` when the link has ended. Safe to cancel.
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
    pub fn open(config: Config) -> (Link, Events) {
        Link::over(config, dial::tcp())
    }

    /// The same over any kind of stream.
    pub(crate) fn over(config: Config, dial: Dialer) -> (Link, Events) {
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let (events, receiver) = mpsc::channel(EVENTS);
        tokio::spawn(Manager::new(config, dial, events).run(inbox));
        (Link { requests, commands: Arc::default() }, Events(receiver))
    }

    /// Asks for topics that match the glob (`*` stays within one name, `**` crosses `/`), at most
    /// `max_rate_hz` samples per second and topic. Holds across every switch of endpoints.
    pub fn subscribe(&self, topic: &str, max_rate_hz: Option<f64>) {
        self.request(Request::Subscribe { topic: topic.to_owned(), max_rate_hz });
    }

    /// Takes a subscription back.
    pub fn unsubscribe(&self, topic: &str) {
        self.request(Request::Unsubscribe { topic: topic.to_owned() });
    }

    /// Asks for a type's definition; the answer is an [`Event::Schema`], or an [`Event::Notice`]
    /// when the endpoint does not know the type.
    pub fn schema(&self, type_name: &str) {
        self.request(Request::Schema { type_name: type_name.to_owned() });
    }

    /// Engages (or releases) the emergency stop through every connected endpoint; returns the
    /// command's id. The endpoints carry an id out once; their answers are [`Event::Command`].
    pub fn emergency_stop(&self, engage: bool, reason: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let n = self.commands.fetch_add(1, Ordering::Relaxed);
        let id = format!("{now:x}-{}-{n}", std::process::id());
        self.emergency_stop_as(&id, engage, reason);
        id
    }

    /// The same under an id of the caller's, for one who passes a command on: said twice, it is
    /// carried out once.
    pub fn emergency_stop_as(&self, id: &str, engage: bool, reason: &str) {
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.request(Request::EmergencyStop { id, engage, reason });
    }

    /// Asks for what the HTTP API answers to this method and path, with the rights of this link; waits
    /// for an endpoint if there is none. Returns the number of the [`Event::Response`] to come. A
    /// `GET` is asked again when its endpoint is lost, anything else is answered with
    /// [`crate::REQUEST_LOST`] then: it may have been done.
    pub fn ask(&self, method: &str, path: &str, body: Option<serde_json::Value>) -> u64 {
        let id = self.commands.fetch_add(1, Ordering::Relaxed);
        let (method, path) = (method.to_owned(), path.to_owned());
        self.request(Request::Ask { id, message: ClientMessage::Request { id, method, path, body } });
        id
    }

    /// Asks for what a path answers now, and whenever that may have changed; holds across every switch
    /// of endpoints. Each answer is an [`Event::Response`] of the number that this returns.
    pub fn watch(&self, path: &str) -> u64 {
        let id = self.commands.fetch_add(1, Ordering::Relaxed);
        let path = path.to_owned();
        self.request(Request::Ask { id, message: ClientMessage::Watch { id, path } });
        id
    }

    /// Ends a watch.
    pub fn unwatch(&self, id: u64) {
        self.request(Request::Unwatch { id });
    }

    fn request(&self, request: Request) {
        if let Err(error) = self.requests.try_send(request) {
            tracing::warn!(%error, "the link does not take requests");
        }
    }
}
