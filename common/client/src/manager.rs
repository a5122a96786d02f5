//! The failover state machine: decides which endpoint is in use and performs the switch.

mod certificates;
mod drain;
mod liveness;
mod messages;
mod requests;
mod subscribing;
mod switch;

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::limits;
use crate::ranking::{Candidate, Selector, Stickiness, rank};
use roverline_protocol::backoff::Jitter;
use roverline_protocol::native::{ClientMessage, PublishMessage, TopicInfo};
use roverline_protocol::resume::Cursors;
use roverline_protocol::trace::SampleTimes;
use roverline_protocol::{Guid, ScopeSet};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::activity::ActivityClock;
use crate::connection::{self, ConnectionEvent, ConnectionEventKind, DisconnectReason, Senders, Target};
use crate::dial::Dialer;
use crate::endpoint::{Connection, EndpointState};
use crate::manager::certificates::ReportedCertificate;
use crate::manager::switch::Switch;
use crate::publications::Publication;
use crate::request::{Request, SharedRequests};
use crate::sample_receipt::ReportPacing;
use crate::subscriptions::ByPattern;
use crate::suspend::SuspendDetector;
use crate::tls::Connectors;
use crate::{Config, Event, FailoverCause};

/// Capacity of the queue from all connections; when it is full, TCP flow control takes over.
const INBOX: usize = 4_096;
const TICK: Duration = Duration::from_millis(20);
/// The endpoints are published this often even without a change.
const REFRESH: Duration = Duration::from_millis(500);
/// The initial choice waits this long for endpoints that have not answered yet: the first to answer
/// is seldom the best.
const FIRST_CHOICE: Duration = Duration::from_millis(250);

/// State of a link. `slots` holds one entry per endpoint, followed, in the same order, by one for
/// the connection to the successor of a draining endpoint.
pub(crate) struct Manager {
    config: Config,
    dial: Dialer,
    tls: Connectors,
    events: mpsc::Sender<Event>,
    connection_events: mpsc::Sender<ConnectionEvent>,
    inbox: mpsc::Receiver<ConnectionEvent>,
    next_connection: u64,
    next_subscribe: u64,
    jitter: Jitter,
    slots: Vec<EndpointState>,
    active: Option<usize>,
    /// The standby that is subscribed because the active endpoint is suspect.
    backup: Option<usize>,
    /// The hot standby, which delivers the emergency scope as well.
    hot: Option<usize>,
    selector: Selector,
    hot_selector: Selector,
    shared: SharedRequests,
    /// The subscriptions that were sent to the endpoints.
    subscriptions: ByPattern,
    /// The scopes of the topics that they brought.
    followed: ScopeSet,
    sample_reports: ReportPacing,
    pending: requests::PendingRequests,
    cursors: Cursors,
    /// Writers seen since the last change of subscriptions: gaps can be detected for these only.
    known: HashSet<Guid>,
    switch: Option<Switch>,
    /// When the stream in use was last without a gap, and the possible delay of that knowledge.
    contiguous: Option<(Duration, Duration)>,
    /// When all links fell silent.
    radio: Option<Duration>,
    /// Until then the choice waits for endpoints that have not answered yet.
    gathering: Option<Duration>,
    /// Since when no endpoint is in use.
    unused_since: Option<Duration>,
    /// Whether the loss of all endpoints has been reported.
    outage_reported: bool,
    /// Whether the program was told that its token is not known.
    token_reported: bool,
    reported_certificate: ReportedCertificate,
    suspend: SuspendDetector,
    start: Instant,
    ticked_at: Duration,
    shown_at: Duration,
    changed: bool,
}

impl Manager {
    pub(crate) fn new(
        config: Config,
        dial: Dialer,
        events: mpsc::Sender<Event>,
        shared: SharedRequests,
    ) -> Manager {
        let slot = |url: &String| EndpointState::new(url.clone(), &config.timings);
        let slots = config.endpoints.iter().chain(&config.endpoints).map(slot).collect();
        let selector = Selector::new(Stickiness { hold: config.timings.hold, ..Stickiness::default() });
        let (connection_events, inbox) = mpsc::channel(INBOX);
        Manager {
            jitter: Jitter::new(config.seed),
            dial,
            tls: Connectors::new(&config.tls),
            events,
            connection_events,
            inbox,
            next_connection: 0,
            next_subscribe: 0,
            slots,
            active: None,
            backup: None,
            hot: None,
            hot_selector: selector.clone(),
            selector,
            shared,
            subscriptions: ByPattern::new(),
            followed: ScopeSet::EMPTY,
            sample_reports: ReportPacing::default(),
            pending: requests::PendingRequests::default(),
            cursors: Cursors::default(),
            known: HashSet::new(),
            switch: None,
            contiguous: None,
            radio: None,
            gathering: Some(FIRST_CHOICE),
            unused_since: None,
            outage_reported: true,
            token_reported: false,
            reported_certificate: None,
            suspend: SuspendDetector::new(),
            start: Instant::now(),
            ticked_at: Duration::ZERO,
            shown_at: Duration::ZERO,
            changed: true,
            config,
        }
    }

