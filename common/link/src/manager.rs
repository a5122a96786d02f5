//! Decides which endpoint is in use, and makes the switch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roverline_protocol::ScopeSet;
use roverline_protocol::native::{
    Binary, ClientMessage, FLAG_STORED, Level, SampleHeader, ServerMessage, TopicInfo,
};
use roverline_protocol::ranking::{Selector, Stickiness, rank};
use roverline_protocol::resume::Cursors;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::connection::{self, Told, What};
use crate::link::Request;
use crate::slot::Slot;
use crate::{Config, Event, FailoverCause, LinkSample};

/// Messages from all connections that wait for the manager; behind them waits the network.
const INBOX: usize = 4_096;
const TICK: Duration = Duration::from_millis(20);
/// The endpoints are shown this often even when nothing changed.
const REFRESH: Duration = Duration::from_millis(500);

mod switch;

use switch::Switch;

pub(crate) struct Manager {
    config: Config,
    events: mpsc::Sender<Event>,
    slots: Vec<Slot>,
    active: Option<usize>,
    /// The standby that is subscribed because the active one is suspect.
    backup: Option<usize>,
    /// When the first sample came through it.
    backup_since: Option<Duration>,
    selector: Selector,
    subscriptions: BTreeMap<String, Option<f64>>,
    cursors: Cursors,
    switch: Option<Switch>,
    start: Instant,
    shown_at: Duration,
    changed: bool,
    /// No endpoint has been in use yet.
    first: bool,
}

impl Manager {
    pub(crate) fn new(config: Config, events: mpsc::Sender<Event>) -> Manager {
        let slots = config.endpoints.iter().cloned().map(Slot::new).collect();
        let stickiness = Stickiness { hold: config.timings.hold, ..Stickiness::default() };
        Manager {
            config,
            events,
            slots,
            active: None,
            backup: None,
            backup_since: None,
            selector: Selector::new(stickiness),
            subscriptions: BTreeMap::new(),
            cursors: Cursors::default(),
            switch: None,
            start: Instant::now(),
            shown_at: Duration::ZERO,
            changed: true,
            first: true,
        }
    }

    /// Until every [`crate::Link`] is dropped, or nobody reads the events.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let (told, mut inbox) = mpsc::channel(INBOX);
        let mut connections = JoinSet::new();
        for (slot, url) in self.config.endpoints.iter().enumerate() {
            connections.spawn(connection::run(slot, url.clone(), self.config.timings, told.clone()));
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some(request) => self.request(request),
                    None => return,
                },
                Some(told) = inbox.recv() => {
                    self.told(told).await;
                    // Whatever else arrived in the meantime counts before silence does.
                    for _ in 0..256 {
                        let Ok(told) = inbox.try_recv() else { break };
                        self.told(told).await;
                    }
                }
                _ = tick.tick() => self.tick().await,
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

    fn request(&mut self, request: Request) {
        match request {
            Request::Subscribe { topic, max_rate_hz } => {
                self.say_to_subscribed(&subscribe(vec![topic.clone()], max_rate_hz));
                self.subscriptions.insert(topic, max_rate_hz);
            }
            Request::Unsubscribe { topic } => {
                self.subscriptions.remove(&topic);
                self.say_to_subscribed(&ClientMessage::Unsubscribe { topics: vec![topic] });
            }
            Request::Schema { type_name } => {
                if let Some(active) = self.active {
                    self.slots[active].say(ClientMessage::Schema { type_name });
                }
            }
            Request::EmergencyStop { id, engage, reason } => {
                for slot in &self.slots {
                    let (id, reason) = (id.clone(), reason.clone());
                    slot.say(ClientMessage::EmergencyStop { id, engage, reason });
                }
            }
        }
    }

    fn say_to_subscribed(&self, message: &ClientMessage) {
        for slot in self.slots.iter().filter(|slot| slot.subscribed) {
            slot.say(message.clone());
        }
    }

    async fn told(&mut self, told: Told) {
        let now = self.now();
        let Some(slot) = self.slots.get_mut(told.slot) else { return };
        match told.what {
            What::Connecting => slot.connecting = true,
            What::Up(say) => {
                slot.up(say, now);
                slot.say(ClientMessage::Hello {
                    client: self.config.client_name.clone(),
                    heartbeat_ms: None,
                });
            }
            What::Down(why) => {
                slot.down(why);
                self.changed = true;
                self.lost(told.slot, FailoverCause::Closed).await;
            }
            What::Binary(binary) => {
                heard(slot, now);
                if let Binary::Sample(header, payload) = binary {
                    self.sample(told.slot, header, payload, now).await;
                }
            }
            What::Text(message) => {
                heard(slot, now);
                self.message(told.slot, *message, now).await;
            }
        }
    }

