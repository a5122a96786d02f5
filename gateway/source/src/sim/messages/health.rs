//! Encodes battery, motor temperatures and diagnostics.

use roverline_schema::cdr::Writer;

use crate::sim::fault::FaultKind;
use crate::sim::messages::header;
use crate::sim::noise::Channel;
use crate::sim::power::{CAPACITY_AH, CELLS, MOTOR_HOT_C, MOTOR_WARM_C, MOTORS};
use crate::sim::state::State;
use crate::sim::ticks::TICKS_PER_S;
use crate::sim::topics::{FAULTY_NODE, HEARTBEATS};

/// `sensor_msgs/msg/BatteryState`; current is negative while discharging.
pub(super) fn battery(w: &mut Writer, state: &State) {
    let power = &state.power;
    let cell = |i: usize| {
        let noise = state.noise.normal(Channel::Battery, i as u32, state.tick);
        (power.cell_volts() + 0.002 * noise) as f32
    };
    let cells: [f32; CELLS] = std::array::from_fn(cell);
    header(w, state, "base_link");
    w.f32(cells.iter().sum()).f32(31.0 + power.current as f32 * 0.3).f32(-power.current as f32);
    w.f32((power.charge * CAPACITY_AH) as f32).f32(CAPACITY_AH as f32).f32(CAPACITY_AH as f32);
    w.f32(power.charge as f32);
    w.u8(2).u8(1).u8(3).bool(true); // discharging, good, lithium polymer, present
    w.f32_seq(&cells).f32_seq(&[31.0; CELLS]).string("main").string("RB-0042");
}

/// `sensor_msgs/msg/Temperature` of one motor.
pub(super) fn motor_temperature(w: &mut Writer, state: &State, motor: usize) {
    let noise = state.noise.normal(Channel::Motor, motor as u32, state.tick);
    header(w, state, MOTORS[motor]);
    w.f64(state.power.motors[motor] + 0.1 * noise).f64(0.01);
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Level {
    Ok,
    Warn,
    Error,
    Stale,
}

/// `diagnostic_msgs/msg/DiagnosticArray`.
pub(super) fn diagnostics(w: &mut Writer, state: &State) {
    header(w, state, "");
    w.len((5 + MOTORS.len() + HEARTBEATS.len()) as u32);
    battery_status(w, state);
    for (name, celsius) in MOTORS.iter().zip(state.power.motors) {
        motor_status(w, name, celsius);
    }
    let fix = !state.faults.is_active(FaultKind::GpsLoss);
    let (level, text) = if fix { (Level::Ok, "3D fix") } else { (Level::Error, "no fix") };
    status(w, level, "sensors: gps", text, "gps", &[("fix", fix.to_string())]);
    let (level, text) = silence(state, FaultKind::ImuLoss, "100 Hz", "no data");
    status(w, level, "sensors: imu", &text, "imu", &[]);
    let (level, text) = match (state.emergency, state.is_outside()) {
        (true, _) => (Level::Error, "emergency stop engaged"),
        (false, true) => (Level::Error, "outside the boundary"),
        (false, false) => (Level::Ok, "clear"),
    };
    let distance = format!("{:.1}", state.drive.x.hypot(state.drive.y));
    status(w, level, "safety: boundary", text, "safety", &[("distance_m", distance)]);
    let samples = state.mission.samples.to_string();
    status(w, Level::Ok, "mission", &state.status().text(), "mission", &[("samples", samples)]);
    for (i, node) in HEARTBEATS.iter().enumerate() {
        let (level, text) = if i == FAULTY_NODE {
            silence(state, FaultKind::NodeDeath, "alive", "no heartbeat")
        } else {
            (Level::Ok, "alive".to_owned())
        };
        status(w, level, &format!("node: {node}"), &text, node, &[]);
    }
}

fn battery_status(w: &mut Writer, state: &State) {
    let charge = state.power.charge;
    let (level, text) = match charge {
        c if c < 0.10 => (Level::Error, "critically low"),
        c if c < 0.25 => (Level::Warn, "low"),
        _ => (Level::Ok, "good"),
    };
    let values = [
        ("charge", format!("{:.1} %", charge * 100.0)),
        ("current", format!("{:.1} A", state.power.current)),
    ];
    status(w, level, "power: battery", text, "RB-0042", &values);
}

fn motor_status(w: &mut Writer, name: &str, celsius: f64) {
    let (level, text) = match celsius {
        c if c > MOTOR_HOT_C => (Level::Error, "overheated"),
        c if c > MOTOR_WARM_C => (Level::Warn, "warm"),
        _ => (Level::Ok, "good"),
    };
    let name = format!("drive: {name} motor");
    status(w, level, &name, text, "drive", &[("temperature", format!("{celsius:.1} C"))]);
}

/// Level and text of a component that a fault silences; it becomes stale shortly after the fault begins.
fn silence(state: &State, kind: FaultKind, well: &str, ill: &str) -> (Level, String) {
    let Some(since) = state.faults.since(kind, state.tick) else {
        return (Level::Ok, well.to_owned());
    };
    let seconds = (state.tick - since) / TICKS_PER_S;
    let level = if seconds < 3 { Level::Error } else { Level::Stale };
    (level, format!("{ill} for {seconds} s"))
}

fn status(
    w: &mut Writer,
    level: Level,
    name: &str,
    message: &str,
    hardware: &str,
    values: &[(&str, String)],
) {
    w.u8(level as u8).string(name).string(message).string(hardware).len(values.len() as u32);
    for (key, value) in values {
        w.string(key).string(value);
    }
}
