//! Skid-steer kinematics: what the commanded twist does to the pose, tick by tick.

use crate::sim::terrain::wrap;
use crate::sim::ticks::TICK_S;

/// Distance between the left and the right wheels, metres.
pub(super) const TRACK_M: f64 = 0.9;
/// Wheel radius, metres.
pub(super) const WHEEL_RADIUS_M: f64 = 0.14;
/// The fastest that anybody may command, m/s.
pub(super) const MAX_SPEED: f64 = 1.5;
/// The fastest turn that anybody may command, rad/s.
pub(super) const MAX_TURN: f64 = 1.0;

/// How fast speed changes in everyday driving, m/s².
const ACCELERATION: f64 = 0.6;
/// An emergency stop brakes from the top speed in 0.38 s.
const EMERGENCY_BRAKING: f64 = 4.0;
/// The same for turning, rad/s².
const TURN_ACCELERATION: f64 = 2.0;
const EMERGENCY_TURN_BRAKING: f64 = 4.0;

/// Forward speed and turn rate in the rover's own frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Twist {
    pub(super) linear: f64,
    pub(super) angular: f64,
}

impl Twist {
    /// Within what the rover can do; what is not a number stands still.
    pub(super) fn limited(self) -> Self {
        let limit = |v: f64, max: f64| if v.is_nan() { 0.0 } else { v.clamp(-max, max) };
        Self { linear: limit(self.linear, MAX_SPEED), angular: limit(self.angular, MAX_TURN) }
    }
}

/// The rover's motion; pose in the `map` frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drive {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) yaw: f64,
    pub(super) twist: Twist,
    /// Forward acceleration over the last tick, m/s².
    pub(super) acceleration: f64,
    /// Metres driven, whichever way.
    pub(super) odometer_m: f64,
    /// Angle that the wheels of the left and right side have turned, radians.
    pub(super) wheels: [f64; 2],
}

impl Drive {
    pub(super) fn at(x: f64, y: f64, yaw: f64) -> Self {
        Self { x, y, yaw, ..Self::default() }
    }

    /// One tick towards the commanded twist.
    pub(super) fn step(&mut self, command: Twist, emergency: bool) {
        let (goal, linear, angular) = if emergency {
            (Twist::default(), EMERGENCY_BRAKING, EMERGENCY_TURN_BRAKING)
        } else {
            (command, ACCELERATION, TURN_ACCELERATION)
        };
        let before = self.twist.linear;
        self.twist.linear = towards(before, goal.linear, linear * TICK_S);
        self.twist.angular = towards(self.twist.angular, goal.angular, angular * TICK_S);
        self.acceleration = (self.twist.linear - before) / TICK_S;
        let Twist { linear: v, angular: w } = self.twist;
        if v == 0.0 && w == 0.0 {
            return;
        }
        // The heading in the middle of the tick makes arcs close to second order.
        let (sin, cos) = (self.yaw + 0.5 * w * TICK_S).sin_cos();
        self.x += v * cos * TICK_S;
        self.y += v * sin * TICK_S;
        self.yaw = wrap(self.yaw + w * TICK_S);
        self.odometer_m += v.abs() * TICK_S;
        let speeds = self.wheel_speeds();
        for (wheel, speed) in self.wheels.iter_mut().zip(speeds) {
            *wheel += speed * TICK_S;
        }
    }

    /// Turn rates of the left and right wheels, rad/s.
    pub(super) fn wheel_speeds(&self) -> [f64; 2] {
        let turn = self.twist.angular * TRACK_M / 2.0;
        [(self.twist.linear - turn) / WHEEL_RADIUS_M, (self.twist.linear + turn) / WHEEL_RADIUS_M]
    }

    /// Where `odom` lies in `map` (x, y, yaw): the start, and the drift of dead reckoning since,
    /// which grows and shrinks with the way driven.
    pub(super) fn odom_origin(&self, start: (f64, f64, f64)) -> (f64, f64, f64) {
        let s = self.odometer_m;
        let drift = ((s / 70.0).sin() * 0.6, (1.0 - (s / 90.0).cos()) * 0.6, (s / 120.0).sin() * 0.02);
        (start.0 + drift.0, start.1 + drift.1, wrap(start.2 + drift.2))
    }

    /// The pose that odometry reports: in `odom`, drift included.
    pub(super) fn odom_pose(&self, start: (f64, f64, f64)) -> (f64, f64, f64) {
        let (ox, oy, oyaw) = self.odom_origin(start);
        let (sin, cos) = oyaw.sin_cos();
        let (dx, dy) = (self.x - ox, self.y - oy);
        (dx * cos + dy * sin, dy * cos - dx * sin, wrap(self.yaw - oyaw))
    }
}

fn towards(from: f64, goal: f64, step: f64) -> f64 {
    from + (goal - from).clamp(-step, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_twist_drives_a_circle() {
        let mut drive = Drive::at(0.0, 0.0, 0.0);
        drive.twist = Twist { linear: 0.8, angular: 0.4 };
        let turn = (std::f64::consts::TAU / 0.4 / TICK_S).round() as usize;
        for _ in 0..turn {
            drive.step(Twist { linear: 0.8, angular: 0.4 }, false);
        }
        assert!(drive.x.hypot(drive.y) < 0.02, "{drive:?}");
        assert!((drive.odometer_m - std::f64::consts::TAU * 2.0).abs() < 0.02);
        assert!(drive.wheels[1] > drive.wheels[0]);
    }

    #[test]
    fn emergency_braking_halts_within_half_a_second() {
        let mut drive = Drive::at(0.0, 0.0, 0.0);
        drive.twist = Twist { linear: MAX_SPEED, angular: -MAX_TURN };
        for _ in 0..50 {
            drive.step(Twist { linear: 1.0, angular: 1.0 }, true);
        }
        assert_eq!(drive.twist, Twist::default());
    }

    #[test]
    fn odometry_starts_at_its_own_origin() {
        assert_eq!(Drive::at(4.0, -2.0, 1.0).odom_pose((4.0, -2.0, 1.0)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_wild_command_is_limited() {
        let wild = Twist { linear: f64::NAN, angular: f64::INFINITY }.limited();
        assert_eq!(wild, Twist { linear: 0.0, angular: MAX_TURN });
    }
}
