//! Maps topics to slots of the overview. Change this table if a rover uses other names.
//!
//! Rules are tried in order; a topic belongs to the first rule that matches its type and name. A
//! slot shows the topic with the earliest rule; another one takes over when that one is stale.
//! Types come first, so that a rover with unusual names still shows its position.

use std::sync::LazyLock;

use roverline_protocol::routing::topic_glob;
use roverline_protocol::topic_pattern::TopicPattern;

/// A slot in the overview.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// Latitude, longitude, altitude.
    Fix,
    /// Position in the odometry frame, speed, heading.
    Odometry,
    /// Heading.
    Imu,
    /// Charge, voltage, current.
    Battery,
    /// The mission's name.
    MissionName,
    /// Mission status.
    MissionStatus,
    /// Samples collected so far.
    Samples,
    /// Seconds since the mission began.
    MissionTime,
    /// Autonomy mode.
    Mode,
    /// Whether the rover drives autonomously.
    Autonomous,
    /// Indicator colour.
    Led,
    /// The emergency stop.
    EmergencyStop,
    /// Whether the rover violated its boundary.
    Boundary,
    /// The corners of its boundary.
    Fence,
    /// One of several temperatures.
    Temperature,
    /// Diagnostic messages.
    Diagnostics,
}

struct Rule {
    slot: Slot,
    types: &'static str,
    name: &'static str,
}

const fn rule(slot: Slot, types: &'static str, name: &'static str) -> Rule {
    Rule { slot, types, name }
}

const TEXT: &str = "std_msgs/msg/String";
const FLAG: &str = "std_msgs/msg/Bool";
const COUNT: &str = "std_msgs/msg/{Int,UInt}{8,16,32,64}";

static TABLE: &[Rule] = &[
    rule(Slot::Fix, "sensor_msgs/msg/NavSatFix", "**/{gps,fix,gnss}{,/**}"),
    rule(Slot::Fix, "sensor_msgs/msg/NavSatFix", "**"),
    rule(Slot::Odometry, "nav_msgs/msg/Odometry", "**/odom{,etry}{,/filtered}"),
    rule(Slot::Odometry, "nav_msgs/msg/Odometry", "**"),
    rule(Slot::Imu, "sensor_msgs/msg/Imu", "**/imu/data"),
    rule(Slot::Imu, "sensor_msgs/msg/Imu", "**"),
    rule(Slot::Battery, "sensor_msgs/msg/BatteryState", "**"),
    rule(Slot::MissionName, TEXT, "**/mission/name"),
    rule(Slot::MissionName, TEXT, "**/{current_mission,mission_name,mission}"),
    rule(Slot::MissionStatus, TEXT, "**/{mission/status,mission_status}"),
    rule(Slot::Samples, COUNT, "**/samples_collected"),
    rule(Slot::MissionTime, "std_msgs/msg/Float{32,64}", "**/{mission/time,mission_time}"),
    rule(Slot::Mode, TEXT, "**/autonomy/mode"),
    rule(Slot::Mode, TEXT, "**/{autonomy_mode,autonomous_mode,mode}"),
    rule(Slot::Autonomous, FLAG, "**/{autonomy/enabled,autonomous,autonomous_mode}"),
    rule(Slot::Led, "std_msgs/msg/{ColorRGBA,String}", "**/{led,led/state,led_state}"),
    rule(Slot::EmergencyStop, FLAG, "/emergency_stop"),
    rule(Slot::EmergencyStop, FLAG, "**/{emergency_stop,emergency,estop,e_stop}{,/state}"),
    rule(Slot::Boundary, FLAG, "**/{boundary_violation,boundary,geofence}"),
    rule(Slot::Fence, "geometry_msgs/msg/PolygonStamped", "**/{boundary,fence,geofence}{,/**}"),
    rule(Slot::Temperature, "sensor_msgs/msg/Temperature", "**"),
    rule(Slot::Diagnostics, "diagnostic_msgs/msg/DiagnosticArray", "**"),
];

