//! Emergency stops requested of this link. An engage is repeated on every connection until an endpoint accepts it
//! or it is taken back. A release is sent once, where a connection is up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::native::ClientMessage;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::trace::RequestSpan;

/// Interval at which an unanswered engage is sent again on each connection.
const STOP_REPEAT_MS: u64 = 500;
/// Time after which a release that nobody answered is given up.
const RELEASE_TIMEOUT_MS: u64 = 5_000;
/// Stops that are kept. Of more than these the oldest one goes: the newer ones stop the rover as well.
const KEPT_REQUESTS: usize = 16;
/// While a stop is pending, the program is told about it this often.
const STOP_REPORT_MS: u64 = 1_000;

/// An emergency stop, or its release, that this link was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopView {
    /// The id that [`crate::Link::emergency_stop`] returned.
    pub id: String,
    /// True engages, false releases.
    pub engage: bool,
    /// The reason given.
    pub reason: String,
    /// Time since the request; it no longer grows once the request is settled.
    pub pending_for: Duration,
    /// The current state of the request.
    pub state: StopState,
}

impl StopView {
    /// Whether nothing more happens by itself.
    pub fn is_settled(&self) -> bool {
        !matches!(self.state, StopState::Pending | StopState::Refused { .. })
    }
}

/// The outcome of an emergency stop so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopState {
    /// Asked for, and not yet heard by the rover. An engage is sent again on every connection.
    Pending,
    /// This endpoint refused it; the others are still asked.
    Refused {
        /// The endpoint's URL.
        endpoint: String,
        /// Its reason.
        message: String,
    },
    /// An endpoint accepted it.
    Accepted {
        /// The endpoint's URL.
        endpoint: String,
        /// What the endpoint said.
        message: String,
    },
    /// Taken back: by [`crate::Link::withdraw_stop`], or by a release that was asked for later.
    Withdrawn,
    /// A release that no endpoint heard. It is not sent again.
    Unheard {
        /// Why.
        message: String,
    },
}

/// A stop, and when it was sent on which connection.
#[derive(Debug)]
struct Entry {
    view: StopView,
    asked_at: Instant,
    sent: BTreeMap<u64, Instant>,
    reported_at: Option<Instant>,
    span: RequestSpan,
}

/// The connections that are up: a stop is sent to each.
#[derive(Debug)]
struct Connection {
    url: String,
    sender: mpsc::Sender<ClientMessage>,
}

#[derive(Debug, Default)]
struct Requests {
    entries: Vec<Entry>,
    connections: BTreeMap<u64, Connection>,
}

/// The stops of a link, shared by its handles and its manager. A handle sends on the connections itself, so
/// that a stop waits neither for the request queue nor for events that the program has not read.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopRequests {
    shared: Arc<Mutex<Requests>>,
    changed: Arc<Notify>,
}

impl StopRequests {
    /// Asks for a stop or its release, and sends it where a connection is up.
    pub(crate) fn submit(&self, id: &str, engage: bool, reason: &str) {
        let now = Instant::now();
        let mut requests = self.shared.lock();
        if !engage {
            // The operator has decided anew.
            requests.withdraw_engages(now);
        }
        requests.make_room();
        let view = StopView {
            id: id.to_owned(),
            engage,
            reason: reason.to_owned(),
            pending_for: Duration::ZERO,
            state: StopState::Pending,
        };
        let span =
            RequestSpan::start(format!("emergency stop {}", if engage { "engage" } else { "release" }));
        let mut entry = Entry { view, asked_at: now, sent: BTreeMap::new(), reported_at: None, span };
        requests.connections.retain(|_, connection| !connection.sender.is_closed());
        entry.send_due(&requests.connections, now);
        requests.entries.push(entry);
        requests.give_up_releases(now);
        self.changed.notify_one();
    }

    /// Sends a command once on each connection that is up; its sender repeats it.
    pub(crate) fn forward(&self, id: &str, engage: bool, reason: &str, traceparent: Option<&str>) {
        let requests = self.shared.lock();
        let taken =
            requests.connections.values().filter(|one| one.send(id, engage, reason, traceparent)).count();
        tracing::debug!(id, engage, taken, "emergency stop forwarded");
    }

    /// Takes an unanswered stop back.
    pub(crate) fn withdraw(&self, id: &str) {
        let now = Instant::now();
        let mut requests = self.shared.lock();
        let pending = requests.entries.iter_mut().filter(|entry| entry.view.id == id);
        pending.for_each(|entry| entry.settle(StopState::Withdrawn, now));
        self.changed.notify_one();
    }

    /// All stops that are not settled, and the last one that is, oldest first.
    pub(crate) fn views(&self) -> Vec<StopView> {
        let now = Instant::now();
        self.shared.lock().entries.iter().map(|entry| entry.view_at(now)).collect()
    }

