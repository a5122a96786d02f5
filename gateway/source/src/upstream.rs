//! Another gateway as a source: a [`Link`] to the rover's four endpoints, with failover and resume
//! inside it. Everything crosses the radio once, however many listen here.

mod emergency_stops;
mod topics;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use roverline_client::{Config, EndpointView, Event, Events, Link, LinkSample, LinkState};
use roverline_protocol::native::TopicInfo;
use roverline_protocol::status::UpstreamDocument;
use roverline_protocol::{ScopeSet, limits};
use tokio::sync::mpsc;

use crate::clock::{monotonic, unix_ns};
use crate::upstream::emergency_stops::Stops;
pub use crate::upstream::emergency_stops::not_confirmed;
use crate::upstream::topics::Topics;
use crate::{
    Publication, PublishError, Publisher, RawSample, Sink, Source, SourceError, SourceState, Stop, StopOrder,
};

const TICK: Duration = Duration::from_millis(50);

/// Which endpoints to read from, and how much of it.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// `ws://host:port` of the rover's endpoints.
    pub urls: Vec<String>,
    /// What proves to them who we are: an emergency stop is passed on in this name.
    pub token: Option<String>,
    /// Topic globs.
    pub topics: Vec<String>,
    /// At most so many samples per second and topic.
    pub max_rate_hz: Option<f64>,
    /// Asked for in any case, and at any rate.
    pub emergency_stop_topic: String,
}

/// The source.
pub struct UpstreamSource {
    config: Config,
    options: UpstreamOptions,
    orders: Arc<Orders>,
    inbox: mpsc::Receiver<StopOrder>,
}

/// The way back: emergency stops, and nothing else.
struct Orders(mpsc::Sender<StopOrder>);

impl Publisher for Orders {
    fn publish(&self, _: Publication) -> Result<(), PublishError> {
        Err(PublishError::ReadOnly("upstream"))
    }

    fn forward_stop(&self, order: StopOrder) -> Result<(), PublishError> {
        self.0.try_send(order).map_err(|_| PublishError::Busy(limits::STOPS_WAITING_ENTRIES))
    }
}

impl UpstreamSource {
    /// Checks the addresses; nothing is connected yet.
    pub fn new(options: UpstreamOptions) -> Result<UpstreamSource, SourceError> {
        if options.urls.is_empty() {
            let advice = "add --upstream ws://ROVER:8080,ws://ROVER:8081,ws://ROVER:8082,ws://ROVER:8083";
            let place = "or `urls` under [upstream] in roverline.toml";
            return Err(SourceError(format!("a relay needs the rover's endpoints: {advice}, {place}")));
        }
        let config = Config::with_urls(&options.urls).map_err(|error| SourceError(error.to_string()))?;
        let config =
            Config { client_name: "roverline relay".to_owned(), token: options.token.clone(), ..config };
        let (orders, inbox) = mpsc::channel(limits::STOPS_WAITING_ENTRIES);
        Ok(UpstreamSource { config, options, orders: Arc::new(Orders(orders)), inbox })
    }
}

impl Source for UpstreamSource {
    fn name(&self) -> &'static str {
        "upstream"
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        self.orders.clone()
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: Stop) -> Result<(), SourceError> {
        // The link has this thread and its runtime to itself: who serves clients never waits for
        // the radio, and the radio never for clients.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SourceError(error.to_string()))?;
        runtime.block_on(self.read(&sink, &stop))
    }
}

impl UpstreamSource {
    async fn read(mut self, sink: &Arc<dyn Sink>, stop: &Stop) -> Result<(), SourceError> {
        let (link, mut events): (Link, Events) = Link::open(self.config.clone());
        for topic in &self.options.topics {
            link.subscribe(topic, self.options.max_rate_hz);
        }
        link.subscribe(&self.options.emergency_stop_topic, None);
        let mut relay = Relay::new(sink.clone(), link);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => relay.event(event),
                    None => return Err(SourceError("the link to the rover ended".to_owned())),
                },
                Some(order) = self.inbox.recv() => relay.order(order),
                _ = tick.tick() => {
                    if stop.is_set() {
                        return Ok(());
                    }
                    relay.tick();
                }
            }
        }
    }
}

