//! Decides which endpoint is in use, and makes the switch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roverline_protocol::ScopeSet;
use roverline_protocol::native::{
    Binary, ClientMessage, FLAG_STORED, Level, SampleHeader, ServerMessage, TopicInfo,
};
use roverline_protocol::ranking::{Selector, Stickiness, rank};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::connection::{self, Told, What};
use crate::dedup::Dedup;
use crate::link::Request;
use crate::slot::Slot;
use crate::{Config, Event, FailoverCause, FailoverView, LinkSample, Timings};

/// Messages from all connections that wait for the manager; behind them waits the network.
const INBOX: usize = 4_096;
const TICK: Duration = Duration::from_millis(20);
/// When every link is silent it is the radio. The links are kept this long, as it may come back.
const RADIO_PATIENCE: Duration = Duration::from_secs(5);
/// The endpoints are shown this often even when nothing changed.
const REFRESH: Duration = Duration::from_millis(500);

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
    dedup: Dedup,
    switch: Option<Switch>,
    start: Instant,
    shown_at: Duration,
    changed: bool,
}

/// A switch that waits for the first sample on the new endpoint.
struct Switch {
    from: Option<usize>,
    cause: FailoverCause,
    dark_since: Option<Duration>,
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
            dedup: Dedup::default(),
            switch: None,
            start: Instant::now(),
            shown_at: Duration::ZERO,
            changed: true,
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
                slot.say(ClientMessage::Hello { client: self.config.client_name.clone() });
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
            ServerMessage::Subscribed { .. } => {}
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
        if !self.dedup.is_new(header.id, now) {
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

    /// Telemetry flows from this endpoint: a switch to it is complete.
    async fn arrived(&mut self, at: usize, now: Duration) {
        if self.active != Some(at) {
            return;
        }
        let Some(switch) = self.switch.take() else { return };
        // Where the standby was subscribed in time, the darkness ended before the switch.
        let light = self.backup_since.take().unwrap_or(now);
        let blackout = switch.dark_since.map(|since| light.saturating_sub(since));
        self.tell_failover(switch.from, Some(at), switch.cause, blackout).await;
    }

    async fn tick(&mut self) {
        let now = self.now();
        let Timings { probe, suspect, dead, .. } = self.config.timings;
        let connected: Vec<usize> = (0..self.slots.len()).filter(|&i| self.slots[i].say.is_some()).collect();
        let silence = |slot: &Slot| now.saturating_sub(slot.heard_at);
        let radio = connected.len() > 1 && connected.iter().all(|&i| silence(&self.slots[i]) > suspect);
        let patience = if radio { RADIO_PATIENCE } else { dead };
        for at in connected {
            let slot = &mut self.slots[at];
            if silence(slot) > patience {
                // Letting go of the sender closes the connection, which will then say so.
                slot.down(format!("silent for {} ms", silence(slot).as_millis()));
                self.changed = true;
                self.lost(at, FailoverCause::Silent).await;
                continue;
            }
            if silence(slot) > suspect && !slot.suspect {
                slot.suspect = true;
                self.changed = true;
            }
            match slot.probe_sent {
                Some(sent) if now.saturating_sub(sent) < probe.max(dead) => {}
                sent => {
                    if sent.is_some() {
                        slot.estimate.lost();
                    }
                    if sent.is_some() || now.saturating_sub(slot.probed_at) >= probe {
                        slot.probe_sent = Some(now);
                        slot.probed_at = now;
                        slot.say(ClientMessage::Time { t0_ns: unix_ns() });
                    }
                }
            }
        }
        if !radio {
            self.back_up();
        }
        self.select(now).await;
    }

    /// While the endpoint in use is suspect, its standby is subscribed as well.
    fn back_up(&mut self) {
        let suspect = self.active.filter(|&active| self.slots[active].suspect);
        match (suspect, self.backup) {
            (Some(_), None) => {
                let candidates: Vec<_> = self.slots.iter().map(Slot::candidate).collect();
                let next = rank(&candidates, ScopeSet::ALL).into_iter().find(|&i| candidates[i].usable);
                if let Some(next) = next {
                    self.backup = Some(next);
                    self.backup_since = None;
                    self.subscribe_all(next);
                }
            }
            (None, Some(backup)) => {
                self.backup = None;
                self.backup_since = None;
                if self.active != Some(backup) {
                    self.unsubscribe_all(backup);
                }
            }
            _ => {}
        }
    }

    /// The link to this endpoint is gone.
    async fn lost(&mut self, at: usize, cause: FailoverCause) {
        if self.backup == Some(at) {
            self.backup = None;
            self.backup_since = None;
        }
        if self.active != Some(at) {
            return;
        }
        let now = self.now();
        let dark_since = Some(self.slots[at].heard_at);
        self.active = None;
        // A switch under way that never arrived goes on being dark since its beginning.
        let (from, dark_since) = match self.switch.take() {
            Some(switch) => (switch.from.or(Some(at)), switch.dark_since.or(dark_since)),
            None => (Some(at), dark_since),
        };
        self.switch = Some(Switch { from, cause, dark_since });
        self.select(now).await;
        if self.active.is_none() {
            self.tell_failover(from, None, FailoverCause::AllDown, None).await;
        }
    }

    /// Asks the selector, and goes where it says.
    async fn select(&mut self, now: Duration) {
        let mut candidates: Vec<_> = self.slots.iter().map(Slot::candidate).collect();
        if let Some(active) = self.active {
            // Suspect is not lost: that is decided by silence, not by ranking.
            candidates[active].usable = self.slots[active].greeted;
        }
        let Some(chosen) = self.selector.select(&candidates, ScopeSet::ALL, self.active, now) else { return };
        if self.active == Some(chosen) {
            return;
        }
        let previous = self.active.replace(chosen);
        if self.switch.is_none() {
            let (cause, dark_since) = match previous {
                Some(_) => (FailoverCause::Better, Some(now)),
                None => (FailoverCause::First, None),
            };
            self.switch = Some(Switch { from: previous, cause, dark_since });
        }
        if self.backup.take() != Some(chosen) {
            self.backup_since = None;
        }
        self.subscribe_all(chosen);
        if let Some(previous) = previous {
            self.unsubscribe_all(previous);
        }
        self.changed = true;
        self.tell_topics().await;
        if self.subscriptions.is_empty() {
            self.arrived(chosen, now).await;
        }
    }

    fn subscribe_all(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.subscribed {
            return;
        }
        slot.subscribed = true;
        let mut by_rate: Vec<(Option<f64>, Vec<String>)> = Vec::new();
        for (topic, rate) in &self.subscriptions {
            match by_rate.iter_mut().find(|(other, _)| other == rate) {
                Some((_, topics)) => topics.push(topic.clone()),
                None => by_rate.push((*rate, vec![topic.clone()])),
            }
        }
        for (rate, topics) in by_rate {
            slot.say(subscribe(topics, rate));
        }
    }

    fn unsubscribe_all(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        slot.subscribed = false;
        if !self.subscriptions.is_empty() {
            slot.say(ClientMessage::Unsubscribe { topics: self.subscriptions.keys().cloned().collect() });
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

    async fn tell_failover(
        &mut self,
        from: Option<usize>,
        to: Option<usize>,
        cause: FailoverCause,
        blackout: Option<Duration>,
    ) {
        let url = |slot: Option<usize>| slot.map(|slot| self.slots[slot].url.clone());
        let view = FailoverView { at_ns: unix_ns(), from: url(from), to: url(to), cause, blackout };
        tracing::info!(?view, "failover");
        self.changed = true;
        self.tell(Event::Failover(view)).await;
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
    ClientMessage::Subscribe { id: None, topics, max_rate_hz }
}

fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
