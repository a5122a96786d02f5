//! The supervisor of one worker process, which serves one tier (or, as a relay, all of them): monitors its
//! exit and heartbeat, restarts it with backoff, replaces it on request.

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::backoff::{Backoff, Jitter};
use roverline_protocol::{Tier, limits};
use roverline_source::clock::monotonic;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::log::ProcessLog;
use crate::log::levels::LevelState;
use crate::process::heartbeat::SupervisorCommand;
use crate::process::stagger::RecentEnds;
use crate::supervisor::process::{ChildSignal, Launch, Process};
use crate::supervisor::rolling_restart::{ProcessView, ReplaceError, ReplaceRequest};
use crate::supervisor::{WorkerEvent, print_error};

/// First and last delay of a restart.
const RESTART_BACKOFF_MS: (u64, u64) = (20, 5_000);

/// Keeps one endpoint process running.
pub(super) struct WorkerSupervisor {
    pub(super) launch: Launch,
    events: mpsc::Sender<WorkerEvent>,
    requests: mpsc::Receiver<ReplaceRequest>,
    /// The replace request in progress.
    pub(super) request: Option<ReplaceRequest>,
    /// Draining predecessors; each returns a description of its exit.
    pub(super) draining: JoinSet<String>,
    view: watch::Sender<ProcessView>,
    /// The process that is supervised first, instead of one that is started.
    adopted: Option<Process>,
    shared: SharedState,
    /// The levels of the supervisor's log, which all processes follow.
    levels: watch::Receiver<LevelState>,
}

/// What the supervisors of all workers share.
pub(super) struct SharedState {
    /// When the processes of all tiers ended.
    pub(super) ends: Arc<RecentEnds>,
    /// How often all processes were asked to read their files again.
    pub(super) reloads: watch::Receiver<u64>,
    /// The supervisor's own log.
    pub(super) log: Arc<ProcessLog>,
}

/// Waits before a restart: for the backoff, in which the ends of other processes are noticed as well, and
/// for those of better tiers that ended at the same moment.
async fn wait_before_restart(backoff: Duration, ends: &RecentEnds, tier: Tier) {
    tokio::time::sleep(backoff).await;
    tokio::time::sleep(ends.delay(tier, Instant::now().into_std())).await;
}

/// How a worker process ended.
enum ExitReason {
    Stopping,
    Ended { why: String, lived: Duration, served: bool },
}

impl ExitReason {
    fn of(process: &Process, why: String) -> ExitReason {
        ExitReason::Ended { why, lived: process.started_at.elapsed(), served: process.ready }
    }
}

impl WorkerSupervisor {
    pub(super) fn new(
        launch: Launch,
        adopted: Option<Process>,
        events: mpsc::Sender<WorkerEvent>,
        requests: mpsc::Receiver<ReplaceRequest>,
        shared: SharedState,
    ) -> WorkerSupervisor {
        let levels = shared.log.levels.subscribe();
        let view = watch::Sender::new(ProcessView::default());
        WorkerSupervisor {
            launch,
            events,
            requests,
            request: None,
            draining: JoinSet::new(),
            view,
            adopted,
            shared,
            levels,
        }
    }

    /// A receiver of the process's published state.
    pub(super) fn view(&self) -> watch::Receiver<ProcessView> {
        self.view.subscribe()
    }

    /// Runs until `stopping` turns true.
    pub(super) async fn run(mut self, stopping: CancellationToken) {
        let millis = |(first, last)| (Duration::from_millis(first), Duration::from_millis(last));
        let (first, last) = millis(RESTART_BACKOFF_MS);
        let mut backoff = Backoff::new(first, last);
        let name = self.launch.name();
        let mut jitter = Jitter::new(u64::from(std::process::id()) ^ (self.launch.tier() as u64));
        while !stopping.is_cancelled() {
            let started = self.adopted.take().map_or_else(|| self.launch.start(false), Ok);
            let (why, lived, served) = match started {
                Ok(process) => match self.supervise_until_exit(process, &stopping).await {
                    ExitReason::Stopping => break,
                    ExitReason::Ended { why, lived, served } => (why, lived, served),
                },
                Err(error) => (format!("it could not be started: {error}"), Duration::ZERO, false),
            };
            let why = self.launch.explain(why);
            self.failed(&why);
            // The program at our path may be a version that does not work, so the two programs alternate.
            self.launch.fall_back = !served && !self.launch.fall_back;
            if lived > Duration::from_millis(limits::RESTART_HEALTHY_MS) {
                backoff.reset();
            }
            let pause = backoff.fail(jitter.unit());
            tracing::warn!(
                event_type = "process.ended",
                name,
                why,
                pause_ms = pause.as_millis() as u64,
                "it ended, starting it again"
            );
            print_error(&format!("{name}: {why}; starting it again"));
            self.view.send_modify(ProcessView::ended);
            let ends = self.shared.ends.clone();
            tokio::select! {
                () = wait_before_restart(pause, &ends, self.launch.tier()) => {}
                Some(request) = self.requests.recv() => if !request.is_withdrawn() {
                    request.report_step("started", None, "it was down: nothing to replace");
                    self.launch.fall_back = false;
                    self.request = Some(request);
                },
                () = stopping.cancelled() => {}
            }
        }
        while self.draining.join_next().await.is_some() {}
        let _ = self.events.send(WorkerEvent::Stopped).await;
    }

