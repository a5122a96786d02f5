//! The built-in rover: a loop of way-points near the Mars Desert Research Station, with no ROS.
//!
//! [`Rover`] is pure: the messages of tick `n` follow from seed, epoch, faults and inputs alone.
//! Four processes that each run a [`SimSource`] with the same options therefore yield the same
//! samples with the same identities, without talking. What people do to the rover (an emergency
//! stop) goes through an append-only file that all of them read, and takes effect at an agreed tick.
//!
//! Every two hours a sortie ends: the battery is full again and the rover at its start, so a late
//! joiner has little to catch up with. Its publishers then have new identities, as after a restart.

mod clock;
mod engine;
mod fault;
mod graph;
mod input;
mod input_log;
mod kinematics;
mod messages;
mod mission;
mod noise;
mod png;
mod power;
mod route;
mod rover;
mod services;
mod state;
mod terrain;
mod ticks;
mod topics;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::sim::clock::{Anchored, Clock, monotonic_ns, wall_ns};
use crate::sim::engine::Engine;
pub use crate::sim::fault::{Fault, FaultError, FaultKind};
pub use crate::sim::input::Input;
use crate::sim::input_log::{Inbox, InboxReader};
pub use crate::sim::rover::{Rover, SimMessage};
use crate::sim::services::{Services, SimPublisher};
pub use crate::sim::topics::{nodes, topics};
use crate::{Publisher, Sink, Source, SourceError, SourceState, Stop};

/// An epoch farther ahead than this is a mistake, not a clock that is a little off.
const MAX_AHEAD_NS: i64 = 60_000_000_000;

/// What the processes of one run have in common.
#[derive(Clone, Debug, Default)]
pub struct SimOptions {
    /// Decides way-points, rocks and noise.
    pub seed: u64,
    /// When tick 0 is, nanoseconds since the Unix epoch.
    pub epoch_unix_ns: i64,
    /// The same moment on this computer's monotonic clock. With it, a process that starts after
    /// the wall clock was set still agrees with the others; without it, the wall clock is asked
    /// once at the start.
    pub epoch_monotonic_ns: Option<i64>,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
    /// The file through which processes share inputs; without it, inputs stay in this process.
    pub inputs_file: Option<PathBuf>,
}

impl SimOptions {
    /// A run that begins now, for all processes of this computer that get these options.
    #[must_use]
    pub fn starting_now(seed: u64) -> Self {
        Self { seed, epoch_unix_ns: wall_ns(), epoch_monotonic_ns: Some(monotonic_ns()), ..Self::default() }
    }
}

/// The rover as a source of samples.
pub struct SimSource {
    options: SimOptions,
    inbox: Arc<Inbox>,
    clock: Arc<dyn Clock>,
    services: Arc<Services>,
}

impl SimSource {
    /// Anchors the run at the clocks' present.
    #[must_use]
    pub fn new(options: SimOptions) -> Self {
        let clock = match options.epoch_monotonic_ns {
            Some(monotonic_ns) => Anchored::new(options.epoch_unix_ns, monotonic_ns),
            None => Anchored::now(),
        };
        Self::with_clock(options, Arc::new(clock))
    }

    fn with_clock(options: SimOptions, clock: Arc<dyn Clock>) -> Self {
        let inbox = Arc::new(Inbox::new(options.inputs_file.clone()));
        let services = Arc::new(Services::new(options.seed));
        Self { options, inbox, clock, services }
    }

    fn engine(&self, sink: Arc<dyn Sink>) -> Engine {
        let SimOptions { seed, epoch_unix_ns, ref faults, .. } = self.options;
        let rover = Rover::new(seed, epoch_unix_ns, faults, &[]);
        let inbox = InboxReader::new(Arc::clone(&self.inbox));
        Engine::start(rover, inbox, epoch_unix_ns, (sink, self.services.clone()), self.clock.now_unix_ns())
    }
}

impl Source for SimSource {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        let (inbox, clock) = (self.inbox.clone(), self.clock.clone());
        Arc::new(SimPublisher { inbox, clock, services: self.services.clone() })
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: Stop) -> Result<(), SourceError> {
        sink.state(SourceState::Starting);
        let ahead_ns = self.options.epoch_unix_ns.saturating_sub(self.clock.now_unix_ns());
        if ahead_ns > MAX_AHEAD_NS {
            let why = format!(
                "the rover's epoch lies {} s ahead; check this computer's clock",
                ahead_ns / 1_000_000_000
            );
            sink.state(SourceState::Failed(why.clone()));
            return Err(SourceError(why));
        }
        let mut engine = self.engine(Arc::clone(&sink));
        sink.state(SourceState::Running);
        while !stop.is_set() {
            engine.poll(self.clock.now_unix_ns());
            let wait_ns = engine.next_due_ns().saturating_sub(self.clock.now_unix_ns());
            // Never longer than this: a frozen or stepped clock must not keep `stop` from being seen.
            let wait_ns = wait_ns.clamp(0, 100_000_000);
            stop.wait(Duration::from_nanos(wait_ns.unsigned_abs()));
        }
        Ok(())
    }
}
