//! Another gateway as a source: a [`Link`] to the rover's four endpoints with failover and resume.
//! Everything crosses the radio once, however many clients are connected here.

mod emergency_stops;
mod requests;
mod topics;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use roverline_client::{Config, EndpointView, Event, Events, Link, LinkSample, LinkState, TlsOptions};
use roverline_protocol::ScopeSet;
use roverline_protocol::native::TopicInfo;
use roverline_protocol::status::UpstreamDocument;
use tokio::sync::mpsc;

use crate::clock::{monotonic, unix_ns};
use crate::limits;
use crate::upstream::emergency_stops::{PendingStops, StopMessage};
use crate::upstream::requests::PendingRequests;
use crate::upstream::topics::Topics;
use crate::{
    EmergencyStopRequest, Publication, PublishError, RawSample, Sink, Source, SourceControl, SourceError,
    SourceState, StopFlag, UpstreamRequest,
};

/// Stored values held in a relay until the rover's clock is known.
const RELAY_STORED_SAMPLES: usize = 1_024;
/// How long stored values are held in a relay.
const RELAY_STORED_MS: u64 = 1_000;

/// Bounds how late a stop is noticed; also the timer of retries.
const TICK: Duration = Duration::from_millis(50);

/// Configuration of a relay's source.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// Addresses of the rover's endpoints: `ws://host:port` or `wss://host:port`.
    pub urls: Vec<String>,
    /// The token presented to them; emergency stops are forwarded with its identity.
    pub token: Option<String>,
    /// Which endpoints are trusted over `wss://`, and this relay's certificate.
    pub tls: TlsOptions,
    /// Topic globs to subscribe to.
    pub topics: Vec<String>,
    /// Maximum rate per topic, samples per second.
    pub max_rate_hz: Option<f64>,
    /// The emergency stop's topic, always subscribed to, without a rate limit.
    pub emergency_stop_topic: String,
}

/// A source that reads from another gateway.
pub struct UpstreamSource {
    config: Config,
    options: UpstreamOptions,
    forwarder: Arc<Forwarder>,
    stops: mpsc::Receiver<EmergencyStopRequest>,
    requests: mpsc::Receiver<UpstreamRequest>,
}

/// Forwards emergency stops and requests to the API; supports nothing else.
struct Forwarder {
    stops: mpsc::Sender<EmergencyStopRequest>,
    requests: mpsc::Sender<UpstreamRequest>,
}

impl SourceControl for Forwarder {
    fn publish(&self, _: Publication) -> Result<(), PublishError> {
        Err(PublishError::ReadOnly("upstream"))
    }

    fn forward_emergency_stop(&self, request: EmergencyStopRequest) -> Result<(), PublishError> {
        self.stops.try_send(request).map_err(|_| PublishError::Busy(limits::STOPS_WAITING_ENTRIES))
    }

    fn request_upstream(&self, request: UpstreamRequest) -> bool {
        self.requests.try_send(request).is_ok()
    }
}

impl UpstreamSource {
    /// Checks the addresses. Nothing is connected yet.
    pub fn new(options: UpstreamOptions) -> Result<UpstreamSource, SourceError> {
        if options.urls.is_empty() {
            let advice = "add --upstream ws://ROVER:8080,ws://ROVER:8081,ws://ROVER:8082,ws://ROVER:8083";
            let setting = "or `urls` under [upstream] in roverline.toml";
            return Err(SourceError(format!("a relay needs the rover's endpoints: {advice}, {setting}")));
        }
        let config = Config::with_urls(&options.urls).map_err(|error| SourceError(error.to_string()))?;
        let config =
            Config { client_name: "roverline relay".to_owned(), token: options.token.clone(), ..config };
        let config = config.with_tls(options.tls.clone()).map_err(|error| SourceError(error.to_string()))?;
        let (stop_sender, stops) = mpsc::channel(limits::STOPS_WAITING_ENTRIES);
        let (request_sender, requests) = mpsc::channel(requests::PENDING_REQUESTS);
        let forwarder = Arc::new(Forwarder { stops: stop_sender, requests: request_sender });
        Ok(UpstreamSource { config, options, forwarder, stops, requests })
    }
}

