//! Builds an endpoint from the settings, and starts the tasks that run as long as it does.

use std::sync::Arc;
use std::time::Duration;

use roverline_coordination::Coordination;
use roverline_coordination::events::NodeIdentity;
use roverline_coordination::store::SQLITE;
use roverline_protocol::alarms::rule;
use roverline_protocol::{Routing, Tier};
use roverline_schema::Registry;
use roverline_source::clock::monotonic;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::access::Access;
use crate::authority::Guards;
use crate::config::Settings;
use crate::emergency_stop::EmergencyStop;
use crate::endpoint::alarms::evaluator::{AlarmPlan, evaluate_alarms};
use crate::endpoint::alarms::publication::publish_alarms;
use crate::endpoint::authority::{follow_locks, publish_authority, watch_link_loss};
use crate::endpoint::command_streams::log_command_streams;
use crate::endpoint::diagnostics::publish_diagnostics;
use crate::endpoint::node_ages::observe_nodes;
use crate::endpoint::peers::PeerPolicy;
use crate::endpoint::peers::mdns::announce_and_browse;
use crate::endpoint::peers::monitor::monitor_peers;
use crate::endpoint::peers::table::Peers;
use crate::endpoint::trace_export::TraceExport;
use crate::endpoint::watchdog::Work;
use crate::endpoint::{Endpoint, EndpointBuilder};
use crate::hub::{Hub, Ingress};
use crate::log::ProcessLog;
use crate::process::error::ProcessError;
use crate::process::policy::{peer_list, peer_trust};
use crate::process::reload::reload_tokens;
use crate::process::source_control::SourceControlHandle;
use crate::trace::otlp::ExportResource;
use crate::trace::ring::SpanRing;
use crate::trace::sample_ring::SampleRing;

/// Builds the endpoint of a tier, which listens on `port`.
pub fn build(
    tier: Tier,
    port: u16,
    settings: &Settings,
    outlet: &Arc<SourceControlHandle>,
    spans: Option<Arc<SpanRing>>,
    log: Arc<ProcessLog>,
) -> Result<(Arc<Endpoint>, Arc<EmergencyStop>), ProcessError> {
    let routing = Arc::new(Routing::new(&settings.route)?);
    let scopes = settings.scopes(tier);
    let registry = match std::env::var_os("AMENT_PREFIX_PATH") {
        Some(path) => Registry::with_ament(&path),
        None => Registry::bundled(),
    };
    let emergency_stop = if settings.gateway.source.is_relay() {
        EmergencyStop::forwarded(outlet.clone())
    } else {
        EmergencyStop::new(&settings.rover_dir(), &settings.gateway.emergency_stop_topic)
    };
    let hub = Hub::new(scopes, registry);
    let service = if settings.gateway.source.is_relay() { "relay" } else { tier.name() };
    let samples_per_s = if settings.trace.enabled { settings.trace.samples_per_s } else { 0 };
    if let Some(ring) = SampleRing::new(service, samples_per_s) {
        hub.trace_samples(ring.exported(spans.as_ref().and_then(|spans| spans.export())));
    }
    let builder = EndpointBuilder {
        tier,
        port,
        max_clients: settings.gateway.max_clients,
        hub,
        ingress: Ingress::new(routing, scopes),
        source_kind: settings.gateway.source,
        peers: Peers::new(peer_list(settings, tier)),
        peer_trust: peer_trust(settings, tier)?,
        emergency_stop: emergency_stop.clone(),
        session_budget: settings.session_budget(tier),
        endpoint_budget: settings.endpoint_budget(tier),
        access: Arc::new(Access::new(&settings.access)?),
        publisher: outlet.clone(),
        stop_topic: settings.gateway.emergency_stop_topic.clone(),
        rover: settings.rover(),
        path_prefix: settings.gateway.path_prefix.clone(),
        guards: Arc::new(guards(settings)),
        coordination: Arc::new(coordination(tier, settings)?),
        state_dir: settings.state_dir(),
        spans,
        log,
    };
    Ok((builder.build(), emergency_stop))
}

/// The guards of what is commanded; a relay's rover has its own, and a recording takes no commands.
fn guards(settings: &Settings) -> Guards {
    match settings.gateway.source.takes_emergency_stop() {
        true => Guards::new(&settings.authority, &settings.rover_dir()),
        false => Guards::none(),
    }
}

