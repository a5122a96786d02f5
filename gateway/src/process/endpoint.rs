//! The life of one endpoint process, from its listening socket to its graceful exit.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::status::EventKind;
use roverline_source::Sink;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::config::Settings;
use crate::endpoint::events::EventDetails;
use crate::endpoint::{Endpoint, event_log};
use crate::limits;
use crate::log::ProcessLog;
use crate::process::build::{build, spawn_tasks, start_trace_export};
use crate::process::error::ProcessError;
use crate::process::heartbeat::SupervisorCommand;
use crate::process::policy::peer_policy;
use crate::process::reload::reload_certificates;
use crate::process::shutdown::{shutdown_signal, wait_for_sessions};
use crate::process::source_control::SourceControlHandle;
use crate::process::source_runs::{self, SourceHandle};
use crate::process::stagger::reopen_delay;
use crate::process::supervised::{Supervised, SupervisorChange, serve_adoption};
use crate::process::supervisor_link::SupervisorLink;
use crate::process::{control_socket, lifecycle_reporter, log_levels, readiness, ready_announcement};
use crate::server::listener::accept_loop;
use crate::server::pending::PendingConnections;
use crate::server::tls::Tls;
use crate::trace::ring::SpanRing;

/// The options of an endpoint process.
pub struct EndpointOptions {
    /// The endpoint's tier.
    pub tier: Tier,
    /// The resolved settings, including ports.
    pub settings: Settings,
    /// The listening socket.
    pub listener: TcpListener,
    /// The spans of this process; `None` if traces are off.
    pub spans: Option<Arc<SpanRing>>,
    /// The log of this process.
    pub log: Arc<ProcessLog>,
    /// Whether a supervisor reads this process's heartbeat and holds its command pipe.
    pub supervised: bool,
    /// Whether another process still accepts from the socket: warm up, and accept only on command.
    pub defer_accept: bool,
}

/// Serves until SIGTERM, SIGINT or, when supervised, the drain command. It outlives its supervisor unless it
/// was started not to.
pub async fn run(options: EndpointOptions) -> Result<(), ProcessError> {
    let EndpointOptions { tier, settings, listener, spans, log, supervised, defer_accept } = options;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let supervised = supervised.then(|| Supervised::start(&settings, || Ok(vec![listener.try_clone()?])));
    let listener = tokio::net::TcpListener::from_std(listener)?;

    let trace_export = start_trace_export(&settings, tier.name(), address.port(), spans.as_deref());
    let outlet: Arc<SourceControlHandle> = Arc::default();
    let (endpoint, emergency_stop) = build(tier, address.port(), &settings, &outlet, spans, log.clone())?;
    let sink: Arc<dyn Sink> = endpoint.ingress.clone();
    let source = source_runs::start(
        settings.clone(),
        tier,
        supervised.is_some(),
        &sink,
        outlet.clone(),
        reopen_delay(tier),
    );
    let mut tasks = JoinSet::new();
    let policy = peer_policy(&settings, tier, address.port());
    spawn_tasks(&mut tasks, &endpoint, &emergency_stop, outlet, &settings, policy);
    let socket = supervised
        .is_some()
        .then(|| control_socket::socket_path(&settings.state_dir(), settings.port(Tier::Primary)));
    tasks.spawn(log_levels::run(log, vec![endpoint.clone()], socket));
    let accept_gate = watch::Sender::new(!defer_accept);
    // A relay has no coordination store; the rover's own gateway reports the rover's lifecycle.
    let reports_lifecycle = !settings.gateway.source.is_relay();
    let lifecycle_task = reports_lifecycle
        .then(|| tokio::spawn(lifecycle_reporter::run(endpoint.clone(), accept_gate.subscribe())));
    // Telemetry continues even if these tasks fail.
    let mut logging = JoinSet::new();
    if reports_lifecycle {
        logging.spawn(event_log::forward_events(endpoint.clone()));
        logging.spawn(event_log::record(endpoint.clone()));
    }
    let tls = Tls::new(&settings.tls);
    if let Some(tls) = tls.clone() {
        tasks.spawn(reload_certificates(tls, vec![endpoint.access.clone()]));
    }
    let mut accepting = tokio::spawn(accept(endpoint.clone(), listener, tls, accept_gate.subscribe()));
    let mut supervised = supervised.map(|(supervised, adoption)| {
        let link = supervised.link.clone();
        if let Some(socket) = adoption {
            let (accepting, all) = (accept_gate.subscribe(), vec![endpoint.clone()]);
            let accepting = move || *accepting.borrow();
            tasks.spawn(serve_adoption(socket, link.clone(), all, settings.clone(), accepting));
        }
        let predecessor = defer_accept.then_some(address);
        tasks.spawn(run_heartbeat(endpoint.clone(), link, predecessor, accept_gate.subscribe()));
        supervised
    });
    if supervised.is_none() {
        ready_announcement::report_ready(&[(tier, settings.address(tier), address.port())]);
    }
    let supervises = supervised.is_some();
    let link = supervised.as_ref().map(|supervised| supervised.link.clone());

    let result = tokio::select! {
        result = wait_for_shutdown(supervised.as_mut(), &endpoint, &accept_gate) => result.map_err(ProcessError::Io),
        // These tasks run forever. If one ends, the endpoint exits and is restarted; a running but useless
        // endpoint would be worse.
        Some(task) = tasks.join_next() => Err(ProcessError::from_task("endpoint", task)),
        silence = endpoint.wait_source_hung(), if supervises => Err(ProcessError::SourceHung(silence.as_secs())),
        result = drain_and_exit(&endpoint, &mut accepting, link) => result,
    };
    tracing::info!(event_type = "endpoint.stopping", %tier, ?result, "stopping");
    shut_down(&endpoint, accepting, source, lifecycle_task).await;
    logging.shutdown().await;
    tasks.shutdown().await;
    if let Some(trace_export) = trace_export {
        trace_export.stop().await;
    }
    result
}

