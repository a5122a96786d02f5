//! The supervisor: the parent of the four endpoint processes. It owns the listening sockets, so a client
//! that reconnects during a restart waits in the backlog instead of being refused. It handles no telemetry,
//! so there is little that can crash it; if it ends all the same, its endpoints serve on, and the next
//! supervisor adopts them with their sockets.

mod allocator;
pub mod control;
pub mod down;
mod orphans;
mod port;
mod process;
mod process_handle;
mod replace;
mod rolling_restart;
mod socket_peer;
mod state_lock;
mod takeover;
mod worker;

use std::io::{IsTerminal, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::printable::printable_lines;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::config::Settings;
use crate::limits;
use crate::log::ProcessLog;
use crate::process::heartbeat::{self, SupervisorCommand};
use crate::process::ready_announcement::report_ready;
use crate::process::shutdown::shutdown_signal;
use crate::process::source::{self, prepare_bag_run, prepare_sim_run};
use crate::process::stagger::RecentEnds;
use crate::supervisor::control::{Control, ControlCommands};
pub use crate::supervisor::port::{BindError, bind};
use crate::supervisor::process::{Launch, Process};
pub use crate::supervisor::rolling_restart::{ProcessStatus, Progress};
use crate::supervisor::rolling_restart::{RollingRestart, TierHandle};
use crate::supervisor::state_lock::StateLock;
pub use crate::supervisor::state_lock::StateLockError;
use crate::supervisor::takeover::{Adopted, Takeover, take_over};
use crate::supervisor::worker::{SharedState, WorkerSupervisor};

/// Why the supervisor could not start.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A port could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Another supervisor runs.
    #[error(transparent)]
    Lock(#[from] StateLockError),
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

/// The options of a supervisor.
pub struct SupervisorOptions {
    /// The settings.
    pub settings: Settings,
    /// The log of this process.
    pub log: Arc<ProcessLog>,
    /// Whether the endpoints end with this process, even if it is killed.
    pub die_with_supervisor: bool,
}

/// The endpoints of one process: a tier, or all of them in a relay.
struct Group {
    sockets: Vec<(Tier, TcpListener)>,
    adopted: Option<Adopted>,
}

/// Binds the ports, keeps four endpoint processes running, and stops them on SIGTERM or SIGINT. Processes
/// that an earlier supervisor left behind are adopted.
pub async fn run(options: SupervisorOptions) -> Result<(), SupervisorError> {
    let SupervisorOptions { mut settings, log, die_with_supervisor } = options;
    let path = std::env::current_exe().map_err(SupervisorError::Executable)?;
    // A state directory that is named by the port is unknown until a free port is bound.
    let named = settings.gateway.state_dir.is_some() || settings.port(Tier::Primary) != 0;
    let mut lock = if named { lock(&settings).await? } else { None };
    let takeover = if named { take_over(&settings, &path) } else { Takeover::default() };
    let groups = bind_all(&mut settings, takeover.adopted)?;
    if !named {
        lock = self::lock(&settings).await?;
    }
    let adopted = groups.iter().filter_map(|group| group.adopted.as_ref());
    if !Adopted::inherit_run(&mut settings, adopted) {
        prepare_sim_run(&mut settings);
        prepare_bag_run(&mut settings);
    }
    takeover.surplus.into_iter().for_each(|process| drop(tokio::spawn(replace::drain(process))));
    let stop = CancellationToken::new();
    let (events, inbox) = mpsc::channel(16);
    let mut workers = Workers {
        settings,
        path,
        die_with_supervisor,
        events,
        stop,
        ends: Arc::default(),
        reload: watch::Sender::new(0),
        log: log.clone(),
        names: vec!["supervisor".to_owned()],
        tiers: Vec::new(),
        outdated: Vec::new(),
    };
    for group in groups {
        workers.spawn(group).await?;
    }
    let Workers { settings, stop, tiers, names, outdated, events, reload, .. } = workers;
    drop(events);
    let restart = Arc::new(RollingRestart::new(tiers));
    let commands = ControlCommands { restart: restart.clone(), log: log.clone(), processes: names };
    let _control = serve_control(&settings, commands);
    let _log = AbortOnDropHandle::new(tokio::spawn(async move { log.run().await }));
    let _replacing = AbortOnDropHandle::new(tokio::spawn(replace_outdated(restart, outdated)));
    supervise(&settings, stop, inbox, &reload).await?;
    drop(lock);
    Ok(())
}

/// Runs until a signal stops the workers or the last one has ended.
async fn supervise(
    settings: &Settings,
    stop: CancellationToken,
    mut inbox: mpsc::Receiver<WorkerEvent>,
    reload: &watch::Sender<u64>,
) -> Result<(), SupervisorError> {
    let mut signalled = pin!(shutdown_signal());
    let mut hung_up = pin!(terminal_hangup(reload));
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
            result = &mut hung_up => {
                result.map_err(SupervisorError::Signals)?;
                break;
            }
            () = &mut orphaned => break,
        }
    }
    tracing::info!(event_type = "supervisor.stopping", "stopping");
    stop.cancel();
    let limit = Duration::from_millis(limits::STOP_MS + 300);
    // The channel closes when the last worker has exited.
    let _ = tokio::time::timeout(limit, async { while inbox.recv().await.is_some() {} }).await;
    Ok(())
}

