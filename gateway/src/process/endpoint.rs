//! One endpoint process from its listening socket to its last goodbye.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use roverline_coordination::Coordination;
use roverline_coordination::events::Identity;
use roverline_coordination::store::SQLITE;
use roverline_protocol::status::EventKind;
use roverline_protocol::{Routing, Tier, limits};
use roverline_schema::Registry;
use roverline_source::Sink;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::config::{Settings, SourceKind, peer_list};
use crate::emergency_stop::EmergencyStop;
use crate::endpoint::{
    Endpoint, Facts, Parts, Peers, Policy, announce_and_browse, diagnostics, event_log, watch_peers,
};
use crate::hub::{Hub, Ingress};
use crate::process::source::{self, Outlet};
use crate::process::{lifecycle_reporter, readiness};
use crate::server::listener::{Pending, accept_loop};
use crate::supervisor::heartbeat::{self, Word};

/// What an endpoint process is started with.
pub struct EndpointOptions {
    /// Which of the four.
    pub tier: Tier,
    /// The resolved settings, ports included.
    pub settings: Settings,
    /// The socket to accept from.
    pub listener: TcpListener,
    /// Whether a supervisor reads our heartbeats and holds our lifeline.
    pub supervised: bool,
    /// Whether another process accepts from the socket still: get ready to take over, and accept when
    /// told to.
    pub hold: bool,
}

/// Serves until SIGTERM, SIGINT or, when supervised, the order to drain or the supervisor's end. An
/// error is a sentence.
pub async fn run(options: EndpointOptions) -> Result<(), String> {
    let EndpointOptions { tier, settings, listener, supervised, hold } = options;
    let text = |error: std::io::Error| error.to_string();
    let address = listener.local_addr().map_err(text)?;
    listener.set_nonblocking(true).map_err(text)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(text)?;

    let outlet: Arc<Outlet> = Arc::default();
    let (endpoint, estop) = assemble(tier, address.port(), &settings, &outlet)?;
    let sink: Arc<dyn Sink> = endpoint.ingress.clone();
    let source = source::start(settings.clone(), supervised, &sink, outlet.clone());
    let mut tasks = tokio::task::JoinSet::new();
    let policy = settings.policy(tier, address.port());
    spawn_tasks(&mut tasks, &endpoint, &estop, outlet, settings.gateway.source, policy);
    let go = watch::Sender::new(!hold);
    // A relay shares nothing, and the rover's life is told by its own gateway.
    let lives = settings.gateway.source != SourceKind::Upstream;
    let life = lives.then(|| tokio::spawn(lifecycle_reporter::live(endpoint.clone(), go.subscribe())));
    // Whatever becomes of these, telemetry goes on.
    let mut logging = tokio::task::JoinSet::new();
    if lives {
        logging.spawn(event_log::keep(endpoint.clone()));
        logging.spawn(event_log::record(endpoint.clone()));
    }
    let mut accepting = tokio::spawn(accept(endpoint.clone(), listener, go.subscribe()));
    if supervised {
        tasks.spawn(live(endpoint.clone(), hold.then_some(address), go.subscribe()));
    } else {
        crate::cli::say_ready(&[(tier, settings.address(tier), address.port())]);
    }

    let ended = tokio::select! {
        ended = wait_for_end(supervised, &endpoint, &go) => ended.map_err(text),
        // These tasks run for ever. Without one of them the endpoint would be up and of no use:
        // better to end, and to be started anew.
        Some(task) = tasks.join_next() => Err(match task {
            Ok(()) => "one of the endpoint's own tasks ended".to_owned(),
            Err(error) => format!("one of the endpoint's own tasks failed: {error}"),
        }),
        ended = leave(&endpoint, &mut accepting, supervised) => ended,
    };
    tracing::info!(%tier, ?ended, "stopping");
    endpoint.stop();
    if !accepting.is_finished() {
        let _ = tokio::time::timeout(Duration::from_millis(200), accepting).await;
    }
    tokio::join!(
        say_goodbye(&endpoint),
        source.end(Duration::from_millis(limits::STOP_MS / 4)),
        lifecycle_reporter::said_goodbye(life)
    );
    logging.shutdown().await;
    tasks.shutdown().await;
    ended
}

/// Accepts as soon as it may.
async fn accept(
    endpoint: Arc<Endpoint>,
    listener: tokio::net::TcpListener,
    mut go: watch::Receiver<bool>,
) -> Pending {
    let mut stop = endpoint.stopping();
    tokio::select! {
        _ = go.wait_for(|go| *go) => {}
        _ = stop.changed() => {}
    }
    tracing::info!(tier = %endpoint.tier, port = endpoint.port, scopes = %endpoint.scopes(), "serving");
    endpoint.events.note(EventKind::EndpointUp, "this process serves", Facts::default());
    accept_loop(endpoint, listener).await
}

/// Tells the supervisor that this process serves, or would serve no worse than the one that accepts
/// at `predecessor`, and then that it lives.
async fn live(endpoint: Arc<Endpoint>, predecessor: Option<SocketAddr>, mut go: watch::Receiver<bool>) {
    if let Some(predecessor) = predecessor {
        tokio::select! {
            ready = readiness::up(&endpoint, predecessor) => if let Err(why) = ready {
                heartbeat::last_words(&why);
                return;
            },
            // The predecessor is gone: better a cold endpoint than none.
            _ = go.wait_for(|go| *go) => {}
        }
    }
    heartbeat::announce();
    heartbeat::beat().await;
}

