//! The supervisor: the parent of the four endpoint processes. It owns the listening sockets, so a client
//! that reconnects during a restart waits in the backlog instead of being refused. It handles no telemetry,
//! so there is little that can crash it.

pub mod control;
mod port;
mod process;
mod replace;
mod rolling_restart;
mod worker;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::Tier;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::config::{Settings, SourceKind};
use crate::limits;
use crate::process::heartbeat;
use crate::process::ready::report_ready;
use crate::process::shutdown::shutdown_signal;
use crate::process::source::{prepare_bag_run, prepare_sim_run};
use crate::supervisor::control::Control;
pub use crate::supervisor::port::{BindError, bind};
pub use crate::supervisor::rolling_restart::{ProcessStatus, Progress};
use crate::supervisor::rolling_restart::{RollingRestart, TierHandle};

/// Why the supervisor could not start.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A port could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The path of this program is unknown.
    #[error("where this program is: {0}")]
    Executable(#[source] std::io::Error),
    /// The settings cannot be passed to the workers.
    #[error(transparent)]
    Settings(#[from] serde_json::Error),
    /// The signal handlers could not be installed.
    #[error(transparent)]
    Signals(std::io::Error),
}

/// An event from a worker's supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkerEvent {
    Ready(Tier),
    Stopped,
}

/// Binds the ports, keeps four endpoint processes running, and stops them on SIGTERM or SIGINT.
pub async fn run(mut settings: Settings) -> Result<(), SupervisorError> {
    let sockets = bind_all(&mut settings)?;
    prepare_sim_run(&mut settings);
    prepare_bag_run(&mut settings);
    let stop = CancellationToken::new();
    let (events, mut inbox) = mpsc::channel(16);
    let path = std::env::current_exe().map_err(SupervisorError::Executable)?;
    // A relay has one uplink and so one process: four would read the rover four times.
    let is_relay = settings.gateway.source == SourceKind::Upstream;
    let groups = match is_relay {
        true => vec![sockets],
        false => sockets.into_iter().map(|socket| vec![socket]).collect(),
    };
    let mut tiers = Vec::new();
    for sockets in groups {
        let (requests, inbox) = mpsc::channel(1);
        let tier = sockets.first().map_or(Tier::Primary, |(tier, _)| *tier);
        let worker = worker::WorkerSupervisor::new(sockets, &settings, path.clone(), events.clone(), inbox)?;
        if !is_relay {
            tiers.push(TierHandle { tier, port: settings.port(tier), requests, view: worker.view() });
        }
        let span = tracing::info_span!("supervisor", %tier);
        tokio::spawn(worker.run(stop.clone()).instrument(span));
    }
    drop(events);
    let _control = serve_control(&settings, RollingRestart::new(tiers));
    let mut signalled = pin!(shutdown_signal());
    let mut orphaned = pin!(heartbeat::wait_parent_exit());
    let mut ready: Vec<Tier> = Vec::new();
    let mut announced = false;
    loop {
        tokio::select! {
            event = inbox.recv() => match event {
                Some(WorkerEvent::Ready(tier)) => {
                    if !ready.contains(&tier) { ready.push(tier); }
                    if ready.len() == Tier::ALL.len() && !announced {
                        announced = true;
                        let all = Tier::ALL.map(|tier| (tier, settings.address(tier), settings.port(tier)));
                        report_ready(&all);
                    }
                }
                Some(WorkerEvent::Stopped) => {}
                None => return Ok(()),
            },
            result = &mut signalled => {
                result.map_err(SupervisorError::Signals)?;
                break;
            }
            () = &mut orphaned => break,
        }
    }
    tracing::info!("stopping");
    stop.cancel();
    let limit = Duration::from_millis(limits::STOP_MS + 300);
    // The channel closes when the last worker has exited.
    let _ = tokio::time::timeout(limit, async { while inbox.recv().await.is_some() {} }).await;
    Ok(())
}

/// Without its control socket the gateway still serves; only rolling restarts are unavailable.
fn serve_control(settings: &Settings, restart: RollingRestart) -> Option<AbortOnDropHandle<()>> {
    match Control::bind(&settings.state_dir(), settings.port(Tier::Primary)) {
        Ok(control) => Some(AbortOnDropHandle::new(tokio::spawn(control.serve(Arc::new(restart))))),
        Err(why) => {
            tracing::warn!(%why, "no control socket");
            eprintln!("roverline-gateway: no control socket, so no rolling restart: {why}");
            None
        }
    }
}

fn bind_all(settings: &mut Settings) -> Result<Vec<(Tier, std::net::TcpListener)>, BindError> {
    let mut sockets = Vec::new();
    for tier in Tier::ALL {
        let socket = bind(&settings.gateway.host, settings.port(tier), tier)?;
        settings.endpoint_mut(tier).port =
            Some(socket.local_addr().map_err(|error| BindError::other(&error))?.port());
        sockets.push((tier, socket));
    }
    Ok(sockets)
}