/// Resolves when the supervisor's terminal is closed. Endpoints that it left behind would go unnoticed. Without a
/// terminal the signal requests a reload, which each endpoint performs.
async fn terminal_hangup(reload: &watch::Sender<u64>) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        if std::io::stdin().is_terminal() {
            return Ok(());
        }
        tracing::info!(
            event_type = "supervisor.reload",
            "SIGHUP: the endpoints read tokens, keys and certificates again"
        );
        reload.send_modify(|count| *count += 1);
    }
    std::future::pending().await
}

/// The workers: their common settings, and those that were started.
struct Workers {
    settings: Settings,
    path: PathBuf,
    die_with_supervisor: bool,
    events: mpsc::Sender<WorkerEvent>,
    stop: CancellationToken,
    ends: Arc<RecentEnds>,
    /// Counts the requests to read files again.
    reload: watch::Sender<u64>,
    log: Arc<ProcessLog>,
    /// The processes, this one first.
    names: Vec<String>,
    tiers: Vec<TierHandle>,
    /// Tiers whose adopted process has to be replaced, and why.
    outdated: Vec<(Tier, &'static str)>,
}

impl Workers {
    /// Starts the supervisor of a group's process.
    async fn spawn(&mut self, group: Group) -> Result<(), SupervisorError> {
        let Group { sockets, adopted } = group;
        let is_relay = sockets.len() > 1;
        let (requests, inbox) = mpsc::channel(1);
        let tier = sockets.first().map_or(Tier::Primary, |(tier, _)| *tier);
        let process = match adopted {
            Some(adopted) => self.follow(tier, is_relay, adopted).await,
            None => None,
        };
        let (tiers, sockets) = sockets.into_iter().unzip();
        let port = self.settings.port(Tier::Primary);
        let launch = Launch {
            tiers,
            sockets,
            settings: serde_json::to_string(&self.settings)?,
            adoption: (!self.die_with_supervisor).then(|| (self.settings.state_dir(), port)),
            environment: source::environment(&self.settings),
            memory_mib: self.settings.process.memory_mib,
            path: self.path.clone(),
            fall_back: false,
        };
        let (events, ends) = (self.events.clone(), self.ends.clone());
        let shared = SharedState { ends, reloads: self.reload.subscribe(), log: self.log.clone() };
        let worker = WorkerSupervisor::new(launch, process, events, inbox, shared);
        self.names.push(if is_relay { "relay" } else { tier.name() }.to_owned());
        if !is_relay {
            let port = self.settings.port(tier);
            self.tiers.push(TierHandle { tier, port, requests, view: worker.view() });
        }
        let span = tracing::info_span!("supervisor", %tier);
        tokio::spawn(worker.run(self.stop.clone()).instrument(span));
        Ok(())
    }

