//! Decides which endpoint is in use, and makes the switch.

mod drain;
mod liveness;
mod messages;
mod requests;
mod subscribing;
mod switch;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roverline_protocol::backoff::Jitter;
use roverline_protocol::native::{ClientMessage, TopicInfo};
use roverline_protocol::ranking::{Candidate, Selector, Stickiness, rank};
use roverline_protocol::resume::Cursors;
use roverline_protocol::{Guid, limits};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::activity::Ear;
use crate::connection::{self, Target, Told, What};
use crate::dial::Dialer;
use crate::endpoint::{Connection, Slot};
use crate::link::Request;
use crate::manager::switch::Switch;
use crate::suspend::Frozen;
use crate::{Config, Event, FailoverCause};

/// Messages from all connections that wait for the manager; behind them waits the network.
const INBOX: usize = 4_096;
const TICK: Duration = Duration::from_millis(20);
/// The endpoints are shown this often even when nothing changed.
const REFRESH: Duration = Duration::from_millis(500);
/// A first choice waits this long for endpoints that have not answered yet: the first to answer is
/// seldom the best.
const FIRST_CHOICE: Duration = Duration::from_millis(250);

/// The state of a link. Every endpoint has a row, and behind the rows, in the same order, a seat
/// for the connection to the successor of one that drains.
pub(crate) struct Manager {
    config: Config,
    dial: Dialer,
    events: mpsc::Sender<Event>,
    told: mpsc::Sender<Told>,
    inbox: mpsc::Receiver<Told>,
    connections: JoinSet<()>,
    next_connection: u64,
    next_subscribe: u64,
    jitter: Jitter,
    slots: Vec<Slot>,
    active: Option<usize>,
    /// The standby that is subscribed because the active one is suspect.
    backup: Option<usize>,
    /// The standby that delivers the emergency scope as well.
    hot: Option<usize>,
    selector: Selector,
    hot_selector: Selector,
    subscriptions: BTreeMap<String, Option<f64>>,
    asked: requests::Asked,
    cursors: Cursors,
    /// Writers heard since the subscriptions changed last: only of them is it known what is next.
    known: HashSet<Guid>,
    switch: Option<Switch>,
    /// When the stream in use was last without a gap, and how late that may have been known.
    contiguous: Option<(Duration, Duration)>,
    /// When all fell silent.
    radio: Option<Duration>,
    /// Until then a choice waits for endpoints that have not answered yet.
    gathering: Option<Duration>,
    /// Since when no endpoint is in use.
    unused_since: Option<Duration>,
    /// That nothing is in use was told.
    dark: bool,
    frozen: Frozen,
    start: Instant,
    ticked_at: Duration,
    shown_at: Duration,
    changed: bool,
}

impl Manager {
    pub(crate) fn new(config: Config, dial: Dialer, events: mpsc::Sender<Event>) -> Manager {
        let slot = |url: &String| Slot::new(url.clone(), &config.timings);
        let slots = config.endpoints.iter().chain(&config.endpoints).map(slot).collect();
        let selector = Selector::new(Stickiness { hold: config.timings.hold, ..Stickiness::default() });
        let (told, inbox) = mpsc::channel(INBOX);
        Manager {
            jitter: Jitter::new(config.seed),
            dial,
            events,
            told,
            inbox,
            connections: JoinSet::new(),
            next_connection: 0,
            next_subscribe: 0,
            slots,
            active: None,
            backup: None,
            hot: None,
            hot_selector: selector.clone(),
            selector,
            subscriptions: BTreeMap::new(),
            asked: requests::Asked::default(),
            cursors: Cursors::default(),
            known: HashSet::new(),
            switch: None,
            contiguous: None,
            radio: None,
            gathering: Some(FIRST_CHOICE),
            unused_since: None,
            dark: true,
            frozen: Frozen::new(),
            start: Instant::now(),
            ticked_at: Duration::ZERO,
            shown_at: Duration::ZERO,
            changed: true,
            config,
        }
    }

