//! The built-in rules: what every rover of the University Rover Challenge has, by the usual types and names.

use std::collections::BTreeMap;

use crate::alarms::rule::{AlarmRule, Derived};
use crate::api::alarms::AlarmSeverity::{Critical, Severe, Warning};

/// The built-in rules. A rule in `roverline.toml` with the same name replaces one.
pub fn default_rules() -> Vec<AlarmRule> {
    let text = |text: &str| Some(text.to_owned());
    vec![
        AlarmRule {
            name: "battery".to_owned(),
            type_name: text("sensor_msgs/msg/BatteryState"),
            field: "percentage".to_owned(),
            scale: Some(100.0),
            unit: "%".to_owned(),
            below: BTreeMap::from([(Warning, 30.0), (Critical, 15.0)]),
            hysteresis: 2.0,
            on_delay_s: Some(2.0),
            off_delay_s: Some(5.0),
            ..AlarmRule::default()
        },
        AlarmRule {
            name: "motor temperature".to_owned(),
            topic: text("**/{motor,motors}{,_*}{,/**}"),
            type_name: text("sensor_msgs/msg/Temperature"),
            field: "temperature".to_owned(),
            unit: "°C".to_owned(),
            above: BTreeMap::from([(Warning, 70.0), (Critical, 85.0)]),
            hysteresis: 5.0,
            on_delay_s: Some(1.0),
            off_delay_s: Some(3.0),
            ..AlarmRule::default()
        },
        AlarmRule {
            name: "tilt".to_owned(),
            type_name: text("sensor_msgs/msg/Imu"),
            field: "orientation".to_owned(),
            derived: Some(Derived::Tilt),
            unit: "°".to_owned(),
            above: BTreeMap::from([(Warning, 30.0), (Severe, 45.0)]),
            hysteresis: 5.0,
            on_delay_s: Some(0.5),
            off_delay_s: Some(2.0),
            ..AlarmRule::default()
        },
        AlarmRule {
            name: "boundary".to_owned(),
            topic: text("**/{boundary_violation,geofence_violation}"),
            field: "data".to_owned(),
            above: BTreeMap::from([(Critical, 0.5)]),
            on_delay_s: Some(0.0),
            off_delay_s: Some(1.0),
            ..AlarmRule::default()
        },
        AlarmRule {
            name: "gps fix".to_owned(),
            type_name: text("sensor_msgs/msg/NavSatFix"),
            // -1 is STATUS_NO_FIX.
            field: "status.status".to_owned(),
            below: BTreeMap::from([(Warning, 0.0)]),
            on_delay_s: Some(2.0),
            off_delay_s: Some(2.0),
            ..AlarmRule::default()
        },
    ]
}
