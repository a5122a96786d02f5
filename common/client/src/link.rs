//! The handle to a running link, and its event stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roverline_protocol::native::ClientMessage;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::dial::{self, Dialer};
use crate::manager::Manager;
use crate::publications::{Publication, Publications};
use crate::request::{Request, SharedRequests};
use crate::stop::StopRequests;
use crate::subscriptions::Subscriptions;
use crate::{Config, Event, SampleReceipt, StopView};

/// Capacity of the event stream.
const EVENT_CAPACITY: usize = 8_192;
/// Longest wait of a closing link for endpoints to read what it has sent.
const CLOSE_MS: u64 = 200;
/// Capacity of the request queue.
const REQUEST_CAPACITY: usize = 1_024;

/// The handle to a running link. Cheap to clone; the link ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Link {
    requests: mpsc::Sender<Request>,
    commands: Arc<AtomicU64>,
    stops: StopRequests,
    subscriptions: Subscriptions,
    publications: Publications,
    lost: Arc<AtomicUsize>,
}

/// The event stream. The program must read it, as it is bounded: when it is full, samples are
/// dropped and all other events wait.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` when the link has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event, if one is available now.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

impl Link {
    /// Starts the link on the current tokio runtime.
    pub fn open(config: Config) -> (Link, Events) {
        Link::with_dialer(config, dial::tcp())
    }

    /// Starts the link over any kind of stream.
    pub(crate) fn with_dialer(config: Config, dial: Dialer) -> (Link, Events) {
        let (requests, inbox) = mpsc::channel(REQUEST_CAPACITY);
        let (events, receiver) = mpsc::channel(EVENT_CAPACITY);
        let link = Link {
            requests,
            commands: Arc::default(),
            stops: StopRequests::default(),
            subscriptions: Subscriptions::default(),
            publications: Publications::default(),
            lost: Arc::default(),
        };
        let shared = SharedRequests {
            stops: link.stops.clone(),
            subscriptions: link.subscriptions.clone(),
            publications: link.publications.clone(),
            lost: link.lost.clone(),
        };
        tokio::spawn(Manager::new(config, dial, events, shared).run(inbox));
        (link, Events(receiver))
    }

    /// Subscribes to the topics that match the glob (`*` stays within one name, `**` crosses `/`),
    /// at most `max_rate_hz` samples per second and topic. Holds across every switch of endpoints.
    pub fn subscribe(&self, topic: &str, max_rate_hz: Option<f64>) {
        self.subscribe_all(&[topic], max_rate_hz);
    }

    /// Subscribes to several globs with one message. What an endpoint would not take (an invalid
    /// glob, or more than 1024 of them) is an [`Event::Notice`].
    pub fn subscribe_all<S: AsRef<str>>(&self, topics: &[S], max_rate_hz: Option<f64>) {
        self.subscriptions.subscribe(topics, max_rate_hz);
    }

    /// Removes a subscription.
    pub fn unsubscribe(&self, topic: &str) {
        self.unsubscribe_all(&[topic]);
    }

    /// Removes several subscriptions with one message.
    pub fn unsubscribe_all<S: AsRef<str>>(&self, topics: &[S]) {
        self.subscriptions.unsubscribe(topics);
    }

    /// Requests a type definition. The answer is an [`Event::Schema`], or an [`Event::Notice`] if
    /// the endpoint does not know the type.
    pub fn schema(&self, type_name: &str) {
        self.send(Request::Schema { type_name: type_name.to_owned() });
    }

    /// Engages (or releases) the emergency stop through every connected endpoint and returns the
    /// command id. An engage is sent again, also on connections that come later, until an endpoint has
    /// accepted it or it is taken back; a release is sent once. Each endpoint answers with an
    /// [`Event::Command`], and [`Event::Stop`] reports its state.
    ///
    /// ```no_run
    /// # async fn example(link: roverline_client::Link, mut events: roverline_client::Events) {
    /// use roverline_client::Event;
    /// let command = link.emergency_stop(true, "obstacle ahead");
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         Event::Command { id, accepted: true, .. } if id == command => break,
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    pub fn emergency_stop(&self, engage: bool, reason: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let n = self.commands.fetch_add(1, Ordering::Relaxed);
        let id = format!("{now:x}-{}-{n}", std::process::id());
        self.stops.submit(&id, engage, reason);
        id
    }

