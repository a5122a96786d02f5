//! What this process tells the team of its own life and of the rover's: from what it knows of both
//! anyway. Telemetry does not wait for it. Where the store cannot be used, nothing is told, and it is
//! tried again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use roverline_coordination::lifecycle::{
    Author, Description, Lifecycle, LifecycleError, Name, Record, Speaker,
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

/// How many failures in a row are told at most in the time after which one is missed: one.
const FAILURE_EVERY: Duration = Duration::from_millis(limits::LIFECYCLE_BEAT_MS);

/// Tells of both until the endpoint drains or stops, and then that it goes. `go`: it accepts clients.
pub(crate) async fn live(endpoint: Arc<Endpoint>, go: watch::Receiver<bool>) {
    let lives = endpoint.coordination.lifecycle.clone();
    let mut teller = match Teller::new(endpoint) {
        Ok(teller) => teller,
        Err(error) => {
            tracing::warn!(%error, "the team is not told of this endpoint's life");
            return;
        }
    };
    let me = teller.me.clone();
    tokio::select! {
        () = lives.follow() => {}
        () = lives.watch_over(&me, unix_ns) => {}
        () = teller.tell(go) => {}
    }
}

/// Waits, not for long, until [`live`] has said that the endpoint goes.
pub(crate) async fn said_goodbye(life: Option<JoinHandle<()>>) {
    let Some(mut life) = life else { return };
    if tokio::time::timeout(Duration::from_millis(limits::LIFECYCLE_GOODBYE_MS), &mut life).await.is_err() {
        life.abort();
    }
}

struct Teller {
    endpoint: Arc<Endpoint>,
    lives: Lifecycle,
    /// This process.
    me: String,
    speaker: Speaker,
    own: Name,
    rover: Name,
    address: String,
    failed: Option<Instant>,
}

impl Teller {
    fn new(endpoint: Arc<Endpoint>) -> Result<Teller, LifecycleError> {
        let lives = endpoint.coordination.lifecycle.clone();
        let computer = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // No two processes have the same: neither those of one computer nor one and its successor.
        let me = format!("{computer}:{}:{}", endpoint.port, std::process::id());
        let speaker = lives.speaker(&me, Duration::from_millis(limits::LIFECYCLE_BEAT_MS))?;
        let (own, rover) = (own_name(&endpoint), Name::robot(&endpoint.rover));
        Ok(Teller { endpoint, lives, me, speaker, own, rover, address: computer, failed: None })
    }

    async fn tell(&mut self, mut go: watch::Receiver<bool>) {
        let (mut stop, mut drain) = (self.endpoint.stopping(), self.endpoint.draining());
        let mut tick = interval(Duration::from_millis(limits::LIFECYCLE_SPEAK_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let leaving = async move {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                _ = drain.wait_for(Option::is_some) => {}
            }
        };
        tokio::pin!(leaving);
        // The first snapshot takes a moment, and then something is to be said at once.
        let mut early = interval(Duration::from_millis(50));
        loop {
            let knows = self.lives.with(|_| ()).is_some();
            let accepts = *go.borrow();
            let step = async {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = early.tick(), if !knows => {}
                    _ = go.wait_for(|go| *go), if !accepts => {}
                }
                let accepts = *go.borrow();
                self.step(accepts).await
            };
            tokio::select! {
                () = &mut leaving => break,
                done = step => if let Err(error) = done {
                    tracing::debug!(%error, "the team was not told how this endpoint is");
                },
            }
        }
        if let Err(error) = self.leave().await {
            tracing::debug!(%error, "the team was not told that this endpoint goes");
        }
    }

    /// Says once what is to be said.
    async fn step(&mut self, accepts: bool) -> Result<(), LifecycleError> {
        if self.lives.with(|_| ()).is_none() {
            return Ok(());
        }
        let health = self.endpoint.health();
        let source = self.endpoint.hub.source().0;
        let hears = hears_rover(&source, &health);
        let of = [Some(&self.own), hears.then_some(&self.rover)];
        self.speaker.speak(&of.into_iter().flatten().cloned().collect::<BTreeSet<_>>()).await?;
        self.own_life(accepts, &source, &health).await?;
        if hears {
            self.rovers_life().await?;
        }
        Ok(())
    }

    async fn own_life(
        &mut self,
        accepts: bool,
        source: &SourceState,
        health: &HealthDocument,
    ) -> Result<(), LifecycleError> {
        let address = format!("{}:{}", self.address, self.endpoint.port);
        let known = self.known(&self.own, &self.endpoint.tier.to_string(), address, "it starts").await?;
        if !health.endpoint.status.serves() {
            let is_due = self.failed.is_none_or(|at| at.elapsed() >= FAILURE_EVERY);
            if is_due && known.state != State::Failed {
                self.failed = Some(Instant::now());
                let reason = clip(&health.endpoint.reasons.join("; "));
                self.lives.failure(&self.own, self.author(&reason)).await?;
            }
            return Ok(());
        }
        self.failed = None;
        if known.state == State::Active && known.failures > 0 {
            self.lives.success(&self.own, self.author("it serves again")).await?;
        }
        let (goal, why) = goal(accepts, source, known.state);
        self.lead(&self.own, &known, goal, why).await
    }

