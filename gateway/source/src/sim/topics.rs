//! The table of the rover's topics: names, types, rates and QoS.

use std::sync::LazyLock;

use roverline_protocol::MessageEncoding;

use crate::sim::power::MOTORS;
use crate::sim::ticks::TICKS_PER_S;
use crate::{NodeInfo, Qos, TopicDecl};

/// The nodes that send a heartbeat.
pub(super) const HEARTBEATS: [&str; 4] = ["drive", "localization", "navigation", "arm"];
/// The node that the node-death fault kills.
pub(super) const FAULTY_NODE: usize = 3;
/// The nodes without a heartbeat.
const OTHER_NODES: [&str; 6] =
    ["imu_driver", "gps_driver", "lidar_driver", "camera_front", "mission_manager", "safety_monitor"];

/// The period of the schedule: every topic's period divides it.
pub(super) const CYCLE_TICKS: u64 = 500;

/// The content of a topic; selects the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Imu,
    Odometry,
    Gps,
    Joints,
    Battery,
    MotorTemperature(usize),
    Diagnostics,
    Transforms,
    StaticTransforms,
    MissionName,
    MissionStatus,
    Samples,
    MissionTime,
    Mode,
    Enabled,
    Led,
    EmergencyStop,
    BoundaryViolation,
    Scan,
    Camera,
    Heartbeat(usize),
    Command,
}

/// QoS of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// For fast sensors: lost samples are not sent again.
    BestEffort,
    Reliable,
    /// Transient local: late subscribers receive the last sample; sent to everyone on a change.
    Latched,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) type_name: &'static str,
    pub(super) content: Content,
    pub(super) offer: Offer,
    /// Ticks between two messages; 0: only on a change.
    pub(super) period: u64,
    /// Offset that spreads the slow topics over a second.
    pub(super) phase: u64,
}

/// All topics; a topic's row is its number everywhere in this folder.
pub(super) static TABLE: LazyLock<Vec<Topic>> = LazyLock::new(build);

const HZ: u64 = TICKS_PER_S;

fn build() -> Vec<Topic> {
    use Content as C;
    use Offer::{BestEffort, Latched, Reliable};
    let mut table = Table(Vec::new());
    table.add("/imu/data", "sensor_msgs/msg/Imu", C::Imu, BestEffort, HZ / 100);
    table.add("/odom", "nav_msgs/msg/Odometry", C::Odometry, Reliable, HZ / 50);
    table.add("/tf", "tf2_msgs/msg/TFMessage", C::Transforms, Reliable, HZ / 50);
    table.add("/tf_static", "tf2_msgs/msg/TFMessage", C::StaticTransforms, Latched, 0);
    table.add("/joint_states", "sensor_msgs/msg/JointState", C::Joints, Reliable, HZ / 20);
    table.add("/gps/fix", "sensor_msgs/msg/NavSatFix", C::Gps, BestEffort, HZ / 10);
    table.add("/scan", "sensor_msgs/msg/LaserScan", C::Scan, BestEffort, HZ / 10);
    table.add("/cmd_vel", "geometry_msgs/msg/Twist", C::Command, Reliable, HZ / 10);
    let image = "sensor_msgs/msg/CompressedImage";
    table.add("/camera/front/compressed", image, C::Camera, BestEffort, HZ / 5);
    table.add("/battery_state", "sensor_msgs/msg/BatteryState", C::Battery, Reliable, HZ);
    for (i, motor) in MOTORS.iter().enumerate() {
        let name = format!("/motor/{motor}/temperature");
        table.add(&name, "sensor_msgs/msg/Temperature", C::MotorTemperature(i), Reliable, HZ);
    }
    table.add("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", C::Diagnostics, Reliable, HZ);
    for (i, node) in HEARTBEATS.iter().enumerate() {
        table.add(&format!("/heartbeat/{node}"), "std_msgs/msg/Header", C::Heartbeat(i), Reliable, HZ);
    }
    table.add("/mission/name", "std_msgs/msg/String", C::MissionName, Latched, 5 * HZ);
    table.add("/mission/status", "std_msgs/msg/String", C::MissionStatus, Latched, HZ);
    table.add("/mission/samples_collected", "std_msgs/msg/Int32", C::Samples, Latched, HZ);
    table.add("/mission/time", "std_msgs/msg/Float64", C::MissionTime, Reliable, HZ);
    table.add("/autonomy/mode", "std_msgs/msg/String", C::Mode, Latched, HZ);
    table.add("/autonomy/enabled", "std_msgs/msg/Bool", C::Enabled, Latched, HZ);
    table.add("/led/state", "std_msgs/msg/ColorRGBA", C::Led, Latched, HZ);
    table.add("/emergency_stop", "std_msgs/msg/Bool", C::EmergencyStop, Latched, HZ);
    table.add("/safety/boundary_violation", "std_msgs/msg/Bool", C::BoundaryViolation, Latched, HZ / 2);
    table.0
}

struct Table(Vec<Topic>);

impl Table {
    fn add(&mut self, name: &str, type_name: &'static str, content: Content, offer: Offer, period: u64) {
        // Seven is coprime to every period, so the slow topics spread well.
        let phase = if period == 0 { 0 } else { (self.0.len() as u64 * 7) % period };
        self.0.push(Topic { name: name.to_owned(), type_name, content, offer, period, phase });
    }
}

/// A set of topics, one bit each.
pub(super) type TopicSet = u64;

/// The topics that satisfy a condition.
pub(super) fn topics_where(mut condition: impl FnMut(&Topic) -> bool) -> TopicSet {
    (0..).zip(TABLE.iter()).filter(|(_, t)| condition(t)).fold(0, |set, (i, _): (u32, _)| set | 1 << i)
}

/// The topics due at each tick of a cycle.
pub(super) fn schedule() -> Vec<TopicSet> {
    let due = |tick| topics_where(|t| t.period != 0 && tick % t.period == t.phase);
    (0..CYCLE_TICKS).map(due).collect()
}

/// The rover's topics and their QoS.
#[must_use]
pub fn topics() -> Vec<TopicDecl> {
    let declare = |topic: &Topic| TopicDecl {
        name: topic.name.clone(),
        type_name: topic.type_name.to_owned(),
        qos: Qos {
            reliable: topic.offer != Offer::BestEffort,
            transient_local: topic.offer == Offer::Latched,
        },
        encoding: MessageEncoding::Cdr,
        history_depth: 1,
        schema: None,
        route: None,
    };
    TABLE.iter().map(declare).collect()
}

/// The rover's nodes while all of them are alive.
#[must_use]
pub fn nodes() -> Vec<NodeInfo> {
    nodes_alive(true)
}

/// The rover's nodes, with or without the one that the node-death fault kills.
pub(super) fn nodes_alive(all_alive: bool) -> Vec<NodeInfo> {
    let beating =
        HEARTBEATS.iter().enumerate().filter(|(i, _)| all_alive || *i != FAULTY_NODE).map(|(_, n)| n);
    let name = |name: &&str| NodeInfo { namespace: "/".to_owned(), name: (*name).to_owned() };
    beating.chain(&OTHER_NODES).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_the_schedule_and_the_set() {
        assert!(TABLE.len() <= 64);
        assert!(TABLE.iter().all(|t| t.period == 0 || CYCLE_TICKS.is_multiple_of(t.period)));
        assert!(TABLE.iter().all(|t| t.period != 0 || t.offer == Offer::Latched));
        let names: std::collections::BTreeSet<&str> = TABLE.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(schedule().iter().all(|due| due.count_ones() <= 16), "slow topics bunch up");
    }
}