/// Stops accepting, and waits until the sessions have ended, the source has left the graph, and the end of the
/// endpoint is reported.
async fn shut_down(
    endpoint: &Arc<Endpoint>,
    accepting: JoinHandle<Arc<PendingConnections>>,
    source: SourceHandle,
    lifecycle_task: Option<JoinHandle<()>>,
) {
    endpoint.stop();
    if !accepting.is_finished() {
        let _ = tokio::time::timeout(Duration::from_millis(200), accepting).await;
    }
    tokio::join!(
        wait_for_sessions(std::slice::from_ref(endpoint)),
        source.shutdown(Duration::from_millis(limits::STOP_MS / 4)),
        lifecycle_reporter::wait_reported(lifecycle_task)
    );
}

/// Accepts connections once the gate opens.
async fn accept(
    endpoint: Arc<Endpoint>,
    listener: tokio::net::TcpListener,
    tls: Option<Arc<Tls>>,
    mut accept_gate: watch::Receiver<bool>,
) -> Arc<PendingConnections> {
    tokio::select! {
        _ = accept_gate.wait_for(|open| *open) => {}
        () = endpoint.stop_token().cancelled() => {}
    }
    tracing::info!(event_type = "endpoint.serving", tier = %endpoint.tier, port = endpoint.port, scopes = %endpoint.scopes(), "serving");
    endpoint.events.record(EventKind::EndpointUp, "this process serves", EventDetails::default());
    accept_loop(endpoint, listener, tls).await
}

/// Reports to the supervisor that this process serves, or is ready to replace the process that accepts at
/// `predecessor`; then sends heartbeats.
async fn run_heartbeat(
    endpoint: Arc<Endpoint>,
    link: Arc<SupervisorLink>,
    predecessor: Option<SocketAddr>,
    mut accept_gate: watch::Receiver<bool>,
) {
    if let Some(predecessor) = predecessor {
        tokio::select! {
            ready = readiness::wait_until_ready(&endpoint, predecessor) => if let Err(why) = ready {
                link.report_failure(&why.to_string());
                return;
            },
            // The predecessor is gone: an endpoint that is not warmed up is better than none.
            _ = accept_gate.wait_for(|open| *open) => {}
        }
    }
    link.report_ready();
    link.beat().await;
}

/// The graceful exit: returns when the endpoint was told to drain and its clients are gone.
async fn drain_and_exit(
    endpoint: &Endpoint,
    accepting: &mut JoinHandle<Arc<PendingConnections>>,
    link: Option<Arc<SupervisorLink>>,
) -> Result<(), ProcessError> {
    let pending = accepting.await.map_err(ProcessError::AcceptLoop)?;
    if let Some(link) = link {
        link.report_not_accepting();
    }
    endpoint.wait_drained(pending.wait_idle(), Duration::from_millis(limits::STOP_MS / 2)).await;
    Ok(())
}

async fn wait_for_shutdown(
    supervised: Option<&mut Supervised>,
    endpoint: &Arc<Endpoint>,
    accept_gate: &watch::Sender<bool>,
) -> std::io::Result<()> {
    let followed = async {
        match supervised {
            Some(supervised) => follow_supervisor(supervised, endpoint, accept_gate).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = shutdown_signal() => result,
        () = followed => {
            tracing::warn!(event_type = "supervisor.lost", "the supervisor is gone");
            Ok(())
        }
    }
}

/// Executes the supervisor's commands; returns when this process has to end with its supervisor.
async fn follow_supervisor(
    supervised: &mut Supervised,
    endpoint: &Arc<Endpoint>,
    accept_gate: &watch::Sender<bool>,
) {
    loop {
        match supervised.next_change(std::slice::from_ref(endpoint)).await {
            SupervisorChange::Command(SupervisorCommand::Accept) => drop(accept_gate.send_replace(true)),
            // Followed where it is received.
            SupervisorChange::Command(SupervisorCommand::Log(_)) => {}
            SupervisorChange::Command(SupervisorCommand::Drain(window)) => {
                endpoint.drain(window.min(Duration::from_millis(limits::REPLACE_MS)));
            }
            // The predecessor may have been told to leave already, so a replacement that is ready accepts;
            // one that is not ready is of no use.
            SupervisorChange::Lost if supervised.link.is_ready() || *accept_gate.borrow() => {
                accept_gate.send_replace(true);
            }
            SupervisorChange::Lost | SupervisorChange::End => return,
        }
    }
}
