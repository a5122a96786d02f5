//! The parent of the four endpoint processes. It owns the listening sockets, so that a client that
//! comes back during a restart waits in the backlog instead of being refused; it never touches
//! telemetry, so that there is little in it that could fail.

pub mod control;
pub mod heartbeat;
mod port;
mod process;
mod replace;
mod rolling_restart;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::{Tier, limits};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::config::{Settings, SourceKind};
use crate::supervisor::control::Control;
pub use crate::supervisor::port::{BindError, bind};
use crate::supervisor::rolling_restart::{Desk, Roller};
pub use crate::supervisor::rolling_restart::{Post, Progress};

/// What a child's keeper tells the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChildEvent {
    Ready(Tier),
    Stopped,
}

/// Binds the ports, keeps four endpoint processes alive, and stops them on SIGTERM or SIGINT. An
/// error is a sentence.
pub async fn run(mut settings: Settings) -> Result<(), String> {
    let sockets = bind_all(&mut settings).map_err(|error| error.to_string())?;
    settings.begin_sim();
    settings.begin_bag();
    let (stop, stopping) = watch::channel(false);
    let (events, mut inbox) = mpsc::channel(16);
    let path = std::env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    // One uplink means one process: four of them would read the rover four times.
    let is_relay = settings.gateway.source == SourceKind::Upstream;
    let charges = match is_relay {
        true => vec![sockets],
        false => sockets.into_iter().map(|socket| vec![socket]).collect(),
    };
    let mut desks = Vec::new();
    for charge in charges {
        let (orders, inbox) = mpsc::channel(1);
        let tier = charge.first().map_or(Tier::Primary, |(tier, _)| *tier);
        let keeper = worker::Keeper::new(charge, &settings, path.clone(), events.clone(), inbox)?;
        if !is_relay {
            desks.push(Desk { tier, port: settings.port(tier), orders, view: keeper.view() });
        }
        tokio::spawn(keeper.keep(stopping.clone()));
    }
    drop(events);
    let _control = serve_control(&settings, Roller::new(desks));
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let orphaned = heartbeat::parent_gone();
    tokio::pin!(orphaned);
    let mut ready: Vec<Tier> = Vec::new();
    let mut announced = false;
    loop {
        tokio::select! {
            event = inbox.recv() => match event {
                Some(ChildEvent::Ready(tier)) => {
                    if !ready.contains(&tier) { ready.push(tier); }
                    if ready.len() == Tier::ALL.len() && !announced {
                        announced = true;
                        let all = Tier::ALL.map(|tier| (tier, settings.address(tier), settings.port(tier)));
                        crate::cli::say_ready(&all);
                    }
                }
                Some(ChildEvent::Stopped) => {}
                None => return Ok(()),
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = &mut orphaned => break,
        }
    }
    tracing::info!("stopping");
    stop.send_replace(true);
    let patience = Duration::from_millis(limits::STOP_MS + 300);
    // The channel closes when the last keeper has seen its child end.
    let _ = tokio::time::timeout(patience, async { while inbox.recv().await.is_some() {} }).await;
    Ok(())
}

/// Without its control socket a gateway serves all the same: it only cannot be told to restart.
fn serve_control(settings: &Settings, roller: Roller) -> Option<Ending> {
    match Control::bind(&settings.state_dir(), settings.port(Tier::Primary)) {
        Ok(control) => Some(Ending(tokio::spawn(control.serve(Arc::new(roller))))),
        Err(why) => {
            tracing::warn!(why, "no control socket");
            eprintln!("roverline-gateway: no control socket, so no rolling restart: {why}");
            None
        }
    }
}

/// A task that ends with its owner.
struct Ending(tokio::task::JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
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
