//! One process replaced by another on the same socket, with nobody refused. The new one warms up
//! while the old one serves. Then the old one stops accepting, and what arrives waits in the backlog
//! for the new one, which is told to accept. Clients leave the old one in their turn.

use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::supervisor::heartbeat::Word;
use crate::supervisor::process::{Beat, Process};
use crate::supervisor::worker::Keeper;

const WINDOW: Duration = Duration::from_millis(limits::DRAIN_MS);

impl Keeper {
    /// Carries out the order in hand. Returns the process that serves from now on, the old one where
    /// the new one is of no use; `None` when the supervisor stops.
    pub(super) async fn replace(
        &mut self,
        mut old: Process,
        stopping: &mut watch::Receiver<bool>,
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
        tracing::info!(%tier, old = old.pid, new = new.pid, "replacing the endpoint's process");
        self.tell("started", &new, &format!("process {} warms up, {} serves", new.pid, old.pid));
        loop {
            let useless = tokio::select! {
                beat = new.hear() => match beat {
                    Beat::Ready => break,
                    Beat::Alive | Beat::Quiet => continue,
                    Beat::Silent => {
                        new.kill().await;
                        format!("it was not ready within {:.0} s and was killed", new.born.elapsed().as_secs_f64())
                    }
                    Beat::Closed => new.exited().await,
                },
                beat = old.hear() => {
                    if let Beat::Silent | Beat::Closed = beat {
                        return Some(self.promote(old, new).await);
                    }
                    continue;
                }
                _ = stopping.changed() => {
                    tokio::join!(old.stop(), new.stop());
                    return None;
                }
            };
            tracing::warn!(%tier, why = useless, "the replacement did not come up: the old process goes on");
            self.failed(&format!("the new process did not come up: {useless}; process {} goes on", old.pid));
            return Some(old);
        }
        let warm = new.born.elapsed().as_secs_f64();
        self.tell("ready", &new, &format!("process {} is ready after {warm:.1} s", new.pid));
        self.switch(old, &mut new, stopping.clone()).await;
        Some(new)
    }

    /// The old process stops accepting, the new one begins.
    async fn switch(&mut self, mut old: Process, new: &mut Process, mut stopping: watch::Receiver<bool>) {
        let start = Instant::now();
        old.say(Word::Drain(WINDOW)).await;
        // Where it does not say that it is quiet, it is ending, or hangs: both is noticed below.
        let _ = timeout(Duration::from_millis(limits::CHILD_QUIET_MS), async {
            while !matches!(old.hear().await, Beat::Quiet | Beat::Closed | Beat::Silent) {}
        })
        .await;
        new.say(Word::Accept).await;
        let pause = start.elapsed().as_secs_f64() * 1e3;
        tracing::info!(tier = %self.launch.tier(), pid = new.pid, pause_ms = pause, "the replacement accepts");
        self.tell("accepts", new, &format!("process {} accepts; nobody did for {pause:.0} ms", new.pid));
        self.in_use(new);
        let settled = Instant::now() + Duration::from_millis(limits::CHILD_SETTLE_MS);
        self.leaving.spawn(async move {
            let leave = async {
                let how = old.leave(WINDOW).await;
                tokio::time::sleep_until(settled).await;
                how
            };
            let how = tokio::select! {
                how = leave => Some(how),
                _ = stopping.wait_for(|stopping| *stopping) => None,
            };
            if how.is_none() {
                old.stop().await;
            }
            how.unwrap_or_else(|| "the supervisor stops".to_owned())
        });
    }

    /// The old process ended before the new one was ready: better a cold endpoint than none.
    async fn promote(&mut self, mut old: Process, mut new: Process) -> Process {
        tracing::warn!(tier = %self.launch.tier(), old = old.pid, new = new.pid, "ended while its replacement warmed up");
        old.kill().await;
        new.say(Word::Accept).await;
        self.tell("accepts", &new, &format!("process {} ended early; {} takes over", old.pid, new.pid));
        self.in_use(&new);
        new
    }

    fn tell(&self, step: &'static str, process: &Process, text: &str) {
        if let Some(order) = &self.order {
            order.tell(step, Some(process.pid), text);
        }
    }
}
