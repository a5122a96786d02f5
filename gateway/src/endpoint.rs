//! One endpoint: a listening port, its sessions, its hub, and the status that it reports.

pub mod advertised;
pub mod alarms;
pub mod authority;
pub mod capacity;
pub mod command_streams;
pub mod commands;
pub mod counters;
pub mod diagnostics;
pub mod directory;
pub mod drain;
pub mod event_log;
pub mod events;
mod eviction;
pub mod health;
pub mod large_messages;
pub(crate) mod memory;
pub mod metrics;
pub mod node_ages;
pub mod peers;
mod scoped_graph;
mod session_admission;
pub mod sessions;
mod source_watch;
pub mod supervision;
pub mod switch_reports;
pub(crate) mod system_stats;
pub mod trace_export;
pub mod waiting_requests;
mod warm_up;
pub mod watchdog;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use roverline_coordination::Coordination;
use roverline_protocol::budget::ByteRate;
use roverline_protocol::status::{EndpointDocument, EventKind};
use roverline_protocol::{ScopeSet, Tier, limits};
use roverline_source::ros::Ros;
use roverline_source::{Graph, Sink, SourceControl};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::authority::Guards;
use crate::config::SourceKind;
use crate::connection::budget::{Budget, SharedBudget};
use crate::connection::delivery_latency::DeliveryLatency;
use crate::emergency_stop::{BegunStop, EmergencyStop, StopAnswer, StopError, StopRequest, StopState};
use crate::endpoint::advertised::AdvertisedServices;
use crate::endpoint::alarms::AlarmBoard;
use crate::endpoint::authority::GuardedRover;
use crate::endpoint::capacity::Capacity;
use crate::endpoint::command_streams::CommandStreams;
use crate::endpoint::commands::Commands;
use crate::endpoint::counters::Counters;
use crate::endpoint::drain::Drain;
use crate::endpoint::events::{EventDetails, Events};
use crate::endpoint::large_messages::LargeMessages;
use crate::endpoint::metrics::commands::CountedControl;
use crate::endpoint::metrics::summary_cache::SummaryCache;
use crate::endpoint::node_ages::NodeAges;
use crate::endpoint::peers::PeerTrust;
use crate::endpoint::peers::table::Peers;
use crate::endpoint::scoped_graph::ScopedGraph;
use crate::endpoint::sessions::SessionInfo;
use crate::endpoint::supervision::Supervision;
use crate::endpoint::switch_reports::SwitchReports;
use crate::endpoint::system_stats::SystemStats;
use crate::endpoint::waiting_requests::WaitingRequests;
use crate::endpoint::warm_up::WarmUp;
use crate::endpoint::watchdog::Watchdog;
use crate::hub::{Hub, Ingress};
use crate::log::ProcessLog;
use crate::telemetry::Telemetry;
use crate::trace::ring::SpanRing;

/// Concurrent offloaded calls.
const API_OFFLOAD_CALLS: usize = 4;

/// The shared state of an endpoint's tasks.
pub struct Endpoint {
    /// The endpoint's tier.
    pub tier: Tier,
    /// The port it listens on.
    pub port: u16,
    /// The rover's telemetry.
    pub hub: Arc<Hub>,
    /// The queue that its source feeds.
    pub ingress: Arc<Ingress>,
    /// The source's name: `dds`, `sim`, ...
    pub source_kind: SourceKind,
    /// The flat telemetry object of the plain dialect.
    pub telemetry: Telemetry,
    /// The other endpoints.
    pub peers: Peers,
    /// The means by which it recognizes peers and proves itself to them.
    pub peer_trust: PeerTrust,
    /// The counters.
    pub counters: Counters,
    /// The recent events.
    pub events: Events,
    /// Whether a supervisor watches this process.
    pub supervision: Supervision,
    /// The access rules.
    pub access: Arc<Access>,
    /// Access to the ROS graph on behalf of clients.
    pub ros: Ros,
    /// The services that clients advertise.
    pub advertised: AdvertisedServices,
    /// The alarms, as this endpoint shows them.
    pub alarms: AlarmBoard,
    /// The rover's name.
    pub rover: String,
    /// The path under which a proxy publishes the endpoint; empty: none.
    pub path_prefix: String,
    /// Who may command what.
    pub guards: Arc<Guards>,
    /// Executes what clients do to the rover once.
    pub commands: Arc<Commands>,
    /// The topics that clients publish now, for the event log.
    pub command_streams: CommandStreams,
    /// The shared coordination store.
    pub coordination: Arc<Coordination>,
    /// When the endpoint was created, nanoseconds since the Unix epoch.
    pub started_ns: i64,
    /// Bounds the bytes of HTTP responses that wait to be read.
    pub pending_responses: Arc<Semaphore>,
    /// Measures what holds the runtime's thread.
    pub watchdog: Watchdog,
    /// Pending HTTP requests.
    pub waiting_requests: WaitingRequests,
    /// Permits for observers' requests to the store, first come, first served.
    pub observer_permits: Semaphore,
    /// The turns of observers' large messages.
    pub large_messages: LargeMessages,
    /// Bounds the API calls that run on blocking threads.
    pub offloaded_calls: Arc<Semaphore>,
    /// The spans of this process; `None` if traces are off.
    pub spans: Option<Arc<SpanRing>>,
    /// When the nodes of the ROS graph were last seen.
    pub node_ages: NodeAges,
    /// How long samples waited in outboxes and sockets.
    pub delivery_latency: Arc<DeliveryLatency>,
    /// The metrics of this process and its computer.
    pub(crate) system: SystemStats,
    /// The log of this process.
    pub log: Arc<ProcessLog>,
    /// The newest metrics as JSON.
    pub(crate) summary: SummaryCache,
    pub(crate) warm_up: WarmUp,
    directory: watch::Sender<Arc<Vec<EndpointDocument>>>,
    session_budget: Option<ByteRate>,
    shared_budget: Option<SharedBudget>,
    stop_topic: String,
    scoped_graph: ScopedGraph,
    switch_reports: SwitchReports,
    drain: watch::Sender<Option<Drain>>,
    emergency_stop: Arc<EmergencyStop>,
    sessions: Mutex<HashMap<u64, Arc<SessionInfo>>>,
    capacity: Arc<Capacity>,
    next_session: AtomicU64,
    stop: CancellationToken,
}

