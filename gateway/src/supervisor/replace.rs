//! Replacement of a process by another on the same socket without refusing a client. The new process warms
//! up while the old one serves. Then the old one stops accepting, and connections wait in the backlog until
//! the new one is told to accept. The old one's clients leave gradually.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::process::heartbeat::SupervisorCommand;
use crate::supervisor::process::{ChildSignal, Process};
use crate::supervisor::worker::WorkerSupervisor;

/// Time clients have to leave a draining endpoint.
const DRAIN_MS: u64 = 2_000;
/// How long an endpoint process may take to stop accepting when it is told to drain.
const CHILD_STOP_ACCEPTING_MS: u64 = 500;
/// How long a replacement must have served before the next endpoint is replaced: a version that
/// crashes at its first clients should cost one endpoint only.
const CHILD_SETTLE_MS: u64 = 1_000;

const WINDOW: Duration = Duration::from_millis(DRAIN_MS);

/// Lets a process leave whose socket another one serves.
pub(super) async fn drain(mut process: Process) {
    process.send_command(SupervisorCommand::Drain(WINDOW)).await;
    let how = process.wait_drained(WINDOW).await;
    tracing::info!(pid = process.pid, how, "a process that was left behind left");
}

impl WorkerSupervisor {
    /// Executes the replace request in progress. Returns the process that serves from now on, which is the
    /// old one if the new one failed; `None` when the supervisor stops.
    pub(super) async fn replace(
        &mut self,
        mut old: Process,
        stopping: &CancellationToken,
    ) -> Option<Process> {
        self.launch.fall_back = false;
        let tier = self.launch.tier();
        let mut new = match self.launch.start(true) {
            Ok(new) => new,
            Err(error) => {
                self.failed(&format!(
                    "{} could not be started: {error}; process {} goes on",
                    self.launch.program().display(),
                    old.pid
                ));
                return Some(old);
            }
        };
        self.send_level(&mut new).await;
        tracing::info!(event_type = "process.replacing", %tier, old = old.pid, new = new.pid, "replacing the endpoint's process");
        self.report_step("started", &new, &format!("process {} warms up, {} serves", new.pid, old.pid));
        loop {
            let useless = tokio::select! {
                signal = new.next_signal() => match signal {
                    ChildSignal::Ready => break,
                    ChildSignal::Alive | ChildSignal::NotAccepting => continue,
                    ChildSignal::Silent => {
                        new.kill().await;
                        format!("it was not ready within {:.0} s and was killed", new.started_at.elapsed().as_secs_f64())
                    }
                    ChildSignal::Closed => new.exited().await,
                },
                signal = old.next_signal() => {
                    if let ChildSignal::Silent | ChildSignal::Closed = signal {
                        return Some(self.promote(old, new).await);
                    }
                    continue;
                }
                () = stopping.cancelled() => {
                    tokio::join!(old.stop(), new.stop());
                    return None;
                }
            };
            tracing::warn!(event_type = "process.not_replaced", %tier, why = useless, "the replacement did not come up: the old process goes on");
            self.failed(&format!("the new process did not come up: {useless}; process {} goes on", old.pid));
            return Some(old);
        }
        let warm = new.started_at.elapsed().as_secs_f64();
        self.report_step("ready", &new, &format!("process {} is ready after {warm:.1} s", new.pid));
        self.switch(old, &mut new, stopping.clone()).await;
        Some(new)
    }

    /// The old process stops accepting, then the new one starts.
    async fn switch(&mut self, mut old: Process, new: &mut Process, stopping: CancellationToken) {
        let start = Instant::now();
        old.send_command(SupervisorCommand::Drain(WINDOW)).await;
        // If it does not confirm, it is exiting or hangs; both are detected below.
        let _ = timeout(Duration::from_millis(CHILD_STOP_ACCEPTING_MS), async {
            while !matches!(
                old.next_signal().await,
                ChildSignal::NotAccepting | ChildSignal::Closed | ChildSignal::Silent
            ) {}
        })
        .await;
        new.send_command(SupervisorCommand::Accept).await;
        let pause = start.elapsed().as_secs_f64() * 1e3;
        tracing::info!(event_type = "process.replaced", tier = %self.launch.tier(), pid = new.pid, pause_ms = pause, "the replacement accepts");
        self.report_step(
            "accepts",
            new,
            &format!("process {} accepts; nobody did for {pause:.0} ms", new.pid),
        );
        self.in_use(new);
        let settled = Instant::now() + Duration::from_millis(CHILD_SETTLE_MS);
        self.draining.spawn(async move {
            let drained = async {
                let how = old.wait_drained(WINDOW).await;
                tokio::time::sleep_until(settled).await;
                how
            };
            let how = tokio::select! {
                how = drained => Some(how),
                () = stopping.cancelled() => None,
            };
            if how.is_none() {
                old.stop().await;
            }
            how.unwrap_or_else(|| "the supervisor stops".to_owned())
        });
    }

    /// The old process ended before the new one was ready: an endpoint that is not warmed up is better than
    /// none.
    async fn promote(&mut self, mut old: Process, mut new: Process) -> Process {
        tracing::warn!(event_type = "process.ended", tier = %self.launch.tier(), old = old.pid, new = new.pid, "ended while its replacement warmed up");
        old.kill().await;
        new.send_command(SupervisorCommand::Accept).await;
        self.report_step(
            "accepts",
            &new,
            &format!("process {} ended early; {} takes over", old.pid, new.pid),
        );
        self.in_use(&new);
        new
    }

    fn report_step(&self, step: &'static str, process: &Process, text: &str) {
        if let Some(request) = &self.request {
            request.report_step(step, Some(process.pid), text);
        }
    }
}