fn coordination(tier: Tier, settings: &Settings) -> Result<Coordination, ProcessError> {
    if settings.gateway.source.is_relay() {
        return Ok(Coordination::disabled("a relay shares nothing: ask the rover's own gateway"));
    }
    let state = settings.state_dir();
    let store = &settings.coordination.store;
    let identity = NodeIdentity::new(&node_name(tier, store), &state.join("keys"));
    Coordination::open(store, &state.join("store"), identity)
        .map_err(|error| ProcessError::Coordination(error.to_string()))
}

/// The node name that signs events: every computer that shares a store has its own keys.
fn node_name(tier: Tier, store: &str) -> String {
    let computer = computer_name().replace('/', "-");
    if store == SQLITE { tier.name().to_owned() } else { format!("{}@{computer}", tier.name()) }
}

fn computer_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Starts the export of this process's spans, if it is configured. `process` is a tier, or `relay`.
pub fn start_trace_export(
    settings: &Settings,
    process: &str,
    port: u16,
    spans: Option<&SpanRing>,
) -> Option<TraceExport> {
    let resource = ExportResource::new(&settings.rover(), process, &computer_name(), port);
    TraceExport::start(&settings.trace, spans?.export(), resource)
}

/// What an endpoint evaluates; `None` if alarms are off.
fn alarm_plan(settings: &Settings) -> Option<AlarmPlan> {
    // The rules were checked when the file was read.
    let rules = rule::compile(&settings.alarm).ok().filter(|_| settings.alarms.enabled)?;
    Some(AlarmPlan { settings: settings.alarms.clone(), rules, routes: settings.route.clone() })
}

/// Starts the endpoint's tasks, which run forever.
pub fn spawn_tasks(
    tasks: &mut JoinSet<()>,
    endpoint: &Arc<Endpoint>,
    emergency_stop: &Arc<EmergencyStop>,
    outlet: Arc<SourceControlHandle>,
    settings: &Settings,
    policy: PeerPolicy,
) {
    let source = settings.gateway.source;
    let (hub, ingress) = (endpoint.hub.clone(), endpoint.ingress.clone());
    let watched = endpoint.clone();
    tasks.spawn(async move {
        let running = hub.run(&ingress);
        watched.watchdog.watch(Work::Samples, "fan-out", running).await
    });
    tasks.spawn(run_hub_timers(endpoint.clone()));
    tasks.spawn(observe_nodes(endpoint.clone()));
    tasks.spawn(log_command_streams(endpoint.clone()));
    if !endpoint.guards.all().is_empty() {
        tasks.spawn(follow_locks(endpoint.clone()));
        tasks.spawn(watch_link_loss(endpoint.clone()));
    }
    match alarm_plan(settings) {
        Some(plan) => {
            tasks.spawn(evaluate_alarms(endpoint.clone(), plan));
            tasks.spawn(publish_alarms(endpoint.clone(), outlet.clone()));
        }
        None => endpoint.alarms.disable(),
    }
    let is_leader = watch::Sender::new(false);
    if source.is_ros_graph() {
        let (endpoint, rover) = (endpoint.clone(), policy.rover.clone());
        if !endpoint.guards.all().is_empty() {
            tasks.spawn(publish_authority(endpoint.clone(), is_leader.subscribe()));
        }
        tasks.spawn(publish_diagnostics(endpoint, outlet.clone(), rover, is_leader.subscribe()));
    }
    if let Some(host) = policy.mdns.clone() {
        tasks.spawn(announce_and_browse(endpoint.clone(), policy.rover.clone(), host));
    }
    let monitored = endpoint.clone();
    tasks.spawn(async move { monitor_peers(&monitored, policy, is_leader).await });
    tasks.spawn(reload_tokens(endpoint.clone()));
    if source.takes_emergency_stop() {
        let emergency_stop = emergency_stop.clone();
        // The built-in rover remembers the stop; a real graph may gain late subscribers.
        let repeated = source.is_ros_graph();
        tasks.spawn(async move { emergency_stop.publish(outlet, repeated).await });
    }
}

/// Sends throttled samples when they are due, and expires old replay samples. How late its timer is shows how long the
/// runtime was busy.
async fn run_hub_timers(endpoint: Arc<Endpoint>) {
    let hub = &endpoint.hub;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut expired = Duration::ZERO;
    loop {
        let due = tick.tick().await;
        let now = monotonic();
        endpoint.watchdog.record_stall(due.elapsed(), now);
        hub.flush_throttled(now);
        if now.saturating_sub(expired) >= Duration::from_secs(1) {
            expired = now;
            hub.expire(now);
        }
    }
}