/// The parts that an endpoint is built from.
pub struct EndpointBuilder {
    /// The endpoint's tier.
    pub tier: Tier,
    /// The port it listens on.
    pub port: u16,
    /// Maximum number of clients.
    pub max_clients: usize,
    /// The hub.
    pub hub: Arc<Hub>,
    /// The source's ingress queue.
    pub ingress: Arc<Ingress>,
    /// The source's name.
    pub source_kind: SourceKind,
    /// The other endpoints.
    pub peers: Peers,
    /// The means by which it recognizes peers and proves itself to them.
    pub peer_trust: PeerTrust,
    /// The emergency stop.
    pub emergency_stop: Arc<EmergencyStop>,
    /// The bandwidth budget of each session.
    pub session_budget: Option<ByteRate>,
    /// The bandwidth budget shared by all sessions.
    pub endpoint_budget: Option<ByteRate>,
    /// The access rules.
    pub access: Arc<Access>,
    /// Access to the ROS graph.
    pub publisher: Arc<dyn SourceControl>,
    /// The topic of the emergency stop.
    pub stop_topic: String,
    /// The rover's name.
    pub rover: String,
    /// The path under which a proxy publishes the endpoint; empty: none.
    pub path_prefix: String,
    /// Who may command what.
    pub guards: Arc<Guards>,
    /// The shared coordination store.
    pub coordination: Arc<Coordination>,
    /// The directory of this gateway's state.
    pub state_dir: PathBuf,
    /// The spans of this process; `None` if traces are off.
    pub spans: Option<Arc<SpanRing>>,
    /// The log of this process.
    pub log: Arc<ProcessLog>,
}

impl EndpointBuilder {
    /// Builds an endpoint that does not listen yet.
    pub fn build(self) -> Arc<Endpoint> {
        let counters = Counters::default();
        let publisher =
            Arc::new(CountedControl { control: self.publisher, counters: counters.commands.clone() });
        let ros = Ros::new(publisher, self.hub.registry().clone(), self.hub.graph());
        let rover = GuardedRover { coordination: self.coordination.clone(), ros: ros.clone() };
        Arc::new(Endpoint {
            tier: self.tier,
            port: self.port,
            hub: self.hub,
            ingress: self.ingress,
            source_kind: self.source_kind,
            telemetry: Telemetry::default(),
            warm_up: WarmUp::new(self.source_kind, roverline_source::clock::monotonic()),
            directory: watch::Sender::new(Arc::new(Vec::new())),
            peers: self.peers,
            peer_trust: self.peer_trust,
            counters,
            events: Events::new(self.tier),
            supervision: Supervision::default(),
            session_budget: self.session_budget,
            shared_budget: self.endpoint_budget.map(SharedBudget::new),
            access: self.access,
            ros,
            advertised: AdvertisedServices::default(),
            alarms: AlarmBoard::default(),
            stop_topic: self.stop_topic,
            rover: self.rover,
            path_prefix: self.path_prefix,
            commands: Arc::new(Commands::new(rover, self.guards.clone(), self.tier)),
            command_streams: CommandStreams::default(),
            guards: self.guards,
            coordination: self.coordination,
            spans: self.spans,
            log: self.log,
            started_ns: roverline_source::clock::unix_ns(),
            pending_responses: Arc::new(Semaphore::new(limits::HTTP_RESPONSES_BYTES)),
            watchdog: Watchdog::default(),
            node_ages: NodeAges::default(),
            delivery_latency: Arc::default(),
            system: SystemStats::new(&self.state_dir),
            summary: SummaryCache::default(),
            waiting_requests: WaitingRequests::default(),
            observer_permits: Semaphore::new(crate::limits::OBSERVER_STORE_REQUESTS),
            large_messages: LargeMessages::default(),
            offloaded_calls: Arc::new(Semaphore::new(API_OFFLOAD_CALLS)),
            scoped_graph: ScopedGraph::default(),
            switch_reports: SwitchReports::default(),
            drain: watch::Sender::new(None),
            emergency_stop: self.emergency_stop,
            sessions: Mutex::default(),
            capacity: Capacity::new(self.max_clients),
            next_session: AtomicU64::new(1),
            stop: CancellationToken::new(),
        })
    }
}

