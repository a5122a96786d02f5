//! Rolling restart: replaces the endpoints' processes one after another, and reports their status.

use std::time::Duration;

use roverline_protocol::Tier;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::limits;

/// Why a tier's process was not replaced.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplaceError {
    /// The new process did not come up, or the old one could not be replaced.
    #[error("{0}")]
    Failed(String),
    /// The time limit passed.
    #[error("it was not done within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The supervisor ends.
    #[error("the supervisor stops")]
    Stopping,
}

/// Why a restart was refused or ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestartError {
    /// One restart runs at a time.
    #[error("another restart is going on; wait for its end")]
    Busy,
    /// A tier could not be replaced.
    #[error("{tier}: {source}; {replaced} replaced, the others were left alone")]
    Tier { tier: Tier, replaced: usize, source: ReplaceError },
}

/// A request to replace a tier's process.
pub(super) struct ReplaceRequest {
    steps: mpsc::Sender<Step>,
}

/// The progress of a request.
pub(super) enum Step {
    Progress { step: &'static str, pid: Option<u32>, text: String },
    Finished(Result<String, ReplaceError>),
}

impl ReplaceRequest {
    fn new() -> (ReplaceRequest, mpsc::Receiver<Step>) {
        let (steps, received) = mpsc::channel(16);
        (ReplaceRequest { steps }, received)
    }

    /// Whether the requester has gone away.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.steps.is_closed()
    }

    /// Reports a step without waiting; a slow receiver misses steps.
    pub(super) fn report_step(&self, step: &'static str, pid: Option<u32>, text: &str) {
        let _ = self.steps.try_send(Step::Progress { step, pid, text: text.to_owned() });
    }

    /// Reports the result.
    pub(super) fn finish(self, result: Result<String, ReplaceError>) {
        let _ = self.steps.try_send(Step::Finished(result));
    }
}

/// The published state of a worker process.
#[derive(Clone, Debug, Default)]
pub(super) struct ProcessView {
    pub(super) pid: Option<u32>,
    /// Since when it has been serving.
    pub(super) serving: Option<Instant>,
    /// The number of processes before this one.
    pub(super) earlier: Option<u64>,
}

impl ProcessView {
    pub(super) fn started(&mut self, pid: u32) {
        if self.pid.replace(pid) != Some(pid) {
            self.serving = None;
            self.earlier = Some(self.earlier.map_or(0, |earlier| earlier + 1));
        }
    }

    pub(super) fn ended(&mut self) {
        (self.pid, self.serving) = (None, None);
    }
}

/// The status of a tier's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// The tier.
    pub tier: Tier,
    /// Its port.
    pub port: u16,
    /// Its process id; null while there is none.
    pub pid: Option<u32>,
    /// How long that process has served, seconds; null if it does not serve yet.
    pub serving_s: Option<f64>,
    /// The number of processes before this one.
    pub restarts: u64,
}

/// A step of a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The tier.
    pub tier: Tier,
    /// `started`, `ready`, `accepts`, `left`, `done` or `failed`.
    pub step: String,
    /// The new process.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Milliseconds since this tier's replacement started.
    pub after_ms: u64,
    /// A message for the user.
    pub text: String,
}

/// A tier, and the channel to its worker's supervisor.
pub(super) struct TierHandle {
    pub(super) tier: Tier,
    pub(super) port: u16,
    pub(super) requests: mpsc::Sender<ReplaceRequest>,
    pub(super) view: watch::Receiver<ProcessView>,
}

/// The four tiers; runs one restart at a time.
pub(super) struct RollingRestart {
    tiers: Vec<TierHandle>,
    running: Mutex<()>,
}

impl RollingRestart {
    pub(super) fn new(tiers: Vec<TierHandle>) -> RollingRestart {
        RollingRestart { tiers, running: Mutex::new(()) }
    }

    /// The status of all tiers, best first.
    pub(super) fn statuses(&self) -> Vec<ProcessStatus> {
        let status = |tier_handle: &TierHandle| {
            let view = tier_handle.view.borrow();
            ProcessStatus {
                tier: tier_handle.tier,
                port: tier_handle.port,
                pid: view.pid,
                serving_s: view.serving.map(|since| since.elapsed().as_secs_f64()),
                restarts: view.earlier.unwrap_or(0),
            }
        };
        self.tiers.iter().map(status).collect()
    }