    /// Until every [`crate::Link`] is dropped, or nobody reads the events.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            self.frozen.awake();
            let told = tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some(request) => {
                        self.request(request).await;
                        None
                    }
                    None => return,
                },
                told = self.inbox.recv() => told,
                _ = tick.tick() => None,
            };
            self.thaw();
            if let Some(told) = told {
                self.told(told).await;
                // Whatever else arrived in the meantime counts before silence does.
                for _ in 0..256 {
                    let Ok(told) = self.inbox.try_recv() else { break };
                    self.told(told).await;
                }
            }
            // A tick of its own would starve under a flood of samples.
            if self.now().saturating_sub(self.ticked_at) >= TICK || self.ticked_at.is_zero() {
                self.ticked_at = self.now().max(Duration::from_nanos(1));
                self.tick().await;
            }
            if self.events.is_closed() {
                return;
            }
            self.show().await;
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// How many endpoints there are; the seats of their successors follow.
    fn rows(&self) -> usize {
        self.config.endpoints.len()
    }

    async fn request(&mut self, request: Request) {
        match request {
            Request::Subscribe { topic, max_rate_hz } => {
                self.subscriptions.insert(topic.clone(), max_rate_hz);
                self.known.clear();
                self.say_subscribe(&topic, max_rate_hz);
            }
            Request::Unsubscribe { topic } => {
                self.subscriptions.remove(&topic);
                self.known.clear();
                for slot in self.slots.iter().filter(|slot| slot.session.subscribed || slot.session.hot) {
                    slot.say(ClientMessage::Unsubscribe { topics: vec![topic.clone()] });
                }
            }
            Request::Schema { type_name } => {
                if let Some(active) = self.active {
                    self.slots[active].say(ClientMessage::Schema { type_name });
                }
            }
            Request::Ask { id, message } => self.ask(id, message).await,
            Request::Unwatch { id } => self.unwatch(id),
            Request::EmergencyStop { id, engage, reason } => {
                for slot in &self.slots {
                    let (id, reason) = (id.clone(), reason.clone());
                    slot.say(ClientMessage::EmergencyStop { id, engage, reason });
                }
            }
        }
    }

    async fn told(&mut self, told: Told) {
        let now = self.now();
        // What a connection said that was dropped in the meantime does not count.
        let current = |slot: &Slot| slot.connection.as_ref().is_some_and(|c| c.id == told.connection);
        let Some(at) = self.slots.iter().position(current) else { return };
        match told.what {
            What::Up(say, ear) => {
                self.slots[at].up(say, ear, now);
                self.hello(at, limits::STANDBY_HEARTBEAT_MS);
            }
            What::Down(ending) => {
                let cause = match ending {
                    connection::Ending::Drained => FailoverCause::Drain,
                    _ => FailoverCause::Closed,
                };
                let heard_at = self.slots[at].session.heard_at;
                self.slots[at].ended(ending, now, || self.jitter.unit());
                self.changed = true;
                self.lost(at, cause, heard_at).await;
            }
            What::Binary(binary) => {
                self.heard(at, now);
                self.binary(at, binary, now).await;
            }
            What::Text(message) => {
                self.heard(at, now);
                self.message(at, *message, now).await;
            }
        }
    }

    fn heard(&mut self, at: usize, now: Duration) {
        self.slots[at].heard(now);
        if self.active == Some(at) && self.switch.is_none() {
            let late = self.slots[at].session.estimate.rtt().unwrap_or_default();
            self.contiguous = Some((now, late.saturating_mul(2)));
        }
    }

    /// Connects every endpoint that has no connection and may have one.
    fn connect(&mut self, now: Duration) {
        while self.connections.try_join_next().is_some() {}
        let any_usable = self.slots.iter().any(|slot| slot.usable(now));
        for at in 0..self.slots.len() {
            let wanted = at < self.rows() || self.slots[at - self.rows()].session.leaving.is_some();
            let slot = &mut self.slots[at];
            // An open breaker is respected only while there is something better.
            let admitted = slot.breaker.admits(now) || !any_usable;
            if wanted && admitted && slot.connection.is_none() && now >= slot.retry_at {
                let (id, patience) = (self.next_connection, self.config.timings.connect);
                self.next_connection += 1;
                let (url, token) = (slot.url.clone(), self.config.token.clone());
                let target = Target { url, token, ear: Ear::new(self.start) };
                let run = connection::run(id, target, patience, self.dial.clone(), self.told.clone());
                let task = self.connections.spawn(run);
                slot.connection = Some(Connection { id, task });
                self.changed = true;
            }
        }
    }

    /// All slots as the ranking sees them. A seat counts only while it is in use.
    fn candidates(&mut self, now: Duration) -> Vec<Candidate> {
        let (rows, active, timings) = (self.rows(), self.active, self.config.timings);
        let of = |(at, slot): (usize, &mut Slot)| {
            let mut candidate = slot.candidate(&timings, now);
            candidate.usable &= at < rows || active == Some(at);
            candidate
        };
        self.slots.iter_mut().enumerate().map(of).collect()
    }

    async fn tell(&self, event: Event) {
        // An error means that nobody listens any more; `run` sees that.
        let _ = self.events.send(event).await;
    }

    async fn tell_topics(&self) {
        let Some(active) = self.active else { return };
        let mut topics: Vec<TopicInfo> =
            self.slots[active].session.topics.values().map(|info| (**info).clone()).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        self.tell(Event::Topics(topics.into())).await;
    }

    /// Shows the endpoints when something changed, and now and then.
    async fn show(&mut self) {
        let now = self.now();
        self.show_breakers(now).await;
        if !self.changed && now.saturating_sub(self.shown_at) < REFRESH {
            return;
        }
        self.changed = false;
        self.shown_at = now;
        let rows = self.rows();
        let mut candidates = self.candidates(now);
        candidates.truncate(rows);
        let order = rank(&candidates, self.config.scopes);
        let view = |(place, row): (usize, usize)| {
            let seat = row + rows;
            let at = if self.active == Some(seat) { seat } else { row };
            self.slots[at].view(place + 1, self.active == Some(at), now)
        };
        let views: Vec<_> = order.into_iter().enumerate().map(view).collect();
        self.tell(Event::Endpoints(views.into())).await;
    }

    async fn show_breakers(&mut self, now: Duration) {
        for row in 0..self.rows() {
            let slot = &mut self.slots[row];
            let state = slot.breaker.state(now);
            if state != slot.shown_breaker {
                slot.shown_breaker = state;
                let url = slot.url.clone();
                self.changed = true;
                tracing::info!(url, state = state.word(), "circuit breaker");
                self.tell(Event::Breaker { url, state }).await;
            }
        }
    }
}

fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