    /// A connection is up: it gets what is pending at once.
    pub(crate) fn connected(&self, connection: u64, url: &str, sender: mpsc::Sender<ClientMessage>) {
        let mut requests = self.shared.lock();
        requests.connections.insert(connection, Connection { url: url.to_owned(), sender });
        requests.send_due(Instant::now());
    }

    /// An endpoint answered. Returns the span of a stop that this settles.
    pub(crate) fn answered(&self, url: &str, id: &str, accepted: bool, message: &str) -> Option<RequestSpan> {
        let now = Instant::now();
        let mut requests = self.shared.lock();
        let mut settled = None;
        let asked = requests.entries.iter_mut().filter(|entry| entry.view.id == id);
        for entry in asked {
            if accepted && !entry.view.is_settled() {
                settled = Some(entry.span.clone());
            }
            let (endpoint, message) = (url.to_owned(), message.to_owned());
            match accepted {
                true => entry.settle(StopState::Accepted { endpoint, message }, now),
                false if !entry.view.is_settled() => {
                    entry.view.state = StopState::Refused { endpoint, message };
                    entry.reported_at = None;
                }
                false => {}
            }
        }
        settled
    }

    /// Sends again what is due, and returns what the program should be told.
    pub(crate) fn tick(&self) -> Vec<StopView> {
        let now = Instant::now();
        let mut requests = self.shared.lock();
        requests.send_due(now);
        requests.give_up_releases(now);
        let report = |entry: &mut Entry| {
            let due = match entry.reported_at {
                None => true,
                Some(at) => !entry.view.is_settled() && now - at >= Duration::from_millis(STOP_REPORT_MS),
            };
            due.then(|| {
                entry.reported_at = Some(now);
                entry.view_at(now)
            })
        };
        let views = requests.entries.iter_mut().filter_map(report).collect();
        requests.forget_old();
        views
    }

    /// Waits until a handle has asked for something.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Connection {
    /// Whether the connection has taken it. A full queue takes it later.
    fn send(&self, id: &str, engage: bool, reason: &str, traceparent: Option<&str>) -> bool {
        let (id, reason, traceparent) = (id.to_owned(), reason.to_owned(), traceparent.map(str::to_owned));
        self.sender.try_send(ClientMessage::EmergencyStop { id, engage, reason, traceparent }).is_ok()
    }
}

impl Entry {
    /// Sends on each connection that has not had it lately.
    fn send_due(&mut self, connections: &BTreeMap<u64, Connection>, now: Instant) {
        let repeat = Duration::from_millis(STOP_REPEAT_MS);
        let StopView { id, engage, reason, .. } = &self.view;
        let traceparent = self.span.traceparent();
        for (number, connection) in connections {
            let is_due = self.sent.get(number).is_none_or(|at| now - *at >= repeat);
            if is_due && connection.send(id, *engage, reason, Some(&traceparent)) {
                self.sent.insert(*number, now);
            }
        }
    }

    fn view_at(&self, now: Instant) -> StopView {
        let mut view = self.view.clone();
        if !view.is_settled() {
            view.pending_for = now - self.asked_at;
        }
        view
    }

    fn settle(&mut self, state: StopState, now: Instant) {
        if !self.view.is_settled() {
            self.view.pending_for = now - self.asked_at;
            self.view.state = state;
            self.reported_at = None;
        }
    }
}

impl Requests {
    fn withdraw_engages(&mut self, now: Instant) {
        for entry in self.entries.iter_mut().filter(|entry| entry.view.engage) {
            entry.settle(StopState::Withdrawn, now);
        }
    }

    fn make_room(&mut self) {
        if self.entries.len() >= KEPT_REQUESTS {
            let settled = self.entries.iter().position(|entry| entry.view.is_settled());
            self.entries.remove(settled.unwrap_or(0));
        }
    }

    fn send_due(&mut self, now: Instant) {
        self.connections.retain(|_, connection| !connection.sender.is_closed());
        // A release goes out on the connections of its moment, and never later.
        let open = self.entries.iter_mut().filter(|entry| entry.view.engage && !entry.view.is_settled());
        open.for_each(|entry| entry.send_due(&self.connections, now));
    }

    fn give_up_releases(&mut self, now: Instant) {
        let urls: Vec<&str> = self.connections.values().map(|connection| connection.url.as_str()).collect();
        for entry in self.entries.iter_mut().filter(|entry| !entry.view.engage) {
            let why = match &entry.view.state {
                _ if entry.sent.is_empty() => "no endpoint was connected".to_owned(),
                StopState::Refused { message, .. } => message.clone(),
                _ => format!("none of {} answered", urls.join(", ")),
            };
            let waited = now - entry.asked_at >= Duration::from_millis(RELEASE_TIMEOUT_MS);
            if waited || entry.sent.is_empty() {
                entry.settle(StopState::Unheard { message: why }, now);
            }
        }
    }

