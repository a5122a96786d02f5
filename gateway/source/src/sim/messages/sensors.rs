//! Encodes IMU, GPS and joint states, with realistic noise.

use roverline_schema::cdr::Writer;

use crate::sim::fault::FaultKind;
use crate::sim::kinematics::Drive;
use crate::sim::messages::{diagonal, header, quaternion};
use crate::sim::noise::Channel;
use crate::sim::state::State;
use crate::sim::terrain;
use crate::sim::ticks::TICK_S;

const GRAVITY: f64 = 9.798;
const GYRO_NOISE: f64 = 0.004;
const ACCEL_NOISE: f64 = 0.06;
const ATTITUDE_NOISE: f64 = 0.003;
const GPS_NOISE_M: f64 = 0.25;

const JOINTS: [&str; 11] = [
    "front_left_wheel_joint",
    "front_right_wheel_joint",
    "middle_left_wheel_joint",
    "middle_right_wheel_joint",
    "rear_left_wheel_joint",
    "rear_right_wheel_joint",
    "arm_base_joint",
    "arm_shoulder_joint",
    "arm_elbow_joint",
    "arm_wrist_joint",
    "arm_gripper_joint",
];

/// `sensor_msgs/msg/Imu`: orientation relative to east-north-up; angular rates and specific force in the
/// sensor's frame.
pub(super) fn imu(w: &mut Writer, state: &State) {
    let noise = |channel, lane| state.noise.normal(channel, lane, state.tick);
    let Drive { x, y, yaw, twist, acceleration, .. } = state.drive;
    let (roll, pitch) = terrain::attitude(x, y, yaw);
    let rates = body_rates(state, roll, pitch);
    let (sr, cr) = roll.sin_cos();
    let (sp, cp) = pitch.sin_cos();
    let force =
        [acceleration - GRAVITY * sp, twist.linear * twist.angular + GRAVITY * cp * sr, GRAVITY * cp * cr];

    header(w, state, "imu_link");
    let off = [0, 1, 2].map(|lane| noise(Channel::ImuAttitude, lane) * ATTITUDE_NOISE);
    quaternion(w, roll + off[0], pitch + off[1], yaw + off[2]);
    diagonal(w, [ATTITUDE_NOISE * ATTITUDE_NOISE; 3]);
    for (lane, rate) in (0..).zip(rates) {
        w.f64(rate + noise(Channel::ImuGyro, lane) * GYRO_NOISE);
    }
    diagonal(w, [GYRO_NOISE * GYRO_NOISE; 3]);
    // On gravel, vibration grows with speed.
    let shake = ACCEL_NOISE * (1.0 + 4.0 * twist.linear.abs());
    for (lane, force) in (0..).zip(force) {
        w.f64(force + noise(Channel::ImuAccel, lane) * shake);
    }
    diagonal(w, [shake * shake; 3]);
}

/// Angular rates about the rover's axes: from its turning and from the slope below it.
fn body_rates(state: &State, roll: f64, pitch: f64) -> [f64; 3] {
    let Drive { x, y, yaw, twist, .. } = state.drive;
    if twist.linear == 0.0 && twist.angular == 0.0 {
        return [0.0; 3];
    }
    let (sin, cos) = yaw.sin_cos();
    let step = twist.linear * TICK_S;
    let (next_roll, next_pitch) =
        terrain::attitude(x + step * cos, y + step * sin, yaw + twist.angular * TICK_S);
    let (roll_rate, pitch_rate) = ((next_roll - roll) / TICK_S, (next_pitch - pitch) / TICK_S);
    let (sr, cr) = roll.sin_cos();
    let (sp, cp) = pitch.sin_cos();
    [
        roll_rate - twist.angular * sp,
        pitch_rate * cr + twist.angular * sr * cp,
        twist.angular * cr * cp - pitch_rate * sr,
    ]
}

/// `sensor_msgs/msg/NavSatFix`.
pub(super) fn gps(w: &mut Writer, state: &State) {
    header(w, state, "gps_link");
    if state.faults.is_active(FaultKind::GpsLoss) {
        // Without a fix, the position is NaN and the covariance type unknown.
        w.i8(-1).u16(1).f64(f64::NAN).f64(f64::NAN).f64(f64::NAN);
        diagonal(w, [0.0; 3]);
        w.u8(0);
        return;
    }
    let noise = |lane| state.noise.normal(Channel::Gps, lane, state.tick) * GPS_NOISE_M;
    let (lat, lon) = terrain::geodetic(state.drive.x + noise(0), state.drive.y + noise(1));
    let alt = terrain::ORIGIN_ALT_M + terrain::height(state.drive.x, state.drive.y) + 2.0 * noise(2);
    let variance = GPS_NOISE_M * GPS_NOISE_M;
    w.i8(0).u16(1).f64(lat).f64(lon).f64(alt);
    diagonal(w, [variance, variance, 4.0 * variance]);
    w.u8(2);
}

/// `sensor_msgs/msg/JointState`: six wheels and the arm.
pub(super) fn joints(w: &mut Writer, state: &State) {
    let speeds = state.drive.wheel_speeds();
    let effort = state.power.current / 6.0;
    let mut position = [0.0; JOINTS.len()];
    let mut velocity = [0.0; JOINTS.len()];
    let mut efforts = [0.0; JOINTS.len()];
    for wheel in 0..6 {
        position[wheel] = state.drive.wheels[wheel % 2];
        velocity[wheel] = speeds[wheel % 2];
        let noise = state.noise.normal(Channel::Joint, wheel as u32, state.tick);
        efforts[wheel] = if velocity[wheel] == 0.0 { 0.0 } else { effort + 0.2 * noise };
    }
    let (arm, t) = (state.mission.arm, state.mission.arm_s);
    let swing = [(0.6, 0.25), (0.3, 0.4), (0.4, 0.4), (0.8, 0.7), (0.5, 0.9)];
    let reach = [0.0, 0.9, -1.2, 0.4, 0.1];
    for (i, (amplitude, rate)) in swing.into_iter().enumerate() {
        position[6 + i] = arm * (reach[i] + amplitude * (rate * t).sin());
        velocity[6 + i] = if arm < 1.0 { 0.0 } else { amplitude * rate * (rate * t).cos() };
        efforts[6 + i] = arm * (4.0 - i as f64 * 0.7);
    }
    header(w, state, "");
    w.string_seq(&JOINTS).f64_seq(&position).f64_seq(&velocity).f64_seq(&efforts);
}