/// A command of the emergency stop that has begun.
#[must_use = "a release is not in effect before it is finished"]
pub struct PendingStop {
    begun: BegunStop,
    id: String,
    by: String,
    client: Option<String>,
    engage: bool,
    reason: String,
}

impl Endpoint {
    /// Returns a session id that is unique in this process.
    pub fn next_session_id(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// The scopes that this endpoint serves.
    pub fn scopes(&self) -> ScopeSet {
        self.hub.scopes()
    }

    /// Changes the served scopes; topics are added and removed accordingly.
    pub fn serve_scopes(&self, scopes: ScopeSet) {
        self.hub.set_scopes(&self.ingress, scopes);
    }

    /// Whether a topic or service of this name and type is in the served scopes.
    pub fn is_in_scope(&self, name: &str, type_name: &str) -> bool {
        self.ingress.wants(name, type_name)
    }

    /// Whether the gateway itself provides the service of this name.
    pub fn is_gateway_service(&self, service: &str) -> bool {
        service == diagnostics::STATUS_SERVICE
    }

    /// Whether this is the topic of the emergency stop.
    pub fn is_stop_topic(&self, topic: &str) -> bool {
        topic == self.stop_topic
    }

    /// The bandwidth budget of a session, if there is one: the smaller of its own and the client's request, and
    /// the shared one.
    pub(crate) fn budget(&self, session: u64, requested: Option<ByteRate>) -> Option<Budget> {
        let own = self.session_budget.into_iter().chain(requested).min();
        Budget::new(session, own, self.shared_budget.clone(), roverline_source::clock::monotonic())
    }

    /// The part of the ROS graph that this endpoint serves: all nodes, and the topics and services in
    /// scope.
    pub fn graph(&self) -> Arc<Graph> {
        self.scoped_graph.get(self.ros.graph(), &self.ingress)
    }

    /// The client and standby slots.
    pub fn capacity(&self) -> &Arc<Capacity> {
        &self.capacity
    }

    /// Is cancelled when the endpoint stops.
    pub fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Asks every session to end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Begins to engage or release the emergency stop. A local engage is in effect when this returns.
    /// `client` is the unverified name that the client declares.
    pub fn begin_emergency_stop(&self, request: StopRequest<'_>, client: Option<String>) -> PendingStop {
        let begun = self.emergency_stop.begin(request);
        let StopRequest { by, id, engage, reason } = request;
        PendingStop { begun, id: id.to_owned(), by: by.to_owned(), client, engage, reason: reason.to_owned() }
    }

    /// Waits until the command is stored, or confirmed by a relay's rover, and records the change.
    pub async fn finish_emergency_stop(&self, pending: PendingStop) -> Result<StopAnswer, StopError> {
        let PendingStop { begun, id, by, client, engage, reason } = pending;
        let answer = self.emergency_stop.finish(begun).await?;
        if answer.changed {
            let word = if engage { "engaged" } else { "released" };
            let details = EventDetails { to: Some(id), by: Some(by), client, ..EventDetails::default() };
            self.events.record(EventKind::EmergencyStop, &format!("{word}: {reason}"), details);
        }
        Ok(answer)
    }

    /// Whether the emergency stop is already in this state.
    pub fn emergency_stop_is(&self, engaged: bool) -> bool {
        self.emergency_stop.is_state(engaged)
    }

    /// The emergency stop's latch; `None` at a relay, which does not know it.
    pub fn emergency_stop_state(&self) -> Option<StopState> {
        self.emergency_stop.local_state()
    }

    /// Whether the source has taken the latch's present state.
    pub fn emergency_stop_is_published(&self) -> bool {
        self.emergency_stop.is_published()
    }
}