/// Types subscribed only while selected: one such topic can fill a radio link.
const HEAVY: [&str; 7] = [
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/PointCloud2",
    "sensor_msgs/msg/PointCloud",
    "sensor_msgs/msg/LaserScan",
    "nav_msgs/msg/OccupancyGrid",
    "map_msgs/msg/OccupancyGridUpdate",
];

/// Whether topics of this type are subscribed only while they are selected.
pub fn is_heavy(type_name: &str) -> bool {
    HEAVY.contains(&type_name)
}

/// The slot of a topic, and its rule's index in the table: earlier is better.
pub fn slot(topic: &str, type_name: &str) -> Option<(Slot, usize)> {
    let hit =
        |(types, name): &(TopicPattern, TopicPattern)| types.is_match(type_name) && name.is_match(topic);
    let rank = COMPILED.iter().position(|rule| rule.as_ref().is_some_and(hit))?;
    TABLE.get(rank).map(|rule| (rule.slot, rank))
}

/// A rule that does not compile matches nothing; a test checks that all compile.
static COMPILED: LazyLock<Vec<Option<(TopicPattern, TopicPattern)>>> = LazyLock::new(|| {
    TABLE.iter().map(|rule| Some((topic_glob(rule.types).ok()?, topic_glob(rule.name).ok()?))).collect()
});

/// Label of a temperature: the part of the name before `/temperature`.
pub fn temperature_label(topic: &str) -> String {
    let name = topic.strip_suffix("/temperature").unwrap_or(topic);
    name.rsplit('/').next().unwrap_or(name).replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_compiles() {
        assert!(COMPILED.iter().all(Option::is_some));
    }

    #[test]
    fn type_first_name_second() {
        let slot = |topic: &str, type_name: &str| super::slot(topic, type_name).map(|(slot, _)| slot);
        for (topic, type_name, expected) in [
            ("/gps/fix", "sensor_msgs/msg/NavSatFix", Some(Slot::Fix)),
            ("/somewhere", "sensor_msgs/msg/NavSatFix", Some(Slot::Fix)),
            ("/rover7/odom", "nav_msgs/msg/Odometry", Some(Slot::Odometry)),
            ("/imu/data", "sensor_msgs/msg/Imu", Some(Slot::Imu)),
            ("/mission/status", TEXT, Some(Slot::MissionStatus)),
            ("/mission/status", FLAG, None),
            ("/mission/samples_collected", "std_msgs/msg/Int32", Some(Slot::Samples)),
            ("/mission/samples_collected", "std_msgs/msg/UInt16", Some(Slot::Samples)),
            ("/emergency_stop", FLAG, Some(Slot::EmergencyStop)),
            ("/a/estop", FLAG, Some(Slot::EmergencyStop)),
            ("/led/state", "std_msgs/msg/ColorRGBA", Some(Slot::Led)),
            ("/safety/boundary_violation", FLAG, Some(Slot::Boundary)),
            ("/autonomy/enabled", FLAG, Some(Slot::Autonomous)),
            ("/safety/boundary", "geometry_msgs/msg/PolygonStamped", Some(Slot::Fence)),
            ("/chatter", TEXT, None),
        ] {
            assert_eq!(slot(topic, type_name), expected, "{topic} {type_name}");
        }
    }

    #[test]
    fn the_usual_name_ranks_before_any_name() {
        let rank = |topic| slot(topic, "sensor_msgs/msg/NavSatFix").unwrap().1;
        assert!(rank("/gps/fix") < rank("/reference_station"));
    }

    #[test]
    fn temperatures_are_called_by_their_part() {
        assert_eq!(temperature_label("/motor/front_left/temperature"), "front left");
        assert_eq!(temperature_label("/cpu_temperature"), "cpu temperature");
    }
}
