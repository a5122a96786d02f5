//! Lifecycle reporting: records this endpoint's state and the rover's in the shared store, derived from
//! what the endpoint already knows. Telemetry does not wait for it; if the store is unavailable, reporting
//! is retried.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use roverline_coordination::lifecycle::{
    Author, Description, EntityId, HeartbeatSender, Lifecycle, LifecycleError, Record,
};
use roverline_protocol::lifecycle::State;
use roverline_protocol::limits;
use roverline_protocol::status::HealthDocument;
use roverline_source::SourceState;
use roverline_source::clock::unix_ns;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::endpoint::Endpoint;

/// Time without a heartbeat after which a robot or an endpoint counts as missing.
const LIFECYCLE_MISSED_MS: u64 = 6_000;
/// Heartbeat interval, and interval at which pending actions are checked.
const LIFECYCLE_HEARTBEAT_MS: u64 = 2_000;
/// Time without a sample after which a rover counts as silent.
const LIFECYCLE_SILENT_MS: u64 = 5_000;
/// How long a stopping endpoint may take to report it.
const LIFECYCLE_STOP_REPORT_MS: u64 = 300;

/// At most one failure is reported per heartbeat timeout.
const FAILURE_EVERY: Duration = Duration::from_millis(LIFECYCLE_MISSED_MS);

/// Reports both states until the endpoint drains or stops, and then that it leaves. `accept_gate` is true once the
/// endpoint accepts clients.
pub(crate) async fn run(endpoint: Arc<Endpoint>, accept_gate: watch::Receiver<bool>) {
    let lifecycle = endpoint.coordination.lifecycle.clone();
    let mut reporter = match LifecycleReporter::new(endpoint) {
        Ok(reporter) => reporter,
        Err(error) => {
            tracing::warn!(%error, "this endpoint's lifecycle is not reported");
            return;
        }
    };
    let me = reporter.me.clone();
    tokio::select! {
        () = lifecycle.run_replica() => {}
        () = lifecycle.run_monitor(&me, unix_ns) => {}
        () = reporter.report_loop(accept_gate) => {}
    }
}

/// Waits briefly until [`run`] has reported that the endpoint leaves.
pub(crate) async fn wait_reported(task: Option<JoinHandle<()>>) {
    let Some(mut task) = task else { return };
    if tokio::time::timeout(Duration::from_millis(LIFECYCLE_STOP_REPORT_MS), &mut task).await.is_err() {
        task.abort();
    }
}

struct LifecycleReporter {
    endpoint: Arc<Endpoint>,
    lifecycle: Lifecycle,
    /// The id of this process.
    me: String,
    heartbeat: HeartbeatSender,
    own: EntityId,
    rover: EntityId,
    address: String,
    failed: Option<Instant>,
}

impl LifecycleReporter {
    fn new(endpoint: Arc<Endpoint>) -> Result<LifecycleReporter, LifecycleError> {
        let lifecycle = endpoint.coordination.lifecycle.clone();
        let computer = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // Unique per process: on one computer, and between a process and its successor.
        let me = format!("{computer}:{}:{}", endpoint.port, std::process::id());
        let heartbeat = lifecycle.heartbeat_sender(&me, Duration::from_millis(LIFECYCLE_MISSED_MS))?;
        let (own, rover) = (own_name(&endpoint), EntityId::robot(&endpoint.rover));
        Ok(LifecycleReporter {
            endpoint,
            lifecycle,
            me,
            heartbeat,
            own,
            rover,
            address: computer,
            failed: None,
        })
    }

    async fn report_loop(&mut self, mut accept_gate: watch::Receiver<bool>) {
        let (stop, mut drain) = (self.endpoint.stop_token().clone(), self.endpoint.draining());
        let mut tick = interval(Duration::from_millis(LIFECYCLE_HEARTBEAT_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let leaving = async move {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = drain.wait_for(Option::is_some) => {}
            }
        };
        tokio::pin!(leaving);
        // Polls until the first snapshot has arrived, and then reports at once.
        let mut early = interval(Duration::from_millis(50));
        loop {
            let has_snapshot = self.lifecycle.with(|_| ()).is_some();
            let accepts = *accept_gate.borrow();
            let step = async {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = early.tick(), if !has_snapshot => {}
                    _ = accept_gate.wait_for(|open| *open), if !accepts => {}
                }
                let accepts = *accept_gate.borrow();
                self.step(accepts).await
            };
            tokio::select! {
                () = &mut leaving => break,
                done = step => if let Err(error) = done {
                    tracing::debug!(%error, "the lifecycle could not be reported");
                },
            }
        }
        if let Err(error) = self.report_leaving().await {
            tracing::debug!(%error, "the end of this endpoint could not be reported");
        }
    }

    /// Reports the current state once.
    async fn step(&mut self, accepts: bool) -> Result<(), LifecycleError> {
        if self.lifecycle.with(|_| ()).is_none() {
            return Ok(());
        }
        let health = self.endpoint.health();
        let source = self.endpoint.hub.source().0;
        let receives = receives_samples(&source, &health);
        let of = [Some(&self.own), receives.then_some(&self.rover)];
        self.heartbeat.beat(&of.into_iter().flatten().cloned().collect::<BTreeSet<_>>()).await?;
        self.report_own(accepts, &source, &health).await?;
        if receives {
            self.report_rover().await?;
        }
        Ok(())
    }

