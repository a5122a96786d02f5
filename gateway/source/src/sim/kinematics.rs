//! Skid-steer kinematics: integrates the commanded twist into the pose, tick by tick.

use crate::sim::terrain::wrap;
use crate::sim::ticks::TICK_S;

/// Distance between the left and the right wheels, metres.
pub(super) const TRACK_M: f64 = 0.9;
/// Wheel radius, metres.
pub(super) const WHEEL_RADIUS_M: f64 = 0.14;
/// Maximum commanded speed, m/s.
pub(super) const MAX_SPEED: f64 = 1.5;
/// Maximum commanded turn rate, rad/s.
pub(super) const MAX_YAW_RATE: f64 = 1.0;

/// Acceleration in normal driving, m/s².
const ACCELERATION: f64 = 0.6;
/// An emergency stop brakes from the top speed in 0.38 s.
const EMERGENCY_BRAKING: f64 = 4.0;
/// Angular acceleration in normal driving, rad/s².
const YAW_ACCELERATION: f64 = 2.0;
const EMERGENCY_YAW_BRAKING: f64 = 4.0;

/// Forward speed and turn rate in the rover's frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Twist {
    pub(super) linear: f64,
    pub(super) angular: f64,
}

impl Twist {
    /// Clamped to the rover's limits; non-finite values become 0.
    pub(super) fn limited(self) -> Self {
        let limit = |v: f64, max: f64| if v.is_nan() { 0.0 } else { v.clamp(-max, max) };
        Self { linear: limit(self.linear, MAX_SPEED), angular: limit(self.angular, MAX_YAW_RATE) }
    }
}

/// The rover's motion, with its pose in the `map` frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drive {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) yaw: f64,
    pub(super) twist: Twist,
    /// Forward acceleration over the last tick, m/s².
    pub(super) acceleration: f64,
    /// Metres driven, forwards and backwards.
    pub(super) odometer_m: f64,
    /// Rotation angle of the left and right wheels, radians.
    pub(super) wheels: [f64; 2],
}

impl Drive {
    pub(super) fn at(x: f64, y: f64, yaw: f64) -> Self {
        Self { x, y, yaw, ..Self::default() }
    }

    /// Advances one tick towards the commanded twist.
    pub(super) fn step(&mut self, command: Twist, emergency: bool) {
        let (goal, linear, angular) = if emergency {
            (Twist::default(), EMERGENCY_BRAKING, EMERGENCY_YAW_BRAKING)
        } else {
            (command, ACCELERATION, YAW_ACCELERATION)
        };
        let before = self.twist.linear;
        self.twist.linear = towards(before, goal.linear, linear * TICK_S);
        self.twist.angular = towards(self.twist.angular, goal.angular, angular * TICK_S);
        self.acceleration = (self.twist.linear - before) / TICK_S;
        let Twist { linear: v, angular: w } = self.twist;
        if v == 0.0 && w == 0.0 {
            return;
        }
        // Using the heading in the middle of the tick is accurate to almost second order on arcs.
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
        let offset = self.twist.angular * TRACK_M / 2.0;
        [(self.twist.linear - offset) / WHEEL_RADIUS_M, (self.twist.linear + offset) / WHEEL_RADIUS_M]
    }

    /// Pose of `odom` in `map` (x, y, yaw): the start pose plus the drift of dead reckoning, which grows
    /// and shrinks with the distance driven.
    pub(super) fn odom_origin(&self, start: (f64, f64, f64)) -> (f64, f64, f64) {
        let s = self.odometer_m;
        let drift = ((s / 70.0).sin() * 0.6, (1.0 - (s / 90.0).cos()) * 0.6, (s / 120.0).sin() * 0.02);
        (start.0 + drift.0, start.1 + drift.1, wrap(start.2 + drift.2))
    }

    /// The pose reported by odometry: in `odom`, including drift.
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
        let ticks = (std::f64::consts::TAU / 0.4 / TICK_S).round() as usize;
        for _ in 0..ticks {
            drive.step(Twist { linear: 0.8, angular: 0.4 }, false);
        }
        assert!(drive.x.hypot(drive.y) < 0.02, "{drive:?}");
        assert!((drive.odometer_m - std::f64::consts::TAU * 2.0).abs() < 0.02);
        assert!(drive.wheels[1] > drive.wheels[0]);
    }

    #[test]
    fn emergency_braking_halts_within_half_a_second() {
        let mut drive = Drive::at(0.0, 0.0, 0.0);
        drive.twist = Twist { linear: MAX_SPEED, angular: -MAX_YAW_RATE };
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
    fn an_extreme_command_is_limited() {
        let wild = Twist { linear: f64::NAN, angular: f64::INFINITY }.limited();
        assert_eq!(wild, Twist { linear: 0.0, angular: MAX_YAW_RATE });
    }
}