    /// Continues with an adopted process. A relay's process cannot be replaced while it serves, so an
    /// outdated one ends, and its clients wait for the next one.
    async fn follow(&mut self, tier: Tier, is_relay: bool, adopted: Adopted) -> Option<Process> {
        let outdated = adopted.outdated(&self.settings);
        let mut process = adopted.process;
        let name = if is_relay { "relay".to_owned() } else { format!("{tier} endpoint") };
        match outdated {
            None => print_error(&format!("{name}: adopted process {}", process.pid)),
            Some(why) => {
                print_error(&format!(
                    "{name}: adopted process {}, which has {why}; replacing it",
                    process.pid
                ));
            }
        }
        if is_relay && outdated.is_some() {
            process.stop().await;
            return None;
        }
        self.outdated.extend(outdated.map(|why| (tier, why)));
        // A replacement that was not told so by its supervisor.
        process.send_command(SupervisorCommand::Accept).await;
        Some(process)
    }
}

/// Replaces adopted processes that have another program or other settings, the least important first. Stops
/// at the first failure, as any rolling restart does.
async fn replace_outdated(restart: Arc<RollingRestart>, outdated: Vec<(Tier, &'static str)>) {
    for (tier, why) in outdated.into_iter().rev() {
        let (progress, _) = mpsc::channel(1);
        match restart.run(Some(tier), progress).await {
            Ok(_) => print_error(&format!("{tier} endpoint: replaced, because it had {why}")),
            Err(error) => {
                print_error(&format!("{tier} endpoint: it had {why} and could not be replaced: {error}"));
                return;
            }
        }
    }
}

/// Writes a line to standard error, which may be closed.
fn print_error(text: &str) {
    let _ = writeln!(std::io::stderr(), "roverline-gateway: {}", printable_lines(text));
}

/// Without a lock file, for example on a read-only disk, the gateway still serves.
async fn lock(settings: &Settings) -> Result<Option<StateLock>, SupervisorError> {
    match StateLock::acquire(&settings.state_dir()).await {
        Ok(lock) => Ok(Some(lock)),
        Err(held @ StateLockError::Held { .. }) => Err(held.into()),
        Err(error) => {
            tracing::warn!(%error, "no lock");
            print_error(&format!("the state directory is not locked against a second supervisor: {error}"));
            Ok(None)
        }
    }
}

/// Without its control socket the gateway still serves; only rolling restarts are unavailable.
fn serve_control(settings: &Settings, commands: ControlCommands) -> Option<AbortOnDropHandle<()>> {
    match Control::bind(&settings.state_dir(), settings.port(Tier::Primary)) {
        Ok(control) => Some(AbortOnDropHandle::new(tokio::spawn(control.serve(Arc::new(commands))))),
        Err(why) => {
            tracing::warn!(%why, "no control socket");
            print_error(&format!("no control socket, so no rolling restart: {why}"));
            None
        }
    }
}

/// The listening sockets of all processes: those of adopted processes, and newly bound ones.
fn bind_all(settings: &mut Settings, mut adopted: Vec<Adopted>) -> Result<Vec<Group>, BindError> {
    // A relay has one uplink and so one process: four would read the rover four times.
    let groups = match settings.gateway.source.is_relay() {
        true => vec![Tier::ALL.to_vec()],
        false => Tier::ALL.map(|tier| vec![tier]).to_vec(),
    };
    let mut bound = Vec::new();
    for tiers in groups {
        let at = adopted.iter().position(|adopted| adopted.serves(&tiers));
        let mut adopted = at.map(|at| adopted.swap_remove(at));
        let sockets = match &mut adopted {
            Some(adopted) => std::mem::take(&mut adopted.sockets),
            None => {
                let listen = |tier| bind(&settings.gateway.host, settings.port(tier), tier);
                tiers.iter().map(|tier| Ok((*tier, listen(*tier)?))).collect::<Result<_, BindError>>()?
            }
        };
        for (tier, socket) in &sockets {
            let address = socket.local_addr().map_err(|error| BindError::other(&error))?;
            settings.endpoint_mut(*tier).port = Some(address.port());
        }
        bound.push(Group { sockets, adopted });
    }
    Ok(bound)
}
