//! The parent of the four endpoint processes. It owns the listening sockets, so that a client that
//! comes back during a restart waits in the backlog instead of being refused; it never touches
//! telemetry, so that there is little in it that could fail.

mod child;
pub mod heartbeat;
mod port;

use std::time::Duration;

use roverline_protocol::{Tier, limits};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

pub use port::{BindError, bind};

use crate::config::{Settings, SourceKind};

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
    let epoch = crate::clock::unix_ns();
    settings.begin_sim();
    if settings.gateway.source == SourceKind::Bag {
        // Time for four processes to start and for clients to attach.
        settings.bag.epoch_ns.get_or_insert(epoch + 1_000_000_000);
    }
    let (stop, stopping) = watch::channel(false);
    let (events, mut inbox) = mpsc::channel(16);
    // One uplink means one process: four of them would read the rover four times.
    let charges = match settings.gateway.source {
        SourceKind::Upstream => vec![sockets],
        _ => sockets.into_iter().map(|socket| vec![socket]).collect(),
    };
    for charge in charges {
        let child = child::Keeper::new(charge, &settings, events.clone())?;
        tokio::spawn(child.keep(stopping.clone()));
    }
    drop(events);
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