    /// Replaces the process of `only`, or of every tier from the least important one up, so that a broken
    /// version does the least damage. Stops at the first failure. Every step is sent to `steps`.
    pub(super) async fn run(
        &self,
        only: Option<Tier>,
        steps: mpsc::Sender<Progress>,
    ) -> Result<String, RestartError> {
        let Ok(_running) = self.running.try_lock() else {
            return Err(RestartError::Busy);
        };
        let start = Instant::now();
        let mut replaced = 0;
        for tier_handle in self.tiers.iter().rev() {
            if only.is_none_or(|only| only == tier_handle.tier) {
                let outcome = tier_handle.replace(&steps).await;
                let tier = tier_handle.tier;
                outcome.map_err(|source| RestartError::Tier { tier, replaced, source })?;
                replaced += 1;
            }
        }
        Ok(format!("{replaced} replaced in {:.1} s", start.elapsed().as_secs_f64()))
    }
}

impl TierHandle {
    /// Replaces the tier's process within a time limit.
    async fn replace(&self, progress: &mpsc::Sender<Progress>) -> Result<(), ReplaceError> {
        let start = Instant::now();
        let limit = Duration::from_millis(limits::REPLACE_MS);
        let outcome = timeout(limit, self.await_replacement(progress, start))
            .await
            .unwrap_or(Err(ReplaceError::Timeout(limit)));
        let (step, text) = match &outcome {
            Ok(text) => ("done", text.clone()),
            Err(why) => ("failed", why.to_string()),
        };
        tracing::info!(tier = %self.tier, step, text, "rolling restart");
        let _ = progress.send(self.progress(start, step, None, text)).await;
        outcome.map(drop)
    }

    async fn await_replacement(
        &self,
        progress: &mpsc::Sender<Progress>,
        start: Instant,
    ) -> Result<String, ReplaceError> {
        let (request, mut steps) = ReplaceRequest::new();
        if self.requests.send(request).await.is_ok() {
            while let Some(step) = steps.recv().await {
                match step {
                    Step::Progress { step, pid, text } => {
                        // The requester may be gone; the restart continues.
                        let _ = progress.send(self.progress(start, step, pid, text)).await;
                    }
                    Step::Finished(result) => return result,
                }
            }
        }
        Err(ReplaceError::Stopping)
    }

    fn progress(&self, start: Instant, step: &str, pid: Option<u32>, text: String) -> Progress {
        let after_ms = start.elapsed().as_millis() as u64;
        Progress { tier: self.tier, step: step.to_owned(), pid, after_ms, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier_handle(tier: Tier) -> (TierHandle, mpsc::Receiver<ReplaceRequest>) {
        let (requests, inbox) = mpsc::channel(1);
        let view = watch::Sender::new(ProcessView::default()).subscribe();
        (TierHandle { tier, port: 1, requests, view }, inbox)
    }

    #[tokio::test]
    async fn tiers_are_replaced_from_the_least_until_one_fails() {
        let (tiers, inboxes): (Vec<_>, Vec<_>) = Tier::ALL.map(tier_handle).into_iter().unzip();
        for (tier, mut inbox) in Tier::ALL.into_iter().zip(inboxes) {
            tokio::spawn(async move {
                while let Some(request) = inbox.recv().await {
                    request.report_step("started", Some(7), "");
                    let fails = tier == Tier::Secondary;
                    request.finish(if fails {
                        Err(ReplaceError::Failed("broken".to_owned()))
                    } else {
                        Ok(String::new())
                    });
                }
            });
        }
        let restart = RollingRestart::new(tiers);
        let (progress, mut received) = mpsc::channel(64);
        let why = restart.run(None, progress).await.unwrap_err().to_string();
        assert!(why.starts_with("secondary: broken; 2 replaced"), "{why}");
        let mut ends = Vec::new();
        while let Some(Progress { tier, step, .. }) = received.recv().await {
            if step != "started" {
                ends.push((tier, step));
            }
        }
        let expected = [(Tier::Emergency, "done"), (Tier::Tertiary, "done"), (Tier::Secondary, "failed")];
        assert_eq!(ends, expected.map(|(tier, step)| (tier, step.to_owned())));
        let one = restart.run(Some(Tier::Primary), mpsc::channel(64).0).await;
        assert!(one.unwrap().starts_with("1 replaced"));
    }

    #[tokio::test]
    async fn one_restart_at_a_time() {
        let (tier_handle, _inbox) = tier_handle(Tier::Primary);
        let restart = RollingRestart::new(vec![tier_handle]);
        let run = || restart.run(None, mpsc::channel(64).0);
        let second = tokio::select! {
            biased;
            // No worker executes the request.
            _ = run() => None,
            second = run() => Some(second),
        };
        assert!(matches!(second.unwrap(), Err(RestartError::Busy)));
    }
}
