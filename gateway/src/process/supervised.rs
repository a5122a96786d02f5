//! The supervised side of a process: its link to the supervisor, and its adoption socket, through which it
//! survives its supervisor and gets another one.

use std::net::TcpListener;
use std::sync::Arc;

use roverline_protocol::Tier;
use roverline_source::clock::{monotonic, unix_ns};
use rustix::process::Signal;

use crate::config::Settings;
use crate::endpoint::Endpoint;
use crate::log::levels::LevelChange;
use crate::process::adoption::{AdoptionSocket, Description};
use crate::process::heartbeat::{DIE_WITH_SUPERVISOR, SupervisorCommand, die_with_parent};
use crate::process::supervisor_link::{LinkEvent, LinkEvents, SupervisorLink};

/// The link and what becomes of this process when its supervisor is gone.
pub(super) struct Supervised {
    pub(super) link: Arc<SupervisorLink>,
    events: LinkEvents,
    survives: bool,
}

/// A change that the endpoint acts on.
pub(super) enum SupervisorChange {
    /// A command.
    Command(SupervisorCommand),
    /// The supervisor is gone, and this process serves on.
    Lost,
    /// The supervisor is gone, and this process ends with it.
    End,
}

impl Supervised {
    /// Opens the link. The second part is served by [`serve_adoption`]; it is absent if this process ends
    /// with its supervisor.
    pub(super) fn start(
        settings: &Settings,
        listeners: impl FnOnce() -> std::io::Result<Vec<TcpListener>>,
    ) -> (Supervised, Option<AdoptionSocket>) {
        let (link, events) = SupervisorLink::over_pipes();
        if std::env::var_os(DIE_WITH_SUPERVISOR).is_some() {
            return (Supervised { link, events, survives: false }, None);
        }
        let port = settings.port(Tier::Primary);
        let socket =
            listeners().and_then(|listeners| AdoptionSocket::bind(&settings.state_dir(), port, listeners));
        match socket {
            Ok(socket) => (Supervised { link, events, survives: true }, Some(socket)),
            Err(error) => {
                tracing::warn!(%error, "no adoption socket: this process ends with its supervisor");
                die_with_parent(Signal::KILL, None);
                (Supervised { link, events, survives: false }, None)
            }
        }
    }

    /// The next change, noted in the health of `endpoints`.
    pub(super) async fn next_change(&mut self, endpoints: &[Arc<Endpoint>]) -> SupervisorChange {
        loop {
            match self.events.next().await {
                LinkEvent::Command(SupervisorCommand::Log(change)) => change_level(endpoints, &change),
                LinkEvent::Command(command) => return SupervisorChange::Command(command),
                LinkEvent::Adopted => {
                    tracing::info!(
                        event_type = "supervisor.adopted",
                        "a supervisor has adopted this process"
                    );
                    endpoints.iter().for_each(|endpoint| endpoint.supervision.found());
                }
                LinkEvent::Lost if self.survives => {
                    tracing::warn!(
                        event_type = "supervisor.lost",
                        "the supervisor is gone; serving on until another one adopts this process"
                    );
                    endpoints.iter().for_each(|endpoint| endpoint.supervision.lost(unix_ns()));
                    return SupervisorChange::Lost;
                }
                LinkEvent::Lost => return SupervisorChange::End,
            }
        }
    }
}

/// Changes the level of the log, which all endpoints of a process share.
fn change_level(endpoints: &[Arc<Endpoint>], change: &LevelChange) {
    let Some(endpoint) = endpoints.first() else { return };
    if let Err(error) = endpoint.log.levels.change(change, monotonic()) {
        tracing::warn!(%error, "the level of the log is not changed");
    }
}

/// Lets supervisors adopt this process, forever. `accepting` is whether its endpoints accept connections.
pub(super) async fn serve_adoption(
    socket: AdoptionSocket,
    link: Arc<SupervisorLink>,
    endpoints: Vec<Arc<Endpoint>>,
    settings: Settings,
    accepting: impl Fn() -> bool,
) {
    let settings = serde_json::to_string(&settings).unwrap_or_default();
    let describe = || Description {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tiers: endpoints.iter().map(|endpoint| endpoint.tier).collect(),
        started_ns: endpoints.first().map_or(0, |endpoint| endpoint.started_ns),
        ready: link.is_ready(),
        accepting: accepting() && !endpoints.iter().any(|endpoint| endpoint.is_draining()),
        settings: settings.clone(),
    };
    socket.serve(&link, describe).await;
}