    async fn message(&mut self, at: usize, message: ServerMessage, now: Duration) {
        let slot = &mut self.slots[at];
        match message {
            ServerMessage::Hello { endpoint, .. } => {
                slot.document = Some(endpoint);
                slot.greeted = true;
                slot.failures = 0;
                self.changed = true;
                self.select(now).await;
            }
            ServerMessage::Topics { up, down } => {
                for id in down {
                    slot.topics.remove(&id);
                }
                for info in up.into_iter().take(roverline_protocol::limits::TOPICS) {
                    slot.topics.insert(info.id, Arc::new(info));
                }
                if self.active == Some(at) {
                    self.tell_topics().await;
                }
            }
            ServerMessage::Directory { endpoints } => {
                for entry in endpoints {
                    let own = slot.document.as_ref().is_some_and(|own| own.tier == entry.tier);
                    if own {
                        slot.document = Some(entry);
                        self.changed = true;
                        break;
                    }
                }
            }
            ServerMessage::Time { t0_ns, t1_ns, t2_ns } => {
                if let Some(sent) = slot.probe_sent {
                    slot.answered(sent, now, t0_ns, t1_ns, t2_ns, unix_ns());
                }
            }
            ServerMessage::Subscribed { matching: 0, .. } => self.arrived(at, now).await,
            ServerMessage::Subscribed { .. }
            | ServerMessage::Resumed { .. }
            | ServerMessage::Drain { .. }
            | ServerMessage::Service { .. }
            | ServerMessage::Event(_) => {}
            ServerMessage::Schema { type_name, text, .. } => {
                self.tell(Event::Schema { type_name, text }).await;
            }
            ServerMessage::Dropped { topics } => {
                let count: u64 = topics.iter().map(|drop| drop.count).sum();
                let text = format!("this console was too slow for {count} samples");
                self.tell(Event::Notice { level: Level::Warning, text }).await;
            }
            ServerMessage::Command { id, accepted, message } => {
                self.tell(Event::Command { id, accepted, message }).await;
            }
            ServerMessage::Status { level, message, .. } => {
                self.tell(Event::Notice { level, text: message }).await;
            }
        }
    }

    async fn sample(&mut self, at: usize, header: SampleHeader, payload: bytes::Bytes, now: Duration) {
        let Some(topic) = self.slots[at].topics.get(&header.topic).cloned() else { return };
        if !self.cursors.see(header.id, now).is_new() {
            if self.active == Some(at) {
                self.arrived(at, now).await;
            }
            return;
        }
        self.arrived(at, now).await;
        if self.backup == Some(at) {
            self.backup_since.get_or_insert(now);
        }
        let sample = LinkSample {
            topic,
            id: header.id,
            stored: header.flags & FLAG_STORED != 0,
            source_time_ns: header.source_time_ns,
            receive_time_ns: header.receive_time_ns,
            payload,
        };
        if self.events.try_send(Event::Sample(sample)).is_err() {
            tracing::debug!("a sample was dropped: events are not read");
        }
    }

    async fn tell(&self, event: Event) {
        // An error means that nobody listens any more; `run` sees that.
        let _ = self.events.send(event).await;
    }

    async fn tell_topics(&self) {
        let Some(active) = self.active else { return };
        let mut topics: Vec<TopicInfo> =
            self.slots[active].topics.values().map(|info| (**info).clone()).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        self.tell(Event::Topics(topics.into())).await;
    }

    /// Shows the endpoints when something changed, and now and then.
    async fn show(&mut self) {
        let now = self.now();
        if !self.changed && now.saturating_sub(self.shown_at) < REFRESH {
            return;
        }
        self.changed = false;
        self.shown_at = now;
        let candidates: Vec<_> = self.slots.iter().map(Slot::candidate).collect();
        let order = rank(&candidates, ScopeSet::ALL);
        let view = |(place, at): (usize, usize)| self.slots[at].view(place + 1, self.active == Some(at), now);
        let views: Vec<_> = order.into_iter().enumerate().map(view).collect();
        self.tell(Event::Endpoints(views.into())).await;
    }
}

fn heard(slot: &mut Slot, now: Duration) {
    slot.heard_at = now;
    slot.received += 1;
    slot.suspect = false;
}

fn subscribe(topics: Vec<String>, max_rate_hz: Option<f64>) -> ClientMessage {
    ClientMessage::Subscribe { id: None, topics, max_rate_hz, scopes: None }
}

fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