    async fn rovers_life(&self) -> Result<(), LifecycleError> {
        let address = self.address.clone();
        let known = self.known(&self.rover, "rover", address, "its first sample came").await?;
        self.lead(&self.rover, &known, State::Active, "samples come").await
    }

    /// What is known of one; it is made known if it is not, or not so. Costs the store nothing otherwise.
    async fn known(
        &self,
        name: &Name,
        type_name: &str,
        address: String,
        why: &str,
    ) -> Result<Record, LifecycleError> {
        let (type_name, address) = (type_name.to_owned(), Some(address));
        let description = Description { type_name, address, heartbeat_ms: Some(limits::LIFECYCLE_BEAT_MS) };
        let seen = self.lives.with(|model| model.get(name)).flatten();
        match seen.filter(|view| view.record.describes(&description)) {
            Some(view) => Ok(view.record),
            None => Ok(self.lives.register(name, &description, self.author(why)).await?.record),
        }
    }

    async fn lead(&self, name: &Name, known: &Record, goal: State, why: &str) -> Result<(), LifecycleError> {
        if known.is_kept() || known.state.toward(goal).is_none() {
            return Ok(());
        }
        self.lives.advance(name, goal, self.author(why)).await.map(drop)
    }

    /// It goes: who is not spoken for by anybody else goes offline.
    async fn leave(&mut self) -> Result<(), LifecycleError> {
        let own = self.lives.with(|model| model.get(&self.own)).flatten();
        if let Some(own) = own.filter(|own| own.speakers.iter().all(|speaker| *speaker == self.me)) {
            let to = match own.record.state {
                State::Active => Some(State::Offline),
                // It never served: somebody wanted it stopped.
                State::Ready => Some(State::Maintenance),
                _ => None,
            };
            if let Some(to) = to {
                self.lives.transition(&self.own, to, self.author("it stops")).await?;
            }
        }
        self.speaker.fall_silent().await;
        // Of those that stop together, the last one says it.
        let rover = self.lives.scan().await?.get(&self.rover);
        if rover.is_some_and(|rover| rover.record.state == State::Active && rover.speakers.is_empty()) {
            let author = self.author("the last endpoint that heard it stops");
            self.lives.transition(&self.rover, State::Offline, author).await?;
        }
        Ok(())
    }

    fn author<'a>(&'a self, reason: &'a str) -> Author<'a> {
        Author { by: &self.me, reason, manual: false, now_ns: unix_ns() }
    }
}

/// The name of an endpoint among those of a team: each rover has one of a tier.
fn own_name(endpoint: &Endpoint) -> Name {
    Name::endpoint(format!("{}:{}", endpoint.rover, endpoint.tier))
}

/// Whether samples of the rover come.
fn hears_rover(source: &SourceState, health: &HealthDocument) -> bool {
    let silent = limits::LIFECYCLE_SILENT_MS as f64 / 1e3;
    *source == SourceState::Running && health.source.age_s.is_some_and(|age| age < silent)
}

/// Where an endpoint that serves is to be, and why.
fn goal(accepts: bool, source: &SourceState, state: State) -> (State, &'static str) {
    match (source, accepts) {
        (SourceState::Starting, _) => (State::Provisioning, "its source starts"),
        (_, true) => (State::Active, "it serves"),
        // The one that it is to replace serves still, under the same name.
        (_, false) if state == State::Active => (State::Active, "it serves"),
        (_, false) => (State::Ready, "it could serve"),
    }
}

fn clip(reason: &str) -> String {
    reason.chars().take(limits::LIFECYCLE_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_does_not_lead_back_the_one_that_serves() {
        let running = SourceState::Running;
        assert_eq!(goal(true, &running, State::Ready).0, State::Active);
        assert_eq!(goal(false, &running, State::Active).0, State::Active);
        assert_eq!(goal(false, &running, State::Provisioning).0, State::Ready);
        assert_eq!(goal(true, &SourceState::Starting, State::Discovered).0, State::Provisioning);
    }

    #[test]
    fn a_reason_is_cut_to_what_may_be_written() {
        let long = "é".repeat(limits::LIFECYCLE_TEXT_CHARS + 5);
        assert_eq!(clip(&long).chars().count(), limits::LIFECYCLE_TEXT_CHARS);
    }
}