    /// Runs until every [`crate::Link`] is dropped or the event stream is closed.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            self.suspend.reset();
            let event = tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some(Request::Close) => return self.close().await,
                    Some(request) => {
                        self.on_request(request).await;
                        None
                    }
                    None => return,
                },
                event = self.inbox.recv() => event,
                () = self.shared.stops.changed() => None,
                () = self.shared.subscriptions.changed() => None,
                _ = tick.tick() => None,
            };
            self.handle_suspend();
            self.apply_subscriptions().await;
            if let Some(event) = event {
                self.on_connection_event(event).await;
                // Process everything that has arrived before judging silence.
                for _ in 0..256 {
                    let Ok(event) = self.inbox.try_recv() else { break };
                    self.on_connection_event(event).await;
                }
            }
            // A separate timer branch would starve under a flood of samples.
            if self.now().saturating_sub(self.ticked_at) >= TICK || self.ticked_at.is_zero() {
                self.ticked_at = self.now().max(Duration::from_nanos(1));
                self.tick().await;
            }
            if self.events.is_closed() {
                return;
            }
            for view in self.shared.stops.tick() {
                self.emit(Event::Stop(view)).await;
            }
            self.publish_waiting();
            self.publish_view().await;
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Number of endpoints; the entries of their successors follow.
    fn endpoint_count(&self) -> usize {
        self.config.endpoints.len()
    }

    async fn on_request(&mut self, request: Request) {
        match request {
            Request::Schema { type_name } => {
                if let Some(active) = self.active {
                    self.slots[active].send(ClientMessage::Schema { type_name });
                }
            }
            Request::Submit { id, message } => self.submit(id, message).await,
            Request::Unwatch { id } => self.unwatch(id),
            // After each request.
            Request::Publish => {}
            Request::SampleTimes { connection, times } => self.report_sample(connection, times),
            Request::Close => {}
        }
    }

    /// Closes the connections to endpoints that may not have read the last spans, and waits for their answers.
    async fn close(mut self) {
        let unread = |slot: &&EndpointState| slot.session.reported;
        let connections = self.slots.iter().filter(unread).filter_map(|slot| slot.connection.as_ref());
        let mut closing: HashSet<u64> = HashSet::new();
        for connection in connections {
            connection.closing.cancel();
            closing.insert(connection.id);
        }
        while !closing.is_empty()
            && let Some(event) = self.inbox.recv().await
        {
            if matches!(event.kind, ConnectionEventKind::Down(_)) {
                closing.remove(&event.connection);
            }
        }
    }

    async fn on_connection_event(&mut self, event: ConnectionEvent) {
        let now = self.now();
        // Ignore messages of a connection that was dropped in the meantime.
        let current =
            |slot: &EndpointState| slot.connection.as_ref().is_some_and(|c| c.id == event.connection);
        let Some(at) = self.slots.iter().position(current) else { return };
        match event.kind {
            ConnectionEventKind::Up(Senders { messages, stops }, activity) => {
                self.slots[at].on_connected(messages, activity, now);
                self.send_hello(at, limits::STANDBY_HEARTBEAT_MS);
                self.shared.stops.connected(event.connection, &self.slots[at].url, stops);
            }
            ConnectionEventKind::Down(reason) => {
                let cause = match reason {
                    DisconnectReason::Drained => FailoverCause::Drain,
                    _ => FailoverCause::Closed,
                };
                self.report_refusal(&reason).await;
                let last_heard = self.slots[at].session.last_heard;
                self.slots[at].on_disconnected(reason, now, || self.jitter.unit());
                self.changed = true;
                self.on_lost(at, cause, last_heard).await;
            }
            ConnectionEventKind::FirstUse(first) => self.on_first_use(first).await,
            ConnectionEventKind::UnusableFiles(error) => self.on_unusable_files(&error).await,
            ConnectionEventKind::Binary(binary) => {
                self.on_activity(at, now);
                self.on_binary(at, binary, now).await;
            }
            ConnectionEventKind::Text(message) => {
                self.on_activity(at, now);
                self.on_message(at, *message, now).await;
            }
        }
    }

    fn on_activity(&mut self, at: usize, now: Duration) {
        self.slots[at].note_activity(now);
        if self.active == Some(at) && self.switch.is_none() {
            let late = self.slots[at].session.estimate.rtt().unwrap_or_default();
            self.contiguous = Some((now, late.saturating_mul(2)));
        }
    }

    /// Connects every endpoint that needs a connection and may have one.
    fn connect(&mut self, now: Duration) {
        let any_usable = self.slots.iter().any(|slot| slot.usable(now));
        for at in 0..self.slots.len() {
            let needed = at < self.endpoint_count()
                || self.slots[at - self.endpoint_count()].session.draining.is_some();
            let slot = &mut self.slots[at];
            // An open breaker is respected only while there is something better.
            let admitted = slot.breaker.admits(now) || !any_usable;
            if needed && admitted && slot.connection.is_none() && now >= slot.retry_at {
                let (id, timeout) = (self.next_connection, self.config.timings.connect);
                self.next_connection += 1;
                let token = self.config.token.clone().filter(|_| !slot.token_refused);
                let url = slot.url.clone();
                let tls = self.tls.clone();
                let closing = CancellationToken::new();
                let activity = ActivityClock::new(self.start);
                let target = Target { url, token, tls, activity, closing: closing.clone() };
                let run =
                    connection::run(id, target, timeout, self.dial.clone(), self.connection_events.clone());
                slot.connection = Some(Connection::spawn(id, closing, run));
                self.changed = true;
            }
        }
    }

    /// All entries as the ranking sees them. A successor counts only while it is in use.
    fn candidates(&mut self, now: Duration) -> Vec<Candidate> {
        let (rows, active, timings) = (self.endpoint_count(), self.active, self.config.timings);
        let followed = self.followed;
        let of = |(at, slot): (usize, &mut EndpointState)| {
            let mut candidate = slot.candidate(&timings, followed, now);
            candidate.usable &= at < rows || active == Some(at);
            candidate
        };
        self.slots.iter_mut().enumerate().map(of).collect()
    }

    async fn emit(&self, event: Event) {
        // An error means that the event stream is closed; `run` notices that.
        let _ = self.events.send(event).await;
    }

    async fn emit_topics(&self) {
        let Some(active) = self.active else { return };
        let mut topics: Vec<TopicInfo> =
            self.slots[active].session.topics.values().map(|info| (**info).clone()).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        self.emit(Event::Topics(topics.into())).await;
    }

    /// Publishes the endpoints when something changed, and periodically.
    async fn publish_view(&mut self) {
        let now = self.now();
        self.publish_breakers(now).await;
        if !self.changed && now.saturating_sub(self.shown_at) < REFRESH {
            return;
        }
        self.changed = false;
        self.shown_at = now;
        let rows = self.endpoint_count();
        let mut candidates = self.candidates(now);
        candidates.truncate(rows);
        let order = rank(&candidates, self.config.scopes);
        let view = |(index, row): (usize, usize)| {
            let successor = row + rows;
            let at = if self.active == Some(successor) { successor } else { row };
            self.slots[at].view(index + 1, self.active == Some(at), now)
        };
        let views: Vec<_> = order.into_iter().enumerate().map(view).collect();
        self.emit(Event::Endpoints(views.into())).await;
    }

    async fn publish_breakers(&mut self, now: Duration) {
        for row in 0..self.endpoint_count() {
            let slot = &mut self.slots[row];
            let state = slot.breaker.state(now);
            if state != slot.shown_breaker {
                slot.shown_breaker = state;
                let url = slot.url.clone();
                self.changed = true;
                tracing::info!(url, state = state.word(), "circuit breaker");
                self.emit(Event::Breaker { url, state }).await;
            }
        }
    }
}

