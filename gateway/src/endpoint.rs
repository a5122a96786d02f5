//! One endpoint: a port, its sessions, its hub, and what it tells about itself.

pub(crate) mod capacity;
pub(crate) mod diagnostics;
pub(crate) mod drain;
pub(crate) mod event_log;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod peers;
pub(crate) mod scoped_graph;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use roverline_coordination::Coordination;
use roverline_protocol::budget::ByteRate;
use roverline_protocol::native::SwitchReport;
use roverline_protocol::status::{CounterDocument, EndpointDocument, EventKind};
use roverline_protocol::{ScopeSet, Tier, limits};
use roverline_source::ros::Ros;
use roverline_source::{Graph, Publisher, Sink};
use tokio::sync::{Semaphore, watch};

use crate::access::Access;
use crate::connection::budget::SharedBudget;
use crate::dialect::rosbridge;
use crate::dialect::session::SessionInfo;
use crate::emergency_stop::EmergencyStop;
pub use crate::endpoint::capacity::Place;
pub use crate::endpoint::drain::Drain;
pub use crate::endpoint::events::{Events, Facts};
pub use crate::endpoint::metrics::{Blackouts, DialectCounters};
pub use crate::endpoint::peers::{Peer, Peers, Policy, Refused, announce_and_browse, watch_peers};
use crate::hub::{Hub, Ingress};
use crate::telemetry::Telemetry;

/// What an endpoint is made of; shared by its tasks.
pub struct Endpoint {
    /// Which of the four.
    pub tier: Tier,
    /// The port it listens on.
    pub port: u16,
    /// Sessions at most.
    pub max_clients: usize,
    /// What it knows of the rover.
    pub hub: Arc<Hub>,
    /// Where its source puts things.
    pub ingress: Arc<Ingress>,
    /// `dds`, `sim`, ...
    pub source_kind: &'static str,
    /// The plain dialect's object.
    pub telemetry: Telemetry,
    /// The endpoints of this gateway as this one knows them, itself included.
    pub directory: watch::Sender<Arc<Vec<EndpointDocument>>>,
    /// The others.
    pub peers: Peers,
    /// What it counts.
    pub counters: Counters,
    /// What happened.
    pub events: Events,
    /// What each session may cost its link.
    pub session_budget: Option<ByteRate>,
    /// What all of them may.
    pub shared_budget: Option<SharedBudget>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// What clients may ask of the ROS graph.
    pub ros: Ros,
    /// What rosbridge clients offer to the graph.
    pub offered: rosbridge::Offered,
    /// The topic of the emergency stop.
    pub stop_topic: String,
    /// The rover's name.
    pub rover: String,
    /// What the team shares.
    pub coordination: Arc<Coordination>,
    scoped: scoped_graph::ScopedGraph,
    pub(crate) answers: Arc<Semaphore>,
    pub(crate) aside: Arc<Semaphore>,
    drain: watch::Sender<Option<Drain>>,
    estop: Arc<EmergencyStop>,
    pub(crate) started_ns: i64,
    sessions: Mutex<HashMap<u64, Arc<SessionInfo>>>,
    places: capacity::Places,
    next_session: AtomicU64,
    stop: watch::Sender<bool>,
}

/// Counters since the process began to serve.
#[derive(Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections turned away because the endpoint was full.
    pub refused_full: AtomicU64,
    /// Requests and messages that were not understood.
    pub bad_input: AtomicU64,
    /// Messages delivered in sessions that have ended.
    pub delivered: AtomicU64,
    /// Samples dropped in sessions that have ended.
    pub dropped: AtomicU64,
    /// Samples not sent in sessions that have ended, because their links did not carry them.
    pub shed: AtomicU64,
    /// The same by dialect.
    pub dialects: DialectCounters,
    /// What switches cost clients.
    pub blackouts: Blackouts,
}

/// What an endpoint needs to be made.
pub struct Parts {
    /// Which of the four.
    pub tier: Tier,
    /// The port it listens on.
    pub port: u16,
    /// Sessions at most.
    pub max_clients: usize,
    /// Its hub.
    pub hub: Arc<Hub>,
    /// Its source's way in.
    pub ingress: Arc<Ingress>,
    /// The source's name.
    pub source_kind: &'static str,
    /// The other endpoints.
    pub peers: Peers,
    /// The latch.
    pub estop: Arc<EmergencyStop>,
    /// What each session may cost its link.
    pub session_budget: Option<ByteRate>,
    /// What all of them may.
    pub endpoint_budget: Option<ByteRate>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// The way to the ROS graph.
    pub publisher: Arc<dyn Publisher>,
    /// The topic of the emergency stop.
    pub stop_topic: String,
    /// The rover's name.
    pub rover: String,
    /// What the team shares.
    pub coordination: Arc<Coordination>,
}