    /// Of what is settled and reported only the last one is kept.
    fn forget_old(&mut self) {
        let done = |entry: &Entry| entry.view.is_settled() && entry.reported_at.is_some();
        let last = self.entries.iter().rposition(|entry| entry.view.is_settled());
        let mut at = 0;
        self.entries.retain(|entry| {
            at += 1;
            !done(entry) || Some(at - 1) == last
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Inbox = mpsc::Receiver<ClientMessage>;

    fn connect(stops: &StopRequests, number: u64, capacity: usize) -> Inbox {
        let (sender, inbox) = mpsc::channel(capacity);
        stops.connected(number, &format!("ws://rover:{}", 8080 + number), sender);
        inbox
    }

    fn sent(inbox: &mut Inbox) -> Vec<(String, bool)> {
        let mut all = Vec::new();
        while let Ok(ClientMessage::EmergencyStop { id, engage, .. }) = inbox.try_recv() {
            all.push((id, engage));
        }
        all
    }

    async fn pass(stops: &StopRequests, ms: u64) -> Vec<StopView> {
        let mut views = Vec::new();
        for _ in 0..ms / 20 {
            tokio::time::advance(Duration::from_millis(20)).await;
            views.extend(stops.tick());
        }
        views
    }

    #[tokio::test(start_paused = true)]
    async fn an_engage_that_nobody_heard_is_sent_on_every_later_connection() {
        let stops = StopRequests::default();
        stops.submit("1", true, "test");
        assert_eq!(stops.views()[0].state, StopState::Pending);
        let told = pass(&stops, 60_000).await;
        assert!((55..=62).contains(&told.len()) && told.iter().all(|view| !view.is_settled()));
        assert!(stops.views()[0].pending_for >= Duration::from_secs(59));
        let mut first = connect(&stops, 0, 8);
        assert_eq!(sent(&mut first), [("1".to_owned(), true)], "at once");
        pass(&stops, 1_100).await;
        assert_eq!(sent(&mut first).len(), 2, "twice in 1.1 s");
        drop(first);
        let mut second = connect(&stops, 1, 8);
        assert_eq!(sent(&mut second).len(), 1);
        stops.answered("ws://rover:8081", "1", true, "emergency stop engaged");
        let told = pass(&stops, 5_000).await;
        assert!(matches!(&told[..], [StopView { state: StopState::Accepted { .. }, .. }]), "{told:?}");
        assert_eq!(sent(&mut second), []);
        assert_eq!(stops.views().len(), 1, "the last one stays");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_one_endpoint_ends_nothing() {
        let stops = StopRequests::default();
        let mut first = connect(&stops, 0, 8);
        stops.submit("1", true, "test");
        stops.answered("ws://rover:8080", "1", false, "you may not");
        assert!(!stops.views()[0].is_settled());
        let told = pass(&stops, 1_000).await;
        assert!(matches!(&told[0].state, StopState::Refused { message, .. } if message == "you may not"));
        assert!(sent(&mut first).len() >= 2);
        stops.answered("ws://rover:8081", "1", true, "engaged");
        // It came late.
        stops.answered("ws://rover:8080", "1", false, "you may not");
        assert!(matches!(stops.views()[0].state, StopState::Accepted { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_is_never_sent_later_and_takes_engages_back() {
        let stops = StopRequests::default();
        stops.submit("1", true, "test");
        stops.submit("2", false, "test");
        let states =
            |stops: &StopRequests| stops.views().into_iter().map(|view| view.state).collect::<Vec<_>>();
        assert!(matches!(&states(&stops)[..], [StopState::Withdrawn, StopState::Unheard { .. }]));
        let mut first = connect(&stops, 0, 8);
        pass(&stops, 2_000).await;
        assert_eq!(sent(&mut first), []);
        stops.submit("3", false, "test");
        assert_eq!(sent(&mut first), [("3".to_owned(), false)]);
        let mut second = connect(&stops, 1, 8);
        pass(&stops, 4_000).await;
        assert_eq!((sent(&mut first), sent(&mut second)), (vec![], vec![]));
        assert!(!stops.views().last().unwrap().is_settled());
        pass(&stops, 1_100).await;
        assert!(matches!(stops.views().last().unwrap().state, StopState::Unheard { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_withdrawn_engage_is_not_sent_and_a_full_queue_takes_it_later() {
        let stops = StopRequests::default();
        let mut stuck = connect(&stops, 0, 1);
        stops.forward("other", true, "fills the queue", None);
        stops.submit("1", true, "test");
        assert_eq!(sent(&mut stuck), [("other".to_owned(), true)]);
        stops.tick();
        assert_eq!(sent(&mut stuck), [("1".to_owned(), true)]);
        stops.withdraw("1");
        pass(&stops, 2_000).await;
        assert_eq!(sent(&mut stuck), []);
        assert_eq!(stops.views()[0].state, StopState::Withdrawn);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_bounded_and_the_newest_engage_stays() {
        let stops = StopRequests::default();
        for n in 0..1_000 {
            stops.submit(&n.to_string(), true, "test");
        }
        let views = stops.views();
        assert_eq!((views.len(), views.last().unwrap().id.as_str()), (KEPT_REQUESTS, "999"));
    }
}