impl Manager {
    /// Sends the times of a traced sample to the endpoint that sent it, if the connection takes them now.
    fn report_sample(&mut self, connection: u64, times: SampleTimes) {
        let is_same =
            |slot: &&mut EndpointState| slot.connection.as_ref().is_some_and(|c| c.id == connection);
        if let Some(slot) = self.slots.iter_mut().find(is_same) {
            slot.send_now(ClientMessage::SampleTimes { samples: vec![times] });
        }
    }
}

impl Manager {
    /// Sends the newest messages through the serving endpoint, as far as its connection takes them now.
    fn publish_waiting(&mut self) {
        let Some(active) = self.active.filter(|_| self.shared.publications.is_waiting()) else { return };
        let publications = self.shared.publications.clone();
        let slot = &mut self.slots[active];
        while let Some((topic, publication, age)) = publications.take(Instant::now()) {
            let message = publish_message(&topic, &publication, age, slot.session.clock.seconds());
            if !slot.send_now(ClientMessage::Publish(message)) {
                let at = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
                return publications.put_back(topic, publication, at);
            }
        }
    }
}

/// The message on the wire. When it left the client is said by the endpoint's clock, if that is known.
fn publish_message(
    topic: &str,
    publication: &Publication,
    age: Duration,
    offset_s: Option<f64>,
) -> PublishMessage {
    PublishMessage {
        topic: topic.to_owned(),
        type_name: publication.type_name.clone(),
        body: publication.body.clone(),
        sent_ns: left_ns(age, offset_s),
        ttl_ms: Some(u64::try_from(publication.ttl.as_millis()).unwrap_or(u64::MAX).max(1)),
        token: publication.token,
    }
}

/// When something of this age left the client, by the endpoint's clock; `None` if that is not known.
fn left_ns(age: Duration, offset_s: Option<f64>) -> Option<i64> {
    let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    offset_s.map(|offset_s| unix_ns().saturating_add((offset_s * 1e9) as i64).saturating_sub(age_ns))
}

fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