/// What the link says, made into what a sink takes.
struct Relay {
    sink: Arc<dyn Sink>,
    link: Link,
    topics: Topics,
    /// What the endpoint in use lists.
    list: Arc<[TopicInfo]>,
    stops: Stops,
    state: SourceState,
    /// The endpoint in use, as the link addresses it.
    active: Option<String>,
    /// What it serves.
    scopes: ScopeSet,
    /// The rover's clock minus ours, seconds.
    clock_offset_s: Option<f64>,
    /// Stored values whose age is not known before the rover's clock is.
    undated: VecDeque<(Duration, LinkSample)>,
}

impl Relay {
    fn new(sink: Arc<dyn Sink>, link: Link) -> Relay {
        let topics = Topics::new(sink.clone());
        sink.state(SourceState::Starting);
        Relay {
            sink,
            link,
            topics,
            list: Arc::default(),
            stops: Stops::default(),
            state: SourceState::Starting,
            active: None,
            scopes: ScopeSet::EMPTY,
            clock_offset_s: None,
            undated: VecDeque::new(),
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Sample(sample) if sample.stored => self.stored(sample),
            Event::Sample(sample) => {
                if let Some(key) = self.topics.key(&sample.topic) {
                    self.sink.sample(key, raw(sample));
                }
            }
            Event::Topics(list) => {
                self.list = list;
                self.topics.listed(&self.list, self.scopes, monotonic());
            }
            Event::Endpoints(views) => self.endpoints(&views),
            Event::Schema { type_name, text } => self.topics.defined(&type_name, &text),
            Event::Command { id, accepted, message } => self.stops.answered(&id, accepted, message),
            Event::Notice { level, text } => tracing::info!(?level, text, "the rover's endpoint says"),
            // The link logs what else it does and tells the rover; here the views say where things stand.
            other => tracing::debug!(?other, "link"),
        }
    }

    /// A stored value goes on with its age, by the rover's own clock.
    fn stored(&mut self, sample: LinkSample) {
        let Some(offset_s) = self.clock_offset_s else {
            if self.undated.len() == limits::RELAY_STORED_SAMPLES {
                self.undated.pop_front();
            }
            return self.undated.push_back((monotonic(), sample));
        };
        self.dated(sample, offset_s);
    }

    fn dated(&mut self, sample: LinkSample, offset_s: f64) {
        let age_s = (unix_ns() - sample.receive_time_ns) as f64 / 1e9 + offset_s;
        let age = Duration::try_from_secs_f64(age_s.max(0.0)).unwrap_or(Duration::MAX);
        if let Some(key) = self.topics.key(&sample.topic) {
            self.sink.stored(key, raw(sample), age);
        }
    }

    fn endpoints(&mut self, views: &[EndpointView]) {
        let active = views.iter().find(|view| view.state == LinkState::Active);
        let offset = |view: &EndpointView| view.clock_offset_s;
        if let Some(offset_s) = active.and_then(offset).or_else(|| views.iter().find_map(offset)) {
            self.clock_offset_s = Some(offset_s);
        }
        let (url, scopes) = match active {
            Some(active) => (Some(active.url.clone()), active.scopes),
            None => (None, ScopeSet::EMPTY),
        };
        if url.is_some() && url != self.active {
            self.topics.ask_anew();
        }
        if (&url, scopes) != (&self.active, self.scopes) {
            (self.active, self.scopes) = (url, scopes);
            self.topics.listed(&self.list, scopes, monotonic());
        }
        self.sink.upstream(views.iter().map(document).collect());
        let state = state_of(views);
        if self.state != state {
            tracing::info!(?state, "upstream");
            self.state = state.clone();
            self.sink.state(state);
        }
    }

    fn order(&mut self, order: StopOrder) {
        if let Some(saying) = self.stops.order(order, monotonic()) {
            self.link.emergency_stop_as(&saying.id, saying.engage, &saying.reason);
        }
    }

    fn tick(&mut self) {
        let now = monotonic();
        for saying in self.stops.tick(now) {
            self.link.emergency_stop_as(&saying.id, saying.engage, &saying.reason);
        }
        for type_name in self.topics.tick(now) {
            self.link.schema(&type_name);
        }
        let patience = Duration::from_millis(limits::RELAY_STORED_MS);
        while let Some((came, _)) = self.undated.front()
            && (self.clock_offset_s.is_some() || now.saturating_sub(*came) > patience)
        {
            // Without a measure the two clocks are taken for equal.
            let offset_s = self.clock_offset_s.unwrap_or(0.0);
            if let Some((_, sample)) = self.undated.pop_front() {
                self.dated(sample, offset_s);
            }
        }
    }
}