    /// Sends a command of the emergency stop once, with the id and the trace context of a caller who repeats it
    /// himself.
    pub fn emergency_stop_as(&self, id: &str, engage: bool, reason: &str, traceparent: Option<&str>) {
        self.stops.forward(id, engage, reason, traceparent);
    }

    /// Takes an unanswered emergency stop back: it is not sent again. If an endpoint has heard it already,
    /// the rover stays stopped.
    pub fn withdraw_stop(&self, id: &str) {
        self.stops.withdraw(id);
    }

    /// The emergency stops that are not settled, and the last one that is, oldest first.
    pub fn stops(&self) -> Vec<StopView> {
        self.stops.views()
    }

    /// Sends a request to the HTTP API, with this link's role, and returns the number of its
    /// [`Event::Response`]. Waits for an endpoint if there is none. If the endpoint is lost first,
    /// a `GET` is repeated at the next one; anything else is answered with [`crate::REQUEST_LOST`],
    /// since it may have been executed.
    ///
    /// ```no_run
    /// # async fn example(link: roverline_client::Link, mut events: roverline_client::Events) {
    /// use roverline_client::Event;
    /// let request = link.request("GET", "/api/v2/locks", None);
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         Event::Response { id, status, body } if id == request => {
    ///             println!("{status} {body}");
    ///             break;
    ///         }
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    pub fn request(&self, method: &str, path: &str, body: Option<serde_json::Value>) -> u64 {
        self.request_in(method, path, body, None)
    }

    /// The same, caused by a span of the program (W3C `traceparent`), whose trace it belongs to.
    pub fn request_in(
        &self,
        method: &str,
        path: &str,
        body: Option<serde_json::Value>,
        traceparent: Option<&str>,
    ) -> u64 {
        let traceparent = traceparent.map(str::to_owned);
        let id = self.commands.fetch_add(1, Ordering::Relaxed);
        let (method, path) = (method.to_owned(), path.to_owned());
        self.send(Request::Submit {
            id,
            message: ClientMessage::Request { id, method, path, body, traceparent },
        });
        id
    }

    /// Publishes a message through the serving endpoint. Of each topic the newest message counts: one that could not be
    /// sent yet is replaced, and what has waited for longer than `ttl` is not sent, nor published if it arrives later. What
    /// an endpoint does not publish is an [`Event::Notice`], once a second at most. `token` is the fencing token of the
    /// lock that this program holds, if the topic is guarded.
    pub fn publish(
        &self,
        topic: &str,
        type_name: &str,
        body: serde_json::Value,
        ttl: Duration,
        token: Option<u64>,
    ) {
        let publication = Publication { type_name: type_name.to_owned(), body, ttl, token };
        if self.publications.put(topic, publication, Instant::now()) {
            // A full queue has such a request already, or the link is lost.
            let _ = self.requests.try_send(Request::Publish);
        }
    }

    /// Watches an API path: reads it now and again whenever the result may have changed. Holds
    /// across every switch of endpoints. Each result is an [`Event::Response`] with the returned
    /// number.
    pub fn watch(&self, path: &str) -> u64 {
        let id = self.commands.fetch_add(1, Ordering::Relaxed);
        let path = path.to_owned();
        self.send(Request::Submit { id, message: ClientMessage::Watch { id, path } });
        id
    }

    /// Ends a watch.
    pub fn unwatch(&self, id: u64) {
        self.send(Request::Unwatch { id });
    }

    /// Reports when a traced sample was decoded and when it was on the screen, both counted from its arrival
    /// ([`SampleReceipt::elapsed`]). A report that cannot be sent at once is dropped.
    pub fn report_sample(&self, receipt: &SampleReceipt, decoded: Option<Duration>, drawn: Option<Duration>) {
        let (connection, times) = (receipt.connection, receipt.times(decoded, drawn));
        let _ = self.requests.try_send(Request::SampleTimes { connection, times });
    }

    /// Ends the link, and returns when its endpoints have read the spans of its last requests, after 200 ms at the
    /// latest, or at once if there are none. A link that is merely dropped may lose them. Requests that are not
    /// answered are given up.
    pub async fn close(self, mut events: Events) {
        if self.requests.try_send(Request::Close).is_ok() {
            // The link ends the stream when it has ended itself.
            let ended = async { while events.next().await.is_some() {} };
            let _ = tokio::time::timeout(Duration::from_millis(CLOSE_MS), ended).await;
        }
    }

    fn send(&self, request: Request) {
        if let Err(error) = self.requests.try_send(request) {
            // The manager reports it.
            self.lost.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "the link does not take requests");
        }
    }
}
