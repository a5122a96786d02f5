//! The built-in simulator: a rover that drives a loop of way-points near the Mars Desert Research
//! Station, without ROS.
//!
//! [`Rover`] is pure: the messages of tick `n` follow from seed, epoch, faults and inputs alone. Four
//! processes that each run a [`SimSource`] with the same options therefore yield the same samples with
//! the same identities, without communicating. Inputs of clients (an emergency stop) go through an
//! append-only file that all processes read, and take effect at an agreed tick.
//!
//! A sortie lasts two hours. Then the battery is full again and the rover at its start, so a late joiner
//! has little to catch up with. Its publishers then have new identities, as after a restart.

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

use crate::shared_clock::{SharedClock, wall_and_monotonic_ns};
use crate::sim::clock::Clock;
use crate::sim::engine::Engine;
pub use crate::sim::fault::{Fault, FaultError, FaultKind};
pub use crate::sim::input::Input;
use crate::sim::input_log::{InputLog, InputLogReader};
pub use crate::sim::rover::{Rover, SimMessage};
use crate::sim::services::{Services, SimControl};
pub use crate::sim::topics::{nodes, topics};
use crate::{Sink, Source, SourceControl, SourceError, SourceState, StopFlag};

/// An epoch further in the future than this is a mistake, not a clock that is slightly off.
const MAX_AHEAD_NS: i64 = 60_000_000_000;

/// The options that all processes of a run share.
#[derive(Clone, Debug, Default)]
pub struct SimOptions {
    /// Seeds way-points, rocks and noise.
    pub seed: u64,
    /// The time of tick 0, nanoseconds since the Unix epoch.
    pub epoch_unix_ns: i64,
    /// The same moment on this computer's monotonic clock. With it, a process that starts after the wall
    /// clock was set still agrees with the others; without it, the wall clock is read once at the start.
    pub epoch_monotonic_ns: Option<i64>,
    /// The scripted faults.
    pub faults: Vec<Fault>,
    /// The file through which processes share inputs; without it, inputs stay in this process.
    pub inputs_file: Option<PathBuf>,
}

impl SimOptions {
    /// Options of a run that starts now, for all processes of this computer.
    #[must_use]
    pub fn starting_now(seed: u64) -> Self {
        let (epoch_unix_ns, monotonic_ns) = wall_and_monotonic_ns();
        Self { seed, epoch_unix_ns, epoch_monotonic_ns: Some(monotonic_ns), ..Self::default() }
    }
}

/// The rover as a source of samples.
pub struct SimSource {
    options: SimOptions,
    input_log: Arc<InputLog>,
    clock: Arc<dyn Clock>,
    services: Arc<Services>,
}

impl SimSource {
    /// Anchors the run at the current time of both clocks.
    #[must_use]
    pub fn new(options: SimOptions) -> Self {
        let epoch = options.epoch_monotonic_ns.map(|monotonic_ns| (options.epoch_unix_ns, monotonic_ns));
        let clock = SharedClock::new(epoch);
        Self::with_clock(options, Arc::new(clock))
    }

    fn with_clock(options: SimOptions, clock: Arc<dyn Clock>) -> Self {
        let input_log = Arc::new(InputLog::new(options.inputs_file.clone()));
        let services = Arc::new(Services::new(options.seed));
        Self { options, input_log, clock, services }
    }

    fn engine(&self, sink: Arc<dyn Sink>) -> Engine {
        let SimOptions { seed, epoch_unix_ns, ref faults, .. } = self.options;
        let rover = Rover::new(seed, epoch_unix_ns, faults, &[]);
        let input_log = InputLogReader::new(Arc::clone(&self.input_log));
        Engine::start(
            rover,
            input_log,
            epoch_unix_ns,
            (sink, self.services.clone()),
            self.clock.now_unix_ns(),
        )
    }
}

impl Source for SimSource {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn control(&self) -> Arc<dyn SourceControl> {
        let (input_log, clock) = (self.input_log.clone(), self.clock.clone());
        Arc::new(SimControl { input_log, clock, services: self.services.clone() })
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: StopFlag) -> Result<(), SourceError> {
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
            // Bounded, so that a frozen or stepped clock cannot delay the check of `stop`.
            let wait_ns = wait_ns.clamp(0, 100_000_000);
            stop.wait(Duration::from_nanos(wait_ns.unsigned_abs()));
        }
        Ok(())
    }
}
