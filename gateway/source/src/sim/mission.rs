//! What the rover is up to: the way-points in turn, who drives, what it does when it is there.

use crate::sim::kinematics::{Drive, Twist};
use crate::sim::route::{Action, Course, Mode};
use crate::sim::terrain::{BOUNDARY_M, wrap};
use crate::sim::ticks::CONTROL_S;

/// The most it drives by itself unless told otherwise, m/s.
pub(super) const MAX_SPEED: f64 = 0.8;
const TELEOP_SPEED: f64 = 0.6;
const RUNAWAY_SPEED: f64 = 1.4;
/// A way-point counts as reached from here, metres.
const REACHED_M: f64 = 0.6;
/// The same for one that is only passed.
const PASSED_M: f64 = 2.5;
/// How far outside the boundary a rover that left it halts, metres.
const RUNAWAY_M: f64 = 6.0;

/// What the rover is doing at its way-point or on the way there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Driving,
    /// Seconds left.
    There(f64),
}

/// What decides over the rover's next move besides its mission.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Circumstances {
    /// No drive: an emergency stop or an empty battery.
    pub(super) halted: bool,
    /// The fault that makes it leave the boundary.
    pub(super) runaway: bool,
    /// What an operator commands, when one does.
    pub(super) operator: Option<Twist>,
    /// It does not drive by itself.
    pub(super) manual: bool,
    /// The most it drives by itself, m/s.
    pub(super) max_speed: f64,
}

/// The mission's state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mission {
    /// Way-points reached; counts on over the laps.
    leg: usize,
    phase: Phase,
    pub(super) samples: i32,
    /// What the autonomy (or the operator) commands now.
    pub(super) command: Twist,
    /// How far the arm is unfolded, 0 to 1.
    pub(super) arm: f64,
    /// How long it has been working, seconds.
    pub(super) arm_s: f64,
}

/// A line for people on what goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    EmergencyStop,
    BatteryEmpty,
    OutsideBoundary,
    Driving(usize),
    Teleoperated(usize),
    Arrived(usize),
    Sampling(i32),
    Servicing,
}

impl Status {
    pub(super) fn text(self) -> String {
        match self {
            Status::EmergencyStop => "Emergency stop".to_owned(),
            Status::BatteryEmpty => "Battery empty".to_owned(),
            Status::OutsideBoundary => "Outside the boundary".to_owned(),
            Status::Driving(n) => format!("Driving to waypoint {n}"),
            Status::Teleoperated(n) => format!("Teleoperated to waypoint {n}"),
            Status::Arrived(n) => format!("Arrived at waypoint {n}"),
            Status::Sampling(n) => format!("Collecting sample {n}"),
            Status::Servicing => "Servicing equipment".to_owned(),
        }
    }
}

impl Mission {
    pub(super) fn new() -> Self {
        Self { leg: 0, phase: Phase::Driving, samples: 0, command: Twist::default(), arm: 0.0, arm_s: 0.0 }
    }

    /// One control period: decides on the command and goes on with the mission.
    pub(super) fn step(&mut self, course: &Course, drive: &Drive, now: Circumstances) {
        let working = self.is_working(course) && !now.halted && !now.runaway;
        self.arm = (self.arm + if working { 0.05 } else { -0.05 }).clamp(0.0, 1.0);
        if working {
            self.arm_s += CONTROL_S;
        }
        self.command = if now.halted {
            Twist::default()
        } else if now.runaway {
            runaway(drive)
        } else {
            self.proceed(course, drive, now)
        }
        .limited();
    }

    fn proceed(&mut self, course: &Course, drive: &Drive, now: Circumstances) -> Twist {
        let leg = *course.leg(self.leg);
        if let Phase::There(left_s) = self.phase {
            self.stay(left_s, leg.action);
            return Twist::default();
        }
        let distance = (leg.x - drive.x).hypot(leg.y - drive.y);
        let (stay_s, reached_m) = match leg.action {
            Action::Pass => (0.0, PASSED_M),
            Action::Arrive => (5.0, REACHED_M),
            Action::Sample => (12.0, REACHED_M),
            Action::Service => (20.0, REACHED_M),
        };
        if distance < reached_m {
            if leg.action == Action::Pass {
                self.leg += 1;
            } else {
                self.phase = Phase::There(stay_s);
            }
            return Twist::default();
        }
        let mode = if now.manual { Mode::Teleop } else { leg.mode };
        match (mode, now.operator) {
            (Mode::Teleop, Some(twist)) => twist,
            (Mode::Teleop, None) if now.manual => Twist::default(),
            (Mode::Teleop, None) => steer(drive, leg.x, leg.y, TELEOP_SPEED.min(now.max_speed)),
            (Mode::Autonomous, _) => {
                // Braking distance decides how fast it may still be when it stops at the end.
                let stopping = (0.8 * distance).sqrt() + 0.05;
                let speed =
                    if leg.action == Action::Pass { now.max_speed } else { now.max_speed.min(stopping) };
                steer(drive, leg.x, leg.y, speed)
            }
        }
    }

    fn stay(&mut self, left_s: f64, action: Action) {
        if left_s > CONTROL_S {
            self.phase = Phase::There(left_s - CONTROL_S);
            return;
        }
        if action == Action::Sample {
            self.samples += 1;
        }
        self.phase = Phase::Driving;
        self.leg += 1;
    }

    fn is_working(&self, course: &Course) -> bool {
        let action = course.leg(self.leg).action;
        self.phase != Phase::Driving && matches!(action, Action::Sample | Action::Service)
    }

    /// The mission's name.
    pub(super) fn name(&self, course: &Course) -> &'static str {
        course.leg(self.leg).mission
    }

    pub(super) fn mode(&self, course: &Course) -> Mode {
        course.leg(self.leg).mode
    }

    /// Whether it stands at a way-point that it drove to by itself.
    pub(super) fn has_arrived(&self, course: &Course) -> bool {
        self.phase != Phase::Driving && self.mode(course) == Mode::Autonomous
    }

    /// The status of an undisturbed mission.
    pub(super) fn status(&self, course: &Course) -> Status {
        let leg = course.leg(self.leg);
        let number = self.leg % course.legs.len() + 1;
        match (self.phase, leg.action, leg.mode) {
            (Phase::Driving, _, Mode::Autonomous) => Status::Driving(number),
            (Phase::Driving, _, Mode::Teleop) => Status::Teleoperated(number),
            (Phase::There(_), Action::Sample, _) => Status::Sampling(self.samples + 1),
            (Phase::There(_), Action::Service, _) => Status::Servicing,
            (Phase::There(_), Action::Arrive | Action::Pass, _) => Status::Arrived(number),
        }
    }
}

/// Towards a place: turn as far as the heading is off, and the slower the farther it is off.
fn steer(drive: &Drive, x: f64, y: f64, speed: f64) -> Twist {
    let off = wrap((y - drive.y).atan2(x - drive.x) - drive.yaw);
    Twist { linear: speed * off.cos().max(0.0), angular: (1.2 * off).clamp(-0.7, 0.7) }
}

/// Straight away from the origin until well beyond the boundary.
fn runaway(drive: &Drive) -> Twist {
    let distance = drive.x.hypot(drive.y);
    if distance > BOUNDARY_M + RUNAWAY_M {
        return Twist::default();
    }
    let scale = (BOUNDARY_M + 2.0 * RUNAWAY_M) / distance.max(1.0);
    steer(drive, drive.x * scale, drive.y * scale, RUNAWAY_SPEED)
}