impl Source for UpstreamSource {
    fn name(&self) -> &'static str {
        "upstream"
    }

    fn control(&self) -> Arc<dyn SourceControl> {
        self.forwarder.clone()
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: StopFlag) -> Result<(), SourceError> {
        // The link has its own thread and runtime, so client tasks never wait for the radio, nor the
        // radio for client tasks.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SourceError(error.to_string()))?;
        runtime.block_on(self.read(&sink, &stop))
    }
}

impl UpstreamSource {
    async fn read(mut self, sink: &Arc<dyn Sink>, stop: &StopFlag) -> Result<(), SourceError> {
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
                    Some(event) => relay.on_event(event),
                    None => return Err(SourceError("the link to the rover ended".to_owned())),
                },
                Some(request) = self.stops.recv() => relay.forward_stop(request),
                Some(request) = self.requests.recv() => relay.requests.begin(&relay.link, request),
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

/// Translates link events into calls of the sink.
struct Relay {
    sink: Arc<dyn Sink>,
    link: Link,
    topics: Topics,
    /// The topics listed by the active endpoint.
    list: Arc<[TopicInfo]>,
    stops: PendingStops,
    requests: PendingRequests,
    state: SourceState,
    /// The address of the active endpoint.
    active: Option<String>,
    /// The scopes of the active endpoint.
    scopes: ScopeSet,
    /// The rover's clock minus ours, seconds.
    clock_offset_s: Option<f64>,
    /// Retained values whose age is unknown until the rover's clock offset is measured, with their
    /// arrival times.
    awaiting_clock: VecDeque<(Duration, LinkSample)>,
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
            stops: PendingStops::default(),
            requests: PendingRequests::default(),
            state: SourceState::Starting,
            active: None,
            scopes: ScopeSet::EMPTY,
            clock_offset_s: None,
            awaiting_clock: VecDeque::new(),
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Sample(sample) if sample.stored => self.on_retained(sample),
            Event::Sample(sample) => {
                if let Some(key) = self.topics.key(&sample.topic) {
                    if sample.traced {
                        self.sink.trace_next(key);
                    }
                    if let Some(receipt) = &sample.receipt {
                        self.link.report_sample(receipt, None, None);
                    }
                    self.sink.sample(key, raw(sample));
                }
            }
            Event::Topics(list) => {
                self.list = list;
                self.topics.on_topic_list(&self.list, self.scopes, monotonic());
            }
            Event::Endpoints(views) => self.on_endpoints(&views),
            Event::Schema { type_name, encoding, text } => self.topics.on_schema(&type_name, encoding, &text),
            Event::Command { id, accepted, message } => self.stops.on_response(&id, accepted, message),
            Event::Response { id, status, body } => self.requests.on_response(id, status, body),
            Event::Notice { level, text } => tracing::info!(?level, text, "the rover's endpoint says"),
            Event::Certificate { text, .. } => tracing::warn!(text, "the rover's certificate"),
            // The link logs its other actions and reports them to the rover; the endpoint views carry
            // the resulting state.
            other => tracing::debug!(?other, "link"),
        }
    }

    /// Delivers a retained value with its age, measured by the rover's clock.
    fn on_retained(&mut self, sample: LinkSample) {
        let Some(offset_s) = self.clock_offset_s else {
            if self.awaiting_clock.len() == RELAY_STORED_SAMPLES {
                self.awaiting_clock.pop_front();
            }
            return self.awaiting_clock.push_back((monotonic(), sample));
        };
        self.deliver_retained(sample, offset_s);
    }

    fn deliver_retained(&mut self, sample: LinkSample, offset_s: f64) {
        let age_s = (unix_ns() - sample.receive_time_ns) as f64 / 1e9 + offset_s;
        let age = Duration::try_from_secs_f64(age_s.max(0.0)).unwrap_or(Duration::MAX);
        if let Some(key) = self.topics.key(&sample.topic) {
            self.sink.stored(key, raw(sample), age);
        }
    }

    fn on_endpoints(&mut self, views: &[EndpointView]) {
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
            self.topics.retry_schemas();
        }
        if (&url, scopes) != (&self.active, self.scopes) {
            (self.active, self.scopes) = (url, scopes);
            self.topics.on_topic_list(&self.list, scopes, monotonic());
        }
        self.sink.upstream(views.iter().map(document).collect());
        let state = state_of(views);
        if self.state != state {
            tracing::info!(?state, "upstream");
            self.state = state.clone();
            self.sink.state(state);
        }
    }

    fn forward(&self, message: &StopMessage) {
        let StopMessage { id, engage, reason, traceparent } = message;
        self.link.emergency_stop_as(id, *engage, reason, traceparent.as_deref());
    }

    fn forward_stop(&mut self, request: EmergencyStopRequest) {
        if let Some(message) = self.stops.accept(request, monotonic()) {
            self.forward(&message);
        }
    }

    fn tick(&mut self) {
        let now = monotonic();
        for message in self.stops.tick(now) {
            self.forward(&message);
        }
        for type_name in self.topics.tick(now) {
            self.link.schema(&type_name);
        }
        let limit = Duration::from_millis(RELAY_STORED_MS);
        while let Some((arrived, _)) = self.awaiting_clock.front()
            && (self.clock_offset_s.is_some() || now.saturating_sub(*arrived) > limit)
        {
            // Without a measurement the two clocks are assumed to be equal.
            let offset_s = self.clock_offset_s.unwrap_or(0.0);
            if let Some((_, sample)) = self.awaiting_clock.pop_front() {
                self.deliver_retained(sample, offset_s);
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

/// One connected endpoint suffices; before the first attempt has failed the state is still `Starting`.
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
        jitter_ms: view.jitter.map(|jitter| jitter.as_secs_f64() * 1e3),
        loss: view.rtt.map(|_| view.loss),
        received: view.received,
        received_bytes: Some(view.received_bytes),
        last_error: view.last_error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use roverline_protocol::{Delivery, Guid, Priority, Routing, SampleId, Scope};

    use super::*;
    use crate::recording_sink::{RecordingSink, SourceEvent};

    /// A link to a closed port, and the view of its endpoint.
    async fn unreachable_link() -> (Link, Events, EndpointView) {
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
            encoding: Default::default(),
            history_depth: 1,
        };
        Event::Sample(LinkSample {
            topic: Arc::new(topic),
            id: SampleId { source: Guid::from_name("w"), seq: 1 },
            replayed: false,
            late: false,
            stored: true,
            source_time_ns: 0,
            receive_time_ns: received_ns,
            payload: Bytes::new(),
            traced: false,
            receipt: None,
        })
    }

    #[tokio::test]
    async fn one_connected_endpoint_suffices() {
        let (_link, _events, untried) = unreachable_link().await;
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
    async fn a_retained_value_waits_for_the_clock_and_carries_its_age() {
        let ingress = RecordingSink::new(Arc::new(Routing::default()), ScopeSet::ALL);
        let (link, _events, view) = unreachable_link().await;
        let mut relay = Relay::new(ingress.clone(), link);
        // The rover's clock is an hour ahead; the value was received 20 s ago.
        let stored_at = unix_ns();
        relay.on_event(stored(stored_at + 3_580_000_000_000));
        relay.tick();
        let recorded = ingress.take();
        assert!(matches!(recorded[..], [SourceEvent::State(SourceState::Starting)]), "{recorded:?}");
        let clock_offset_s = Some(3_600.0);
        let view = EndpointView { state: LinkState::Active, clock_offset_s, ..view };
        relay.on_event(Event::Endpoints(vec![view].into()));
        relay.tick();
        let recorded = ingress.take();
        let age = recorded.iter().find_map(|item| match item {
            SourceEvent::Stored(age) => Some(age.as_secs_f64()),
            _ => None,
        });
        let waited_s = (unix_ns() - stored_at) as f64 / 1e9;
        assert!(age.is_some_and(|age| (19.9..20.1 + waited_s).contains(&age)), "{age:?}");
        assert!(
            recorded
                .iter()
                .any(|item| matches!(item, SourceEvent::Upstream(all) if all[0].state == "active"))
        );
    }
}