fn raw(sample: LinkSample) -> RawSample {
    RawSample {
        id: sample.id,
        source_time_ns: sample.source_time_ns,
        receive_time_ns: sample.receive_time_ns,
        payload: sample.payload,
    }
}

/// Connected to one of them is connected; before the first answer nothing is wrong yet.
fn state_of(views: &[EndpointView]) -> SourceState {
    let up = |view: &EndpointView| {
        matches!(view.state, LinkState::Active | LinkState::Standby | LinkState::Suspect)
    };
    let tried = |view: &EndpointView| view.failures > 0;
    match views {
        _ if views.iter().any(up) => SourceState::Running,
        _ if views.iter().any(tried) => {
            let why = views.iter().find_map(|view| view.last_error.clone()).unwrap_or_default();
            SourceState::Disconnected(format!("no endpoint of the rover answers: {why}"))
        }
        _ => SourceState::Starting,
    }
}

fn document(view: &EndpointView) -> UpstreamDocument {
    UpstreamDocument {
        url: view.url.clone(),
        tier: view.tier,
        state: view.state.word().to_owned(),
        rtt_ms: view.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
        received: view.received,
        last_error: view.last_error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use roverline_protocol::{Delivery, Guid, Priority, Routing, SampleId, Scope};

    use super::*;
    use crate::recording_sink::{RecordingSink, SourceEvent};

    /// A link to nowhere, and what it says of its endpoint.
    async fn nowhere() -> (Link, Events, EndpointView) {
        let config = Config { endpoints: vec!["ws://127.0.0.1:1".to_owned()], ..Config::local() };
        let (link, mut events) = Link::open(config);
        loop {
            if let Some(Event::Endpoints(views)) = events.next().await {
                let first = EndpointView { failures: 0, last_error: None, ..views[0].clone() };
                return (link, events, first);
            }
        }
    }

    fn stored(received_ns: i64) -> Event {
        let topic = TopicInfo {
            id: 3,
            name: "/mission/name".to_owned(),
            type_name: "std_msgs/msg/String".to_owned(),
            scopes: ScopeSet::of(&[Scope::Mission]),
            priority: Priority::Mission,
            delivery: Delivery::Every,
            latched: true,
        };
        Event::Sample(LinkSample {
            topic: Arc::new(topic),
            id: SampleId { source: Guid::from_name("w"), seq: 1 },
            replayed: false,
            stored: true,
            source_time_ns: 0,
            receive_time_ns: received_ns,
            payload: Bytes::new(),
        })
    }

    #[tokio::test]
    async fn being_connected_to_one_is_being_connected() {
        let (_link, _events, untried) = nowhere().await;
        assert_eq!(state_of(&[]), SourceState::Starting);
        assert_eq!(state_of(std::slice::from_ref(&untried)), SourceState::Starting);
        let last_error = Some("refused".to_owned());
        let down = EndpointView { state: LinkState::Down, failures: 1, last_error, ..untried.clone() };
        let standby = EndpointView { state: LinkState::Standby, ..untried };
        assert_eq!(state_of(&[down.clone(), standby]), SourceState::Running);
        let SourceState::Disconnected(why) = state_of(&[down]) else { panic!() };
        assert_eq!(why, "no endpoint of the rover answers: refused");
    }

    #[tokio::test]
    async fn a_stored_value_waits_for_the_rovers_clock_and_tells_its_age() {
        let ingress = RecordingSink::new(Arc::new(Routing::default()), ScopeSet::ALL);
        let (link, _events, view) = nowhere().await;
        let mut relay = Relay::new(ingress.clone(), link);
        // The rover's clock is an hour ahead; what it has was received 20 s ago.
        relay.event(stored(unix_ns() + 3_580_000_000_000));
        relay.tick();
        let told = ingress.take();
        assert!(matches!(told[..], [SourceEvent::State(SourceState::Starting)]), "{told:?}");
        let clock_offset_s = Some(3_600.0);
        let view = EndpointView { state: LinkState::Active, clock_offset_s, ..view };
        relay.event(Event::Endpoints(vec![view].into()));
        relay.tick();
        let told = ingress.take();
        let age = told.iter().find_map(|item| match item {
            SourceEvent::Stored(age) => Some(age.as_secs_f64()),
            _ => None,
        });
        assert!(age.is_some_and(|age| (19.9..25.0).contains(&age)), "{age:?}");
        assert!(
            told.iter().any(|item| matches!(item, SourceEvent::Upstream(all) if all[0].state == "active"))
        );
    }
}
