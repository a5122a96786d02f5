//! One endpoint process from its listening socket to its last goodbye.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::{Routing, Tier, limits};
use roverline_schema::Registry;
use tokio::signal::unix::{SignalKind, signal};

use super::{Endpoint, Parts, Peers, accept_loop};
use crate::command::EmergencyStop;
use crate::config::{Settings, SourceKind, peer_list};
use crate::hub::{Hub, Ingress};
use crate::source::Sink;
use crate::source::runner::{self, Outlet};
use crate::supervisor::heartbeat;

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
}

/// Serves until SIGTERM, SIGINT or, when supervised, the supervisor's end. An error is a sentence.
pub async fn run(options: EndpointOptions) -> Result<(), String> {
    let EndpointOptions { tier, settings, listener, supervised } = options;
    let text = |error: std::io::Error| error.to_string();
    let port = listener.local_addr().map_err(text)?.port();
    listener.set_nonblocking(true).map_err(text)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(text)?;

    let outlet: Arc<Outlet> = Arc::default();
    let (endpoint, estop) = assemble(tier, port, &settings, &outlet)?;
    let sink: Arc<dyn Sink> = endpoint.ingress.clone();
    let source = runner::start(settings.clone(), supervised, &sink, outlet.clone());
    let mut tasks = tokio::task::JoinSet::new();
    spawn_tasks(&mut tasks, &endpoint, &estop, outlet, settings.gateway.source);
    let accepting = tokio::spawn(accept_loop(endpoint.clone(), listener));
    if supervised {
        heartbeat::announce();
        tasks.spawn(heartbeat::beat());
    } else {
        crate::cli::say_ready(&[(tier, settings.address(tier), port)]);
    }
    tracing::info!(%tier, port, scopes = %endpoint.scopes(), "serving");

    let ended = tokio::select! {
        ended = wait_for_end(supervised) => ended.map_err(text),
        // These tasks run for ever. Without one of them the endpoint would be up and of no use:
        // better to end, and to be started anew.
        Some(task) = tasks.join_next() => Err(match task {
            Ok(()) => "one of the endpoint's own tasks ended".to_owned(),
            Err(error) => format!("one of the endpoint's own tasks failed: {error}"),
        }),
    };
    tracing::info!(%tier, ?ended, "stopping");
    endpoint.stop();
    let _ = tokio::time::timeout(Duration::from_millis(200), accepting).await;
    tokio::join!(drain(&endpoint), source.end(Duration::from_millis(limits::STOP_MS / 4)));
    tasks.shutdown().await;
    ended
}

pub(super) fn assemble(
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
    });
    Ok((endpoint, estop))
}

pub(super) fn spawn_tasks(
    tasks: &mut tokio::task::JoinSet<()>,
    endpoint: &Arc<Endpoint>,
    estop: &Arc<EmergencyStop>,
    outlet: Arc<Outlet>,
    source: SourceKind,
) {
    let (hub, ingress) = (endpoint.hub.clone(), endpoint.ingress.clone());
    tasks.spawn(async move { hub.run(&ingress).await });
    let hub = endpoint.hub.clone();
    tasks.spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            hub.flush_throttled(crate::clock::monotonic());
        }
    });
    let watched = endpoint.clone();
    tasks.spawn(async move { watched.peers.watch(&watched).await });
    // A recording takes nothing; of a relay, the rover's own gateway has the latch and publishes it.
    if !matches!(source, SourceKind::Bag | SourceKind::Upstream) {
        let estop = estop.clone();
        // The built-in rover remembers; a real graph gains late subscribers.
        let repeated = source != SourceKind::Sim;
        tasks.spawn(async move { estop.publish(outlet, repeated).await });
    }
}

async fn wait_for_end(supervised: bool) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = heartbeat::lifeline(), if supervised => {
            tracing::warn!("the supervisor is gone");
        }
    }
    Ok(())
}

/// Waits until the sessions have said goodbye, within the time a stop may take.
async fn drain(endpoint: &Endpoint) {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(limits::STOP_MS / 2);
    while endpoint.clients() > 0 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