impl Endpoint {
    /// An endpoint that does not listen yet.
    pub fn new(parts: Parts) -> Arc<Endpoint> {
        let ros = Ros::new(parts.publisher, parts.hub.registry().clone(), parts.hub.graph());
        Arc::new(Endpoint {
            tier: parts.tier,
            port: parts.port,
            max_clients: parts.max_clients,
            hub: parts.hub,
            ingress: parts.ingress,
            source_kind: parts.source_kind,
            telemetry: Telemetry::default(),
            directory: watch::Sender::new(Arc::new(Vec::new())),
            peers: parts.peers,
            counters: Counters::default(),
            events: Events::new(parts.tier),
            session_budget: parts.session_budget,
            shared_budget: parts.endpoint_budget.map(SharedBudget::new),
            access: parts.access,
            ros,
            offered: rosbridge::Offered::default(),
            stop_topic: parts.stop_topic,
            rover: parts.rover,
            coordination: parts.coordination,
            scoped: scoped_graph::ScopedGraph::default(),
            answers: Arc::new(Semaphore::new(limits::HTTP_ANSWERS_BYTES)),
            aside: Arc::new(Semaphore::new(limits::API_ASIDE_CALLS)),
            drain: watch::Sender::new(None),
            estop: parts.estop,
            started_ns: roverline_source::clock::unix_ns(),
            sessions: Mutex::default(),
            places: capacity::Places::default(),
            next_session: AtomicU64::new(1),
            stop: watch::Sender::new(false),
        })
    }

    /// A number no session of this process had.
    pub fn next_session_id(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// What this endpoint serves.
    pub fn scopes(&self) -> ScopeSet {
        self.hub.scopes()
    }

    /// Serves these scopes from now on; topics come and go with them.
    pub fn serve_scopes(&self, scopes: ScopeSet) {
        self.hub.set_scopes(&self.ingress, scopes);
    }

    /// Whether a topic or service of this name and type is among what this endpoint serves now.
    pub fn is_in_scope(&self, name: &str, type_name: &str) -> bool {
        self.ingress.wants(name, type_name)
    }

    /// Whether the gateway itself offers a service of this name to the graph.
    pub fn serves_itself(&self, service: &str) -> bool {
        service == diagnostics::STATUS_SERVICE
    }

    /// The ROS graph as far as this endpoint serves it: nodes, and topics and services in scope.
    pub fn graph(&self) -> Arc<Graph> {
        self.scoped.of(self.ros.graph(), &self.ingress)
    }

    /// Lists a session until the guard is dropped.
    pub fn register(self: &Arc<Self>, info: Arc<SessionInfo>) -> Registered {
        let id = info.id;
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(id, info);
        Registered(self.clone(), id)
    }

    /// The sessions, by number.
    pub fn sessions(&self) -> Vec<Arc<SessionInfo>> {
        let mut sessions: Vec<_> =
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        sessions.sort_by_key(|session| session.id);
        sessions
    }

    /// Turns true when the endpoint stops; has changed from the first when it already does, for a
    /// session that begins meanwhile.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        let mut stop = self.stop.subscribe();
        if *stop.borrow() {
            stop.mark_changed();
        }
        stop
    }

    /// A client says what a switch of endpoints cost it.
    pub fn client_switched(&self, client: &str, report: SwitchReport) {
        if let Some(blackout) = report.blackout_ms {
            self.counters.blackouts.add(blackout);
        }
        let cause = format!("{client}: {}", report.cause);
        let facts = Facts {
            from: report.from,
            to: report.to,
            blackout_ms: report.blackout_ms,
            replayed: Some(report.replayed),
            missing: Some(report.missing),
        };
        self.events.note(EventKind::Failover, &cause, facts);
    }

    /// Tells every session to end.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Engages or releases the emergency stop: latched on disk and published by every endpoint, or of
    /// a relay confirmed by the rover.
    pub async fn emergency_stop(&self, id: &str, engage: bool, reason: &str) -> Result<String, String> {
        let stood = self.estop.stands(engage);
        let done = self.estop.carry_out(id, engage, reason).await?;
        if !stood {
            let word = if engage { "engaged" } else { "released" };
            let facts = Facts { to: Some(id.to_owned()), ..Facts::default() };
            self.events.note(EventKind::EmergencyStop, &format!("{word}: {reason}"), facts);
        }
        Ok(done)
    }

    /// Whether the emergency stop is known to be so already.
    pub fn stop_stands(&self, engaged: bool) -> bool {
        self.estop.stands(engaged)
    }

    /// Counters, running sessions included.
    pub fn counter_document(&self) -> CounterDocument {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let running: Vec<_> = self.sessions().iter().map(|session| session.outbox().stats()).collect();
        CounterDocument {
            connections: get(&self.counters.connections),
            refused_full: get(&self.counters.refused_full),
            bad_input: get(&self.counters.bad_input),
            samples: self.hub.source().1,
            ingress_dropped: self.ingress.dropped(),
            delivered: get(&self.counters.delivered) + running.iter().map(|stats| stats.sent).sum::<u64>(),
            dropped: get(&self.counters.dropped) + running.iter().map(|stats| stats.dropped).sum::<u64>(),
            shed: get(&self.counters.shed) + running.iter().map(|stats| stats.shed).sum::<u64>(),
            replayed: self.hub.replays().0,
            replay_missing: self.hub.replays().1,
        }
    }
}

/// A listed session; see [`Endpoint::register`].
pub struct Registered(Arc<Endpoint>, u64);

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}
