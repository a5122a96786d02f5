//! Encodes the rover's state as ROS messages.

mod camera;
mod health;
mod motion;
mod scan;
mod sensors;

use roverline_schema::cdr::Writer;

use crate::sim::route::Mode;
use crate::sim::state::State;
use crate::sim::topics::{Content, HEARTBEATS};

/// Encodes a topic's message at the state's tick, as CDR with its header.
pub(super) fn encode(state: &State, content: Content) -> Vec<u8> {
    let mut w = Writer::with_capacity(match content {
        Content::Camera => 4_200,
        Content::Scan => 1_600,
        Content::Diagnostics => 2_800,
        Content::Odometry => 720,
        Content::Imu | Content::Joints | Content::Transforms | Content::StaticTransforms => 480,
        _ => 124,
    });
    match content {
        Content::Imu => sensors::imu(&mut w, state),
        Content::Gps => sensors::gps(&mut w, state),
        Content::Joints => sensors::joints(&mut w, state),
        Content::Odometry => motion::odometry(&mut w, state),
        Content::Transforms => motion::transforms(&mut w, state),
        Content::StaticTransforms => motion::static_transforms(&mut w, state),
        Content::Command => motion::command(&mut w, state),
        Content::Battery => health::battery(&mut w, state),
        Content::MotorTemperature(motor) => health::motor_temperature(&mut w, state, motor),
        Content::Diagnostics => health::diagnostics(&mut w, state),
        Content::Scan => scan::scan(&mut w, state),
        Content::Camera => camera::camera(&mut w, state),
        Content::Heartbeat(node) => header(&mut w, state, HEARTBEATS[node]),
        _ => plain(&mut w, state, content),
    }
    w.finish()
}

/// Encodes the topics with a single value.
fn plain(w: &mut Writer, state: &State, content: Content) {
    let now = state.event_topics();
    match content {
        Content::MissionName => w.string(now.mission),
        Content::MissionStatus => w.string(&now.status.text()),
        Content::Samples => w.i32(now.samples),
        Content::Mode => w.string(match now.mode {
            Mode::Autonomous => "autonomous",
            Mode::Teleop => "teleop",
        }),
        Content::Enabled => w.bool(now.enabled),
        Content::Led => w.f32(now.led[0]).f32(now.led[1]).f32(now.led[2]).f32(1.0),
        Content::EmergencyStop => w.bool(now.emergency),
        Content::BoundaryViolation => w.bool(now.outside),
        _ => w.f64(state.mission_time_s()),
    };
}

/// `std_msgs/msg/Header` with the tick's stamp.
fn header(w: &mut Writer, state: &State, frame: &str) {
    let ns = state.stamp_ns();
    w.i32(ns.div_euclid(1_000_000_000) as i32).u32(ns.rem_euclid(1_000_000_000) as u32).string(frame);
}

/// A quaternion (x, y, z, w) from roll, pitch and yaw.
fn quaternion(w: &mut Writer, roll: f64, pitch: f64, yaw: f64) {
    let (sr, cr) = (roll / 2.0).sin_cos();
    let (sp, cp) = (pitch / 2.0).sin_cos();
    let (sy, cy) = (yaw / 2.0).sin_cos();
    w.f64(sr * cp * cy - cr * sp * sy)
        .f64(cr * sp * cy + sr * cp * sy)
        .f64(cr * cp * sy - sr * sp * cy)
        .f64(cr * cp * cy + sr * sp * sy);
}

/// A square covariance matrix with this diagonal and zeros elsewhere.
fn diagonal<const N: usize>(w: &mut Writer, diagonal: [f64; N]) {
    for (row, variance) in diagonal.into_iter().enumerate() {
        for column in 0..N {
            w.f64(if row == column { variance } else { 0.0 });
        }
    }
}
