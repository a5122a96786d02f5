//! The mission: decides which way-point is next, who drives, and what happens at a way-point.

use crate::sim::kinematics::{Drive, Twist};
use crate::sim::route::{Action, Mode, Route};
use crate::sim::terrain::{BOUNDARY_M, wrap};
use crate::sim::ticks::CONTROL_S;

/// Default maximum autonomous speed, m/s.
pub(super) const MAX_SPEED: f64 = 0.8;
const TELEOP_SPEED: f64 = 0.6;
const RUNAWAY_SPEED: f64 = 1.4;
/// Distance at which a way-point counts as reached, metres.
const REACHED_M: f64 = 0.6;
/// The same for a way-point that is only passed.
const PASSED_M: f64 = 2.5;
/// A runaway rover halts this far outside the boundary, metres.
const RUNAWAY_M: f64 = 6.0;

/// The activity on the way to a way-point or at it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Driving,
    /// Seconds left.
    Stopped(f64),
}

/// External influences on the mission's decisions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MissionInputs {
    /// Driving is disabled: an emergency stop or an empty battery.
    pub(super) halted: bool,
    /// The fault that makes it leave the boundary.
    pub(super) runaway: bool,
    /// The current command of an operator.
    pub(super) operator: Option<Twist>,
    /// Autonomous driving is disabled.
    pub(super) manual: bool,
    /// Maximum autonomous speed, m/s.
    pub(super) max_speed: f64,
}

/// The mission's state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mission {
    /// Way-points reached; the count continues over the laps.
    waypoint: usize,
    phase: Phase,
    pub(super) samples: i32,
    /// The current command of the autonomy (or the operator).
    pub(super) command: Twist,
    /// How far the arm is unfolded, 0 to 1.
    pub(super) arm: f64,
    /// How long the arm has been working, seconds.
    pub(super) arm_s: f64,
}

/// A status line for people.
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
        Self {
            waypoint: 0,
            phase: Phase::Driving,
            samples: 0,
            command: Twist::default(),
            arm: 0.0,
            arm_s: 0.0,
        }
    }

    /// One control period: computes the command and advances the mission.
    pub(super) fn step(&mut self, route: &Route, drive: &Drive, now: MissionInputs) {
        let working = self.is_working(route) && !now.halted && !now.runaway;
        self.arm = (self.arm + if working { 0.05 } else { -0.05 }).clamp(0.0, 1.0);
        if working {
            self.arm_s += CONTROL_S;
        }
        self.command = if now.halted {
            Twist::default()
        } else if now.runaway {
            runaway(drive)
        } else {
            self.proceed(route, drive, now)
        }
        .limited();
    }

    fn proceed(&mut self, route: &Route, drive: &Drive, now: MissionInputs) -> Twist {
        let waypoint = *route.waypoint(self.waypoint);
        if let Phase::Stopped(left_s) = self.phase {
            self.stay(left_s, waypoint.action);
            return Twist::default();
        }
        let distance = (waypoint.x - drive.x).hypot(waypoint.y - drive.y);
        let (stay_s, reached_m) = match waypoint.action {
            Action::Pass => (0.0, PASSED_M),
            Action::Arrive => (5.0, REACHED_M),
            Action::Sample => (12.0, REACHED_M),
            Action::Service => (20.0, REACHED_M),
        };
        if distance < reached_m {
            if waypoint.action == Action::Pass {
                self.waypoint += 1;
            } else {
                self.phase = Phase::Stopped(stay_s);
            }
            return Twist::default();
        }
        let mode = if now.manual { Mode::Teleop } else { waypoint.mode };
        match (mode, now.operator) {
            (Mode::Teleop, Some(twist)) => twist,
            (Mode::Teleop, None) if now.manual => Twist::default(),
            (Mode::Teleop, None) => steer(drive, waypoint.x, waypoint.y, TELEOP_SPEED.min(now.max_speed)),
            (Mode::Autonomous, _) => {
                // The speed from which it can still stop in time.
                let stopping = (0.8 * distance).sqrt() + 0.05;
                let speed =
                    if waypoint.action == Action::Pass { now.max_speed } else { now.max_speed.min(stopping) };
                steer(drive, waypoint.x, waypoint.y, speed)
            }
        }
    }

    fn stay(&mut self, left_s: f64, action: Action) {
        if left_s > CONTROL_S {
            self.phase = Phase::Stopped(left_s - CONTROL_S);
            return;
        }
        if action == Action::Sample {
            self.samples += 1;
        }
        self.phase = Phase::Driving;
        self.waypoint += 1;
    }

    fn is_working(&self, route: &Route) -> bool {
        let action = route.waypoint(self.waypoint).action;
        self.phase != Phase::Driving && matches!(action, Action::Sample | Action::Service)
    }

    /// The mission's name.
    pub(super) fn name(&self, route: &Route) -> &'static str {
        route.waypoint(self.waypoint).mission
    }

    pub(super) fn mode(&self, route: &Route) -> Mode {
        route.waypoint(self.waypoint).mode
    }

    /// Whether it has stopped at a way-point that it reached autonomously.
    pub(super) fn has_arrived(&self, route: &Route) -> bool {
        self.phase != Phase::Driving && self.mode(route) == Mode::Autonomous
    }

    /// The status of a mission without disturbances.
    pub(super) fn status(&self, route: &Route) -> Status {
        let waypoint = route.waypoint(self.waypoint);
        let number = self.waypoint % route.waypoints.len() + 1;
        match (self.phase, waypoint.action, waypoint.mode) {
            (Phase::Driving, _, Mode::Autonomous) => Status::Driving(number),
            (Phase::Driving, _, Mode::Teleop) => Status::Teleoperated(number),
            (Phase::Stopped(_), Action::Sample, _) => Status::Sampling(self.samples + 1),
            (Phase::Stopped(_), Action::Service, _) => Status::Servicing,
            (Phase::Stopped(_), Action::Arrive | Action::Pass, _) => Status::Arrived(number),
        }
    }
}

/// Steers towards a position: turns by the heading error, and drives slower the larger that error.
fn steer(drive: &Drive, x: f64, y: f64, speed: f64) -> Twist {
    let off = wrap((y - drive.y).atan2(x - drive.x) - drive.yaw);
    Twist { linear: speed * off.cos().max(0.0), angular: (1.2 * off).clamp(-0.7, 0.7) }
}

/// Drives straight away from the origin until well beyond the boundary.
fn runaway(drive: &Drive) -> Twist {
    let distance = drive.x.hypot(drive.y);
    if distance > BOUNDARY_M + RUNAWAY_M {
        return Twist::default();
    }
    let scale = (BOUNDARY_M + 2.0 * RUNAWAY_M) / distance.max(1.0);
    steer(drive, drive.x * scale, drive.y * scale, RUNAWAY_SPEED)
}
