//! Everything the rover is at one tick.

use crate::sim::fault::{Fault, FaultKind, FaultScript};
use crate::sim::kinematics::{Drive, Twist};
use crate::sim::mission::{Circumstances, MAX_SPEED, Mission, Status};
use crate::sim::noise::Noise;
use crate::sim::power::{Power, PowerFaults};
use crate::sim::route::{Course, Mode};
use crate::sim::terrain;
use crate::sim::ticks::{CONTROL_TICKS, SORTIE_TICKS, TICK_NS, TICKS_PER_S};

/// An operator's command counts for this long.
const COMMAND_LIFE_TICKS: u64 = TICKS_PER_S / 2;

/// Red, green, blue.
pub(super) type Colour = [f32; 3];

/// The rover.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) noise: Noise,
    pub(super) course: Course,
    pub(super) faults: FaultScript,
    pub(super) epoch_unix_ns: i64,
    /// The tick that this state is of, from the epoch.
    pub(super) tick: u64,
    pub(super) drive: Drive,
    pub(super) power: Power,
    pub(super) mission: Mission,
    pub(super) emergency: bool,
    /// The last command of an operator and the tick of its arrival.
    operator: Option<(Twist, u64)>,
    /// Nobody lets it drive by itself.
    manual: bool,
    max_speed: f64,
}

/// What is published as soon as it changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Headlines {
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
        let course = Course::new(noise);
        let (x, y, yaw) = course.start();
        Self {
            noise,
            course,
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

    /// Back to the start of a sortie; what people have engaged stays engaged.
    pub(super) fn begin_sortie(&mut self) {
        let (x, y, yaw) = self.course.start();
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

    /// Lets it drive by itself, or not.
    pub(super) fn set_autonomy(&mut self, enabled: bool) {
        self.manual = !enabled;
    }

    /// Begins the mission anew, from where the rover is.
    pub(super) fn restart_mission(&mut self) {
        self.mission = Mission::new();
    }

    pub(super) fn set_max_speed(&mut self, speed: f64) {
        self.max_speed = speed.clamp(0.0, MAX_SPEED);
    }

    /// Forgets all that was ever put in, for a start at an earlier tick.
    pub(super) fn rewind(&mut self) {
        self.emergency = false;
        self.operator = None;
        self.manual = false;
        self.max_speed = MAX_SPEED;
        self.faults.rewind();
    }

    /// Moves on to a tick, the one after the last or the first of a sortie.
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
        let now = Circumstances {
            halted: self.emergency || self.power.is_empty(),
            runaway: self.faults.is_active(FaultKind::Boundary),
            operator: self.operator.filter(fresh).map(|(twist, _)| twist),
            manual: self.manual,
            max_speed: self.max_speed,
        };
        self.mission.step(&self.course, &self.drive, now);
        let faults = PowerFaults {
            battery_drop: self.faults.is_active(FaultKind::BatteryDrop),
            motor_overheat: self.faults.is_active(FaultKind::MotorOverheat),
        };
        self.power.step(&self.drive, self.mission.arm, faults);
    }

    /// What every message of this tick is stamped with.
    pub(super) fn stamp_ns(&self) -> i64 {
        self.epoch_unix_ns.saturating_add((self.tick as i64).saturating_mul(TICK_NS))
    }

    /// Seconds since the sortie began.
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
            self.mission.status(&self.course)
        }
    }

    /// The colours that the competition's rules ask for: red for autonomy, blue for teleoperation,
    /// flashing green on arrival; and flashing red for an emergency stop.
    pub(super) fn led(&self) -> Colour {
        const RED: Colour = [1.0, 0.0, 0.0];
        const GREEN: Colour = [0.0, 1.0, 0.0];
        const BLUE: Colour = [0.0, 0.0, 1.0];
        let flash = |colour| if (self.tick / 50).is_multiple_of(2) { colour } else { [0.0; 3] };
        if self.emergency {
            flash(RED)
        } else if !self.manual && self.mission.has_arrived(&self.course) {
            flash(GREEN)
        } else {
            match self.mode() {
                Mode::Autonomous => RED,
                Mode::Teleop => BLUE,
            }
        }
    }

    fn mode(&self) -> Mode {
        if self.manual { Mode::Teleop } else { self.mission.mode(&self.course) }
    }

    pub(super) fn headlines(&self) -> Headlines {
        let mode = self.mode();
        Headlines {
            mission: self.mission.name(&self.course),
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
