//! A relay: all four endpoints in one process, fed by one source. One uplink means one process.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use roverline_protocol::{Tier, limits};
use roverline_source::Sink;
use roverline_source::fanout_sink::Fan;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Settings;
use crate::endpoint::Endpoint;
use crate::process::endpoint::{assemble, spawn_tasks};
use crate::process::source::{self, Outlet};
use crate::server::listener::accept_loop;
use crate::supervisor::heartbeat;

/// What a relay process is started with.
pub struct RelayOptions {
    /// The resolved settings, ports included.
    pub settings: Settings,
    /// The sockets to accept from.
    pub listeners: Vec<(Tier, TcpListener)>,
}

/// Serves until SIGTERM, SIGINT or the supervisor's end. An error is a sentence.
pub async fn run_relay(options: RelayOptions) -> Result<(), String> {
    let RelayOptions { settings, listeners } = options;
    let outlet: Arc<Outlet> = Arc::default();
    let mut tasks = tokio::task::JoinSet::new();
    let mut accepting = Vec::new();
    let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
    for (tier, listener) in listeners {
        let text = |error: std::io::Error| error.to_string();
        let port = listener.local_addr().map_err(text)?.port();
        listener.set_nonblocking(true).map_err(text)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(text)?;
        let (endpoint, estop) = assemble(tier, port, &settings, &outlet)?;
        let policy = settings.policy(tier, port);
        spawn_tasks(&mut tasks, &endpoint, &estop, outlet.clone(), settings.gateway.source, policy);
        accepting.push(tokio::spawn(accept_loop(endpoint.clone(), listener)));
        tracing::info!(%tier, port, scopes = %endpoint.scopes(), "serving");
        endpoints.push(endpoint);
    }
    let ingresses = endpoints.iter().map(|endpoint| endpoint.ingress.clone() as Arc<dyn Sink>);
    let sink: Arc<dyn Sink> = Fan::new(ingresses.collect());
    let source = source::start(settings, true, &sink, outlet);
    heartbeat::announce();
    tasks.spawn(heartbeat::beat());

    let ended = tokio::select! {
        ended = wait_for_end() => ended.map_err(|error| error.to_string()),
        // As in a single endpoint: without one of these the relay would be up and of no use.
        Some(task) = tasks.join_next() => Err(match task {
            Ok(()) => "one of the relay's own tasks ended".to_owned(),
            Err(error) => format!("one of the relay's own tasks failed: {error}"),
        }),
    };
    tracing::info!(?ended, "stopping");
    for endpoint in &endpoints {
        endpoint.stop();
    }
    let _ = tokio::time::timeout(Duration::from_millis(200), join_all(accepting)).await;
    tokio::join!(say_goodbye(&endpoints), source.end(Duration::from_millis(limits::STOP_MS / 4)));
    tasks.shutdown().await;
    ended
}

/// Returns when the supervisor is gone. A relay is not replaced while it serves: it knows no other word.
async fn orphaned() {
    let mut words = heartbeat::lifeline();
    while words.recv().await.is_some() {}
}

async fn wait_for_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = orphaned() => tracing::warn!("the supervisor is gone"),
    }
    Ok(())
}

/// Waits until the sessions have said goodbye, within the time a stop may take.
async fn say_goodbye(endpoints: &[Arc<Endpoint>]) {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(limits::STOP_MS / 2);
    while endpoints.iter().any(|endpoint| endpoint.clients() + endpoint.standbys() > 0)
        && tokio::time::Instant::now() < deadline
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