    async fn supervise_until_exit(
        &mut self,
        mut current: Process,
        stopping: &CancellationToken,
    ) -> ExitReason {
        self.view.send_modify(|view| view.started(current.pid));
        self.send_level(&mut current).await;
        loop {
            tokio::select! {
                signal = current.next_signal() => match signal {
                    ChildSignal::Ready => self.on_ready(&current).await,
                    ChildSignal::Alive | ChildSignal::NotAccepting => {}
                    ChildSignal::Silent => {
                        self.shared.ends.record(self.launch.tier(), Instant::now().into_std());
                        current.kill().await;
                        self.launch.remove_remains(current.pid);
                        return ExitReason::of(&current, "it hung and was killed".to_owned());
                    }
                    ChildSignal::Closed => {
                        self.shared.ends.record(self.launch.tier(), Instant::now().into_std());
                        let why = current.exited().await;
                        self.launch.remove_remains(current.pid);
                        return ExitReason::of(&current, why);
                    }
                },
                Some(request) = self.requests.recv(), if current.ready && self.request.is_none() => {
                    if request.is_withdrawn() { continue }
                    self.request = Some(request);
                    match self.replace(current, stopping).await {
                        Some(next) => current = next,
                        None => return ExitReason::Stopping,
                    }
                }
                Ok(()) = self.shared.reloads.changed() => current.reload(),
                Ok(()) = self.levels.changed() => self.send_level(&mut current).await,
                Some(how) = self.draining.join_next(), if !self.draining.is_empty() => self.on_predecessor_exit(how),
                () = stopping.cancelled() => {
                    current.stop().await;
                    self.launch.remove_remains(current.pid);
                    return ExitReason::Stopping;
                }
            }
        }
    }

    /// Lets a process log at the level that the others have. An adopted one may have another one.
    pub(super) async fn send_level(&self, process: &mut Process) {
        let change = self.shared.log.levels.change_in_effect(monotonic());
        process.send_command(SupervisorCommand::Log(change)).await;
    }

    /// The current process reported that it serves.
    async fn on_ready(&mut self, process: &Process) {
        tracing::info!(
            event_type = "process.serving",
            name = self.launch.name(),
            pid = process.pid,
            "it serves"
        );
        for tier in &self.launch.tiers {
            let _ = self.events.send(WorkerEvent::Ready(*tier)).await;
        }
        self.in_use(process);
        if self.draining.is_empty()
            && let Some(request) = self.request.take()
        {
            request.finish(Ok(format!("process {} serves", process.pid)));
        }
    }

    /// Publishes this process as the tier's current one.
    pub(super) fn in_use(&self, process: &Process) {
        let ready = process.ready;
        let since = Instant::now();
        self.view.send_modify(|view| {
            view.started(process.pid);
            view.serving = ready.then_some(since);
        });
    }

    /// A replaced process has exited.
    fn on_predecessor_exit(&mut self, how: Result<String, tokio::task::JoinError>) {
        let how = how.unwrap_or_else(|error| error.to_string());
        tracing::info!(event_type = "process.left", tier = %self.launch.tier(), how, "replaced process left");
        if self.draining.is_empty()
            && let Some(request) = self.request.take()
        {
            request.report_step("left", None, &how);
            request.finish(Ok("replaced".to_owned()));
        }
    }

    /// The replace request in progress has failed.
    pub(super) fn failed(&mut self, why: &str) {
        if let Some(request) = self.request.take() {
            request.finish(Err(ReplaceError::Failed(why.to_owned())));
        }
    }
}