    async fn report_own(
        &mut self,
        accepts: bool,
        source: &SourceState,
        health: &HealthDocument,
    ) -> Result<(), LifecycleError> {
        let address = format!("{}:{}", self.address, self.endpoint.port);
        let record =
            self.current_record(&self.own, &self.endpoint.tier.to_string(), address, "it starts").await?;
        if !health.endpoint.status.serves() {
            let is_due = self.failed.is_none_or(|at| at.elapsed() >= FAILURE_EVERY);
            if is_due && record.state != State::Failed {
                self.failed = Some(Instant::now());
                let reason = truncate(&health.endpoint.reasons.join("; "));
                self.lifecycle.failure(&self.own, self.author(&reason)).await?;
            }
            return Ok(());
        }
        self.failed = None;
        if record.state == State::Active && record.failures > 0 {
            self.lifecycle.success(&self.own, self.author("it serves again")).await?;
        }
        let (target, why) = target_state(accepts, source, record.state);
        self.advance_to(&self.own, &record, target, why).await
    }

    async fn report_rover(&self) -> Result<(), LifecycleError> {
        let address = self.address.clone();
        let record = self.current_record(&self.rover, "rover", address, "its first sample came").await?;
        self.advance_to(&self.rover, &record, State::Active, "samples come").await
    }

    /// Returns the stored record; registers it if it is missing or its description has changed. Otherwise
    /// costs no store access.
    async fn current_record(
        &self,
        name: &EntityId,
        type_name: &str,
        address: String,
        why: &str,
    ) -> Result<Record, LifecycleError> {
        let (type_name, address) = (type_name.to_owned(), Some(address));
        let description = Description { type_name, address, heartbeat_ms: Some(LIFECYCLE_MISSED_MS) };
        let seen = self.lifecycle.with(|model| model.get(name)).flatten();
        match seen.filter(|view| view.record.is_described_by(&description)) {
            Some(view) => Ok(view.record),
            None => Ok(self.lifecycle.register(name, &description, self.author(why)).await?.record),
        }
    }

    async fn advance_to(
        &self,
        name: &EntityId,
        record: &Record,
        target: State,
        why: &str,
    ) -> Result<(), LifecycleError> {
        if record.is_pinned() || record.state.toward(target).is_none() {
            return Ok(());
        }
        self.lifecycle.advance(name, target, self.author(why)).await.map(drop)
    }

    /// Reports that this process leaves. Entities without another reporter go offline.
    async fn report_leaving(&mut self) -> Result<(), LifecycleError> {
        let own = self.lifecycle.with(|model| model.get(&self.own)).flatten();
        if let Some(own) = own.filter(|own| own.senders.iter().all(|speaker| *speaker == self.me)) {
            let to = match own.record.state {
                State::Active => Some(State::Offline),
                // It never served: an operator wanted it stopped.
                State::Ready => Some(State::Maintenance),
                _ => None,
            };
            if let Some(to) = to {
                self.lifecycle.transition(&self.own, to, self.author("it stops")).await?;
            }
        }
        self.heartbeat.stop().await;
        // Of several endpoints that stop together, the last one reports the rover.
        let rover = self.lifecycle.scan().await?.get(&self.rover);
        if rover.is_some_and(|rover| rover.record.state == State::Active && rover.senders.is_empty()) {
            let author = self.author("the last endpoint that heard it stops");
            self.lifecycle.transition(&self.rover, State::Offline, author).await?;
        }
        Ok(())
    }

    fn author<'a>(&'a self, reason: &'a str) -> Author<'a> {
        Author { by: &self.me, client: None, reason, manual: false, now_ns: unix_ns() }
    }
}

/// The endpoint's name in the shared store: each rover has one endpoint per tier.
fn own_name(endpoint: &Endpoint) -> EntityId {
    EntityId::endpoint(format!("{}:{}", endpoint.rover, endpoint.tier))
}

/// Whether samples from the rover are arriving.
fn receives_samples(source: &SourceState, health: &HealthDocument) -> bool {
    let silent = LIFECYCLE_SILENT_MS as f64 / 1e3;
    *source == SourceState::Running && health.source.age_s.is_some_and(|age| age < silent)
}

/// The target state of a healthy endpoint, and the reason.
fn target_state(accepts: bool, source: &SourceState, state: State) -> (State, &'static str) {
    match (source, accepts) {
        (SourceState::Starting, _) => (State::Provisioning, "its source starts"),
        (_, true) => (State::Active, "it serves"),
        // The process that it is to replace still serves under the same name.
        (_, false) if state == State::Active => (State::Active, "it serves"),
        (_, false) => (State::Ready, "it could serve"),
    }
}

fn truncate(reason: &str) -> String {
    reason.chars().take(limits::LIFECYCLE_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_does_not_demote_the_serving_process() {
        let running = SourceState::Running;
        assert_eq!(target_state(true, &running, State::Ready).0, State::Active);
        assert_eq!(target_state(false, &running, State::Active).0, State::Active);
        assert_eq!(target_state(false, &running, State::Provisioning).0, State::Ready);
        assert_eq!(target_state(true, &SourceState::Starting, State::Discovered).0, State::Provisioning);
    }

    #[test]
    fn a_reason_is_truncated() {
        let long = "é".repeat(limits::LIFECYCLE_TEXT_CHARS + 5);
        assert_eq!(truncate(&long).chars().count(), limits::LIFECYCLE_TEXT_CHARS);
    }
}
