//! Encodes odometry, transforms and the commanded twist.

use roverline_schema::cdr::Writer;

use crate::sim::messages::{diagonal, header, quaternion};
use crate::sim::state::State;

/// `nav_msgs/msg/Odometry`: planar wheel odometry.
pub(super) fn odometry(w: &mut Writer, state: &State) {
    let (x, y, yaw) = state.drive.odom_pose(state.route.start());
    header(w, state, "odom");
    w.string("base_link").f64(x).f64(y).f64(0.0);
    quaternion(w, 0.0, 0.0, yaw);
    // Planar odometry does not know height, roll and pitch.
    diagonal(w, [0.02, 0.02, 1e6, 1e6, 1e6, 0.01]);
    w.f64(state.drive.twist.linear).f64(0.0).f64(0.0);
    w.f64(0.0).f64(0.0).f64(state.drive.twist.angular);
    diagonal(w, [0.005, 0.005, 1e6, 1e6, 1e6, 0.01]);
}

/// `tf2_msgs/msg/TFMessage`: `map` → `odom` → `base_link`.
pub(super) fn transforms(w: &mut Writer, state: &State) {
    let start = state.route.start();
    let (ox, oy, oyaw) = state.drive.odom_origin(start);
    let (x, y, yaw) = state.drive.odom_pose(start);
    w.len(2);
    transform(w, state, ["map", "odom"], [ox, oy, 0.0], [0.0, 0.0, oyaw]);
    transform(w, state, ["odom", "base_link"], [x, y, 0.0], [0.0, 0.0, yaw]);
}

/// `tf2_msgs/msg/TFMessage`: the mounting poses of the sensors.
pub(super) fn static_transforms(w: &mut Writer, state: &State) {
    const LEVEL: [f64; 3] = [0.0; 3];
    /// Rotates x-forward into z-forward, as in optical frames (REP-103).
    const OPTICAL: [f64; 3] = [-std::f64::consts::FRAC_PI_2, 0.0, -std::f64::consts::FRAC_PI_2];
    w.len(5);
    transform(w, state, ["base_link", "imu_link"], [0.0, 0.0, 0.25], LEVEL);
    transform(w, state, ["base_link", "gps_link"], [-0.3, 0.0, 0.9], LEVEL);
    transform(w, state, ["base_link", "laser_link"], [0.4, 0.0, 0.5], LEVEL);
    transform(w, state, ["base_link", "camera_front_link"], [0.45, 0.0, 0.6], LEVEL);
    transform(w, state, ["camera_front_link", "camera_front_optical_frame"], LEVEL, OPTICAL);
}

fn transform(
    w: &mut Writer,
    state: &State,
    [parent, child]: [&str; 2],
    translation: [f64; 3],
    rotation: [f64; 3],
) {
    header(w, state, parent);
    w.string(child).f64(translation[0]).f64(translation[1]).f64(translation[2]);
    quaternion(w, rotation[0], rotation[1], rotation[2]);
}

/// `geometry_msgs/msg/Twist`: the command of the autonomy or the operator.
pub(super) fn command(w: &mut Writer, state: &State) {
    let twist = if state.emergency { Default::default() } else { state.mission.command };
    w.f64(twist.linear).f64(0.0).f64(0.0).f64(0.0).f64(0.0).f64(twist.angular);
}
