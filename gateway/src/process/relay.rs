//! The relay process: all four endpoints in one process, fed by one source, so that there is one uplink.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use roverline_protocol::Tier;
use roverline_source::Sink;
use roverline_source::fanout_sink::FanoutSink;

use crate::config::Settings;
use crate::endpoint::Endpoint;
use crate::limits;
use crate::log::ProcessLog;
use crate::process::build::{build, spawn_tasks, start_trace_export};
use crate::process::error::ProcessError;
use crate::process::policy::peer_policy;
use crate::process::reload::reload_certificates;
use crate::process::shutdown::{shutdown_signal, wait_for_sessions};
use crate::process::source_control::SourceControlHandle;
use crate::process::source_runs;
use crate::process::supervised::{Supervised, SupervisorChange, serve_adoption};
use crate::process::{control_socket, log_levels};
use crate::server::listener::accept_loop;
use crate::server::tls::Tls;
use crate::trace::ring::SpanRing;

/// The options of a relay process.
pub struct RelayOptions {
    /// The resolved settings, including ports.
    pub settings: Settings,
    /// The listening sockets.
    pub listeners: Vec<(Tier, TcpListener)>,
    /// The spans of this process; `None` if traces are off.
    pub spans: Option<Arc<SpanRing>>,
    /// The log of this process.
    pub log: Arc<ProcessLog>,
}

/// Serves until SIGTERM or SIGINT. It outlives its supervisor unless it was started not to.
pub async fn run_relay(options: RelayOptions) -> Result<(), ProcessError> {
    let RelayOptions { settings, listeners, spans, log } = options;
    let control: Arc<SourceControlHandle> = Arc::default();
    let trace_export = start_trace_export(&settings, "relay", settings.port(Tier::Primary), spans.as_deref());
    let mut tasks = tokio::task::JoinSet::new();
    let mut accepting = Vec::new();
    let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
    let copies = || listeners.iter().map(|(_, listener)| listener.try_clone()).collect();
    let (mut supervised, adoption) = Supervised::start(&settings, copies);
    let tls = Tls::new(&settings.tls);
    for (tier, listener) in listeners {
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (endpoint, emergency_stop) = build(tier, port, &settings, &control, spans.clone(), log.clone())?;
        let policy = peer_policy(&settings, tier, port);
        spawn_tasks(&mut tasks, &endpoint, &emergency_stop, control.clone(), &settings, policy);
        accepting.push(tokio::spawn(accept_loop(endpoint.clone(), listener, tls.clone())));
        tracing::info!(event_type = "endpoint.serving", %tier, port, scopes = %endpoint.scopes(), "serving");
        endpoints.push(endpoint);
    }
    let socket = control_socket::socket_path(&settings.state_dir(), settings.port(Tier::Primary));
    tasks.spawn(log_levels::run(log, endpoints.clone(), Some(socket)));
    if let Some(tls) = tls {
        let accesses = endpoints.iter().map(|endpoint| endpoint.access.clone()).collect();
        tasks.spawn(reload_certificates(tls, accesses));
    }
    let ingresses = endpoints.iter().map(|endpoint| endpoint.ingress.clone() as Arc<dyn Sink>);
    let sink: Arc<dyn Sink> = FanoutSink::new(ingresses.collect());
    let link = supervised.link.clone();
    if let Some(socket) = adoption {
        tasks.spawn(serve_adoption(socket, link.clone(), endpoints.clone(), settings.clone(), || true));
    }
    let source = source_runs::start(settings, Tier::Primary, true, &sink, control, Duration::ZERO);
    link.report_ready();
    tasks.spawn(async move { link.beat().await });

    let result = tokio::select! {
        result = wait_for_shutdown(&mut supervised, &endpoints) => result.map_err(ProcessError::Io),
        // As in a single endpoint, a relay without one of these tasks would be running but useless.
        Some(task) = tasks.join_next() => Err(ProcessError::from_task("relay", task)),
    };
    tracing::info!(event_type = "relay.stopping", ?result, "stopping");
    for endpoint in &endpoints {
        endpoint.stop();
    }
    let _ = tokio::time::timeout(Duration::from_millis(200), join_all(accepting)).await;
    tokio::join!(wait_for_sessions(&endpoints), source.shutdown(Duration::from_millis(limits::STOP_MS / 4)));
    tasks.shutdown().await;
    if let Some(trace_export) = trace_export {
        trace_export.stop().await;
    }
    result
}

async fn wait_for_shutdown(supervised: &mut Supervised, endpoints: &[Arc<Endpoint>]) -> std::io::Result<()> {
    tokio::select! {
        result = shutdown_signal() => result,
        () = supervisor_gone(supervised, endpoints) => {
            tracing::warn!(event_type = "supervisor.lost", "the supervisor is gone");
            Ok(())
        }
    }
}

/// Returns when this process has to end with its supervisor. A relay is not replaced while it serves, so it
/// ignores all commands.
async fn supervisor_gone(supervised: &mut Supervised, endpoints: &[Arc<Endpoint>]) {
    while !matches!(supervised.next_change(endpoints).await, SupervisorChange::End) {}
}
