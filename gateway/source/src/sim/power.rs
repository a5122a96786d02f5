//! The battery, and the temperatures of the six wheel motors.

use crate::sim::kinematics::Drive;
use crate::sim::terrain;
use crate::sim::ticks::CONTROL_S;

/// The motor names, in the order of every array with one entry per motor.
pub(super) const MOTORS: [&str; 6] =
    ["front_left", "front_right", "middle_left", "middle_right", "rear_left", "rear_right"];
/// The motor that is worn and heats up more over time.
const WORN_MOTOR: usize = 5;
/// The motor of the overheating fault.
pub(super) const FAULTY_MOTOR: usize = 2;
/// Warning temperature of a motor, °C.
pub(super) const MOTOR_WARM_C: f64 = 65.0;
/// Error temperature of a motor, °C.
pub(super) const MOTOR_HOT_C: f64 = 85.0;

/// Design capacity, ampere-hours.
pub(super) const CAPACITY_AH: f64 = 28.0;
/// Cells in series.
pub(super) const CELLS: usize = 6;

const AMBIENT_C: f64 = 27.0;
/// Time constant of a motor's temperature (63 %), seconds.
const MOTOR_TIME_S: f64 = 240.0;
const FAULT_TIME_S: f64 = 12.0;
/// Loss of charge by the battery-drop fault, fraction per second, and the charge at which it ends.
const DROP_PER_S: f64 = 0.02;
const DROP_FLOOR: f64 = 0.05;

/// The currently active power faults.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PowerFaults {
    pub(super) battery_drop: bool,
    pub(super) motor_overheat: bool,
}

/// Battery charge and motor temperatures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Power {
    /// State of charge, 0 to 1.
    pub(super) charge: f64,
    /// Current drawn, amperes.
    pub(super) current: f64,
    /// Motor temperatures, °C.
    pub(super) motors: [f64; 6],
    /// Seconds since the start of the sortie.
    age_s: f64,
}

impl Power {
    pub(super) fn new() -> Self {
        Self { charge: 0.98, current: 5.0, motors: [AMBIENT_C + 3.0; 6], age_s: 0.0 }
    }

    /// Advances one control period; `arm` is 0 (stowed) to 1 (working).
    pub(super) fn step(&mut self, drive: &Drive, arm: f64, faults: PowerFaults) {
        self.age_s += CONTROL_S;
        let (speed, yaw_rate) = (drive.twist.linear.abs(), drive.twist.angular.abs());
        let climb = if speed > 0.0 {
            let (gx, gy) = terrain::gradient(drive.x, drive.y);
            let (sin, cos) = drive.yaw.sin_cos();
            (gx * cos + gy * sin).max(0.0) * speed
        } else {
            0.0
        };
        let load = speed + 0.5 * yaw_rate + 4.0 * climb;
        self.current = 4.0 + 7.0 * load + 3.0 * arm;
        self.charge = (self.charge - self.current * CONTROL_S / 3600.0 / CAPACITY_AH).max(0.0);
        if faults.battery_drop && self.charge > DROP_FLOOR {
            self.charge = (self.charge - DROP_PER_S * CONTROL_S).max(DROP_FLOOR);
        }
        self.warm(load, faults.motor_overheat);
    }

    fn warm(&mut self, load: f64, overheat: bool) {
        for (i, motor) in self.motors.iter_mut().enumerate() {
            let wear = if i == WORN_MOTOR { 1.0 + self.age_s / 3600.0 } else { 1.0 };
            let (goal, time_s) = if overheat && i == FAULTY_MOTOR {
                (AMBIENT_C + 85.0, FAULT_TIME_S)
            } else {
                (AMBIENT_C + 4.0 + (15.0 + 0.8 * i as f64) * load * wear, MOTOR_TIME_S)
            };
            *motor += (goal - *motor) * CONTROL_S / time_s;
        }
    }

    /// Whether the charge is too low to drive.
    pub(super) fn is_empty(&self) -> bool {
        self.charge <= 0.0
    }

    /// Voltage of one cell under the present load.
    pub(super) fn cell_volts(&self) -> f64 {
        3.2 + 0.75 * self.charge + 0.2 * self.charge.powi(6) - 0.003 * self.current
    }
}