/// The way out in order: returns when the endpoint was told to drain and its clients are gone.
async fn leave(
    endpoint: &Endpoint,
    accepting: &mut JoinHandle<Pending>,
    supervised: bool,
) -> Result<(), String> {
    let pending = accepting.await.map_err(|error| format!("the accept loop failed: {error}"))?;
    if supervised {
        heartbeat::quiet();
    }
    endpoint.clients_gone(&pending, Duration::from_millis(limits::STOP_MS / 2)).await;
    Ok(())
}

pub(crate) fn assemble(
    tier: Tier,
    port: u16,
    settings: &Settings,
    outlet: &Arc<Outlet>,
) -> Result<(Arc<Endpoint>, Arc<EmergencyStop>), String> {
    let routing = Arc::new(Routing::new(&settings.route).map_err(|error| error.to_string())?);
    let scopes = settings.scopes(tier);
    let registry = match std::env::var_os("AMENT_PREFIX_PATH") {
        Some(path) => Registry::with_ament(&path),
        None => Registry::bundled(),
    };
    let estop = match settings.gateway.source {
        SourceKind::Upstream => EmergencyStop::forwarded(outlet.clone()),
        _ => EmergencyStop::new(&settings.rover_dir(), &settings.gateway.emergency_stop_topic),
    };
    let endpoint = Endpoint::new(Parts {
        tier,
        port,
        max_clients: settings.gateway.max_clients,
        hub: Hub::new(scopes, registry),
        ingress: Ingress::new(routing, scopes),
        source_kind: settings.gateway.source.name(),
        peers: Peers::new(peer_list(settings, tier)),
        estop: estop.clone(),
        session_budget: settings.session_budget(tier),
        endpoint_budget: settings.endpoint_budget(tier),
        access: Arc::new(Access::new(&settings.access)?),
        publisher: outlet.clone(),
        stop_topic: settings.gateway.emergency_stop_topic.clone(),
        rover: settings.rover(),
        coordination: Arc::new(match settings.gateway.source {
            SourceKind::Upstream => {
                Coordination::nowhere("a relay shares nothing: ask the rover's own gateway")
            }
            _ => {
                let state = settings.state_dir();
                let store = &settings.coordination.store;
                let identity = Identity::new(&node_name(tier, store), &state.join("keys"));
                Coordination::open(store, &state.join("store"), identity)?
            }
        }),
    });
    Ok((endpoint, estop))
}

/// As whom it signs events: each computer that shares a store has keys of its own.
fn node_name(tier: Tier, store: &str) -> String {
    let computer = rustix::system::uname().nodename().to_string_lossy().replace('/', "-");
    if store == SQLITE { tier.name().to_owned() } else { format!("{}@{computer}", tier.name()) }
}

pub(crate) fn spawn_tasks(
    tasks: &mut tokio::task::JoinSet<()>,
    endpoint: &Arc<Endpoint>,
    estop: &Arc<EmergencyStop>,
    outlet: Arc<Outlet>,
    source: SourceKind,
    policy: Policy,
) {
    let (hub, ingress) = (endpoint.hub.clone(), endpoint.ingress.clone());
    tasks.spawn(async move { hub.run(&ingress).await });
    let hub = endpoint.hub.clone();
    tasks.spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut expired = Duration::ZERO;
        loop {
            tick.tick().await;
            let now = roverline_source::clock::monotonic();
            hub.flush_throttled(now);
            if now.saturating_sub(expired) >= Duration::from_secs(1) {
                expired = now;
                hub.expire(now);
            }
        }
    });
    let watched = endpoint.clone();
    let leads = tokio::sync::watch::Sender::new(false);
    if matches!(source, SourceKind::Dds | SourceKind::R2r) {
        let telling =
            diagnostics::tell(endpoint.clone(), outlet.clone(), policy.rover.clone(), leads.subscribe());
        tasks.spawn(telling);
    }
    if let Some(host) = policy.mdns.clone() {
        tasks.spawn(announce_and_browse(endpoint.clone(), policy.rover.clone(), host));
    }
    tasks.spawn(async move { watch_peers(&watched, policy, leads).await });
    // A recording takes nothing; of a relay, the rover's own gateway has the latch and publishes it.
    if !matches!(source, SourceKind::Bag | SourceKind::Upstream) {
        let estop = estop.clone();
        // The built-in rover remembers; a real graph gains late subscribers.
        let repeated = source != SourceKind::Sim;
        tasks.spawn(async move { estop.publish(outlet, repeated).await });
    }
}

async fn wait_for_end(
    supervised: bool,
    endpoint: &Endpoint,
    go: &watch::Sender<bool>,
) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = obey(endpoint, go), if supervised => {
            tracing::warn!("the supervisor is gone");
        }
    }
    Ok(())
}

/// Does what the supervisor says; returns when it is gone.
async fn obey(endpoint: &Endpoint, go: &watch::Sender<bool>) {
    let mut words = heartbeat::lifeline();
    while let Some(word) = words.recv().await {
        match word {
            Word::Accept => drop(go.send_replace(true)),
            Word::Drain(window) => endpoint.drain(window.min(Duration::from_millis(limits::REPLACE_MS))),
        }
    }
}

/// Waits until the sessions have said goodbye, within the time a stop may take.
async fn say_goodbye(endpoint: &Endpoint) {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(limits::STOP_MS / 2);
    while endpoint.clients() + endpoint.standbys() > 0 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
