//! The rover's complete state at one tick.

use crate::sim::fault::{Fault, FaultKind, FaultScript};
use crate::sim::kinematics::{Drive, Twist};
use crate::sim::mission::{MAX_SPEED, Mission, MissionInputs, Status};
use crate::sim::noise::Noise;
use crate::sim::power::{Power, PowerFaults};
use crate::sim::route::{Mode, Route};
use crate::sim::terrain;
use crate::sim::ticks::{CONTROL_TICKS, SORTIE_TICKS, TICK_NS, TICKS_PER_S};

/// Validity of an operator's command.
const COMMAND_LIFE_TICKS: u64 = TICKS_PER_S / 2;

/// Red, green, blue.
pub(super) type Colour = [f32; 3];

/// The rover.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) noise: Noise,
    pub(super) route: Route,
    pub(super) faults: FaultScript,
    pub(super) epoch_unix_ns: i64,
    /// The tick of this state, counted from the epoch.
    pub(super) tick: u64,
    pub(super) drive: Drive,
    pub(super) power: Power,
    pub(super) mission: Mission,
    pub(super) emergency: bool,
    /// The last command of an operator, and the tick of its arrival.
    operator: Option<(Twist, u64)>,
    /// Autonomous driving is disabled.
    manual: bool,
    max_speed: f64,
}

/// The state that is published as soon as it changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EventTopics {
    pub(super) mission: &'static str,
    pub(super) status: Status,
    pub(super) samples: i32,
    pub(super) mode: Mode,
    pub(super) enabled: bool,
    pub(super) led: Colour,
    pub(super) emergency: bool,
    pub(super) outside: bool,
}

impl State {
    pub(super) fn new(seed: u64, epoch_unix_ns: i64, faults: &[Fault]) -> Self {
        let noise = Noise::new(seed);
        let route = Route::new(noise);
        let (x, y, yaw) = route.start();
        Self {
            noise,
            route,
            faults: FaultScript::new(faults),
            epoch_unix_ns,
            tick: 0,
            drive: Drive::at(x, y, yaw),
            power: Power::new(),
            mission: Mission::new(),
            emergency: false,
            operator: None,
            manual: false,
            max_speed: MAX_SPEED,
        }
    }

    /// Returns to the start of a sortie; an engaged emergency stop and disabled autonomy remain.
    pub(super) fn begin_sortie(&mut self) {
        let (x, y, yaw) = self.route.start();
        self.drive = Drive::at(x, y, yaw);
        self.power = Power::new();
        self.mission = Mission::new();
    }

    pub(super) fn set_emergency(&mut self, engaged: bool) {
        self.emergency = engaged;
    }

    pub(super) fn set_operator(&mut self, command: Twist, tick: u64) {
        self.operator = Some((command, tick));
    }

    /// Enables or disables autonomous driving.
    pub(super) fn set_autonomy(&mut self, enabled: bool) {
        self.manual = !enabled;
    }

    /// Restarts the mission from the rover's current pose.
    pub(super) fn restart_mission(&mut self) {
        self.mission = Mission::new();
    }

    pub(super) fn set_max_speed(&mut self, speed: f64) {
        self.max_speed = speed.clamp(0.0, MAX_SPEED);
    }

    /// Resets everything that inputs have set, to start again at an earlier tick.
    pub(super) fn rewind(&mut self) {
        self.emergency = false;
        self.operator = None;
        self.manual = false;
        self.max_speed = MAX_SPEED;
        self.faults.rewind();
    }

    /// Advances to a tick: the next one, or the first of a sortie.
    pub(super) fn step(&mut self, tick: u64) {
        self.tick = tick;
        self.faults.advance(tick);
        if tick.is_multiple_of(CONTROL_TICKS) {
            self.control();
        }
        let braking = self.emergency || self.power.is_empty();
        self.drive.step(self.mission.command, braking);
    }

    fn control(&mut self) {
        let fresh = |(_, at): &(Twist, u64)| self.tick - at < COMMAND_LIFE_TICKS;
        let now = MissionInputs {
            halted: self.emergency || self.power.is_empty(),
            runaway: self.faults.is_active(FaultKind::Boundary),
            operator: self.operator.filter(fresh).map(|(twist, _)| twist),
            manual: self.manual,
            max_speed: self.max_speed,
        };
        self.mission.step(&self.route, &self.drive, now);
        let faults = PowerFaults {
            battery_drop: self.faults.is_active(FaultKind::BatteryDrop),
            motor_overheat: self.faults.is_active(FaultKind::MotorOverheat),
        };
        self.power.step(&self.drive, self.mission.arm, faults);
    }

    /// The time stamp of this tick's messages.
    pub(super) fn stamp_ns(&self) -> i64 {
        self.epoch_unix_ns.saturating_add((self.tick as i64).saturating_mul(TICK_NS))
    }

    /// Seconds since the start of the sortie.
    pub(super) fn mission_time_s(&self) -> f64 {
        (self.tick % SORTIE_TICKS) as f64 / TICKS_PER_S as f64
    }

    pub(super) fn is_outside(&self) -> bool {
        terrain::is_outside(self.drive.x, self.drive.y)
    }

    pub(super) fn status(&self) -> Status {
        if self.emergency {
            Status::EmergencyStop
        } else if self.power.is_empty() {
            Status::BatteryEmpty
        } else if self.is_outside() {
            Status::OutsideBoundary
        } else {
            self.mission.status(&self.route)
        }
    }

    /// The LED colours of the competition rules: red for autonomy, blue for teleoperation, flashing
    /// green on arrival; also flashing red for an emergency stop.
    pub(super) fn led(&self) -> Colour {
        const RED: Colour = [1.0, 0.0, 0.0];
        const GREEN: Colour = [0.0, 1.0, 0.0];
        const BLUE: Colour = [0.0, 0.0, 1.0];
        let flash = |colour| if (self.tick / 50).is_multiple_of(2) { colour } else { [0.0; 3] };
        if self.emergency {
            flash(RED)
        } else if !self.manual && self.mission.has_arrived(&self.route) {
            flash(GREEN)
        } else {
            match self.mode() {
                Mode::Autonomous => RED,
                Mode::Teleop => BLUE,
            }
        }
    }

    fn mode(&self) -> Mode {
        if self.manual { Mode::Teleop } else { self.mission.mode(&self.route) }
    }

    pub(super) fn event_topics(&self) -> EventTopics {
        let mode = self.mode();
        EventTopics {
            mission: self.mission.name(&self.route),
            status: self.status(),
            samples: self.mission.samples,
            mode,
            enabled: mode == Mode::Autonomous && !self.emergency,
            led: self.led(),
            emergency: self.emergency,
            outside: self.is_outside(),
        }
    }
}
