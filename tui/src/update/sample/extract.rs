//! Extracts the overview's values from decoded messages. An error says why a value must not be
//! used.

use roverline_schema::Value;

use crate::format;
use crate::model::{Battery, Fix, Led, Odometry, Severity, Status};

/// Most characters of a text from a topic.
const TEXT_CHARS: usize = 256;
/// Most corners of a boundary.
const CORNERS: usize = 256;
/// Most statuses read from one diagnostic array.
const STATUSES: usize = 256;

type Extracted<T> = Result<T, &'static str>;

const NO_FIELD: &str = "a field is missing";

fn get(value: &Value, path: &str) -> Extracted<f64> {
    value.get(path).and_then(Value::as_f64).ok_or(NO_FIELD)
}

fn printable(text: &str) -> String {
    format::printable(&text.chars().take(TEXT_CHARS).collect::<String>())
}

pub(super) fn text(value: &Value) -> Extracted<String> {
    value.get("data").and_then(Value::as_str).map(printable).ok_or(NO_FIELD)
}

pub(super) fn flag(value: &Value) -> Extracted<bool> {
    value.get("data").and_then(Value::as_bool).ok_or(NO_FIELD)
}

pub(super) fn number(value: &Value) -> Extracted<f64> {
    get(value, "data")
}

pub(super) fn temperature(value: &Value) -> Extracted<f64> {
    finite(get(value, "temperature")?)
}

fn finite(value: f64) -> Extracted<f64> {
    if value.is_finite() { Ok(value) } else { Err("not a number") }
}

/// `status.status` below 0 is "no fix" (sensor_msgs/NavSatStatus).
pub(super) fn fix(value: &Value) -> Extracted<Fix> {
    if get(value, "status.status")? < 0.0 {
        return Err("no fix");
    }
    Ok(Fix {
        latitude: finite(get(value, "latitude")?)?,
        longitude: finite(get(value, "longitude")?)?,
        altitude: get(value, "altitude")?,
    })
}

pub(super) fn odometry(value: &Value) -> Extracted<Odometry> {
    let (vx, vy) = (get(value, "twist.twist.linear.x")?, get(value, "twist.twist.linear.y")?);
    Ok(Odometry {
        x: finite(get(value, "pose.pose.position.x")?)?,
        y: finite(get(value, "pose.pose.position.y")?)?,
        heading: value.get("pose.pose.orientation").and_then(compass),
        speed: vx.hypot(vy),
        turn: get(value, "twist.twist.angular.z")?.to_degrees(),
    })
}

/// The corners of a polygon, in the frame of the odometry.
pub(super) fn fence(value: &Value) -> Extracted<Vec<(f64, f64)>> {
    let corners = value.get("polygon.points").and_then(Value::as_array).ok_or(NO_FIELD)?;
    let corner = |corner: &Value| Ok((finite(get(corner, "x")?)?, finite(get(corner, "y")?)?));
    corners.iter().take(CORNERS).map(corner).collect()
}

/// A first covariance of -1 means that the IMU has no orientation (sensor_msgs/Imu).
pub(super) fn imu_heading(value: &Value) -> Extracted<f64> {
    if get(value, "orientation_covariance[0]") == Ok(-1.0) {
        return Err("no orientation");
    }
    value.get("orientation").and_then(compass).ok_or("no orientation")
}

/// Yaw is counter-clockwise from east (REP 103); a compass course is clockwise from north.
fn compass(quaternion: &Value) -> Option<f64> {
    let part = |name| quaternion.get(name).and_then(Value::as_f64);
    let (x, y, z, w) = (part("x")?, part("y")?, part("z")?, part("w")?);
    let norm = x * x + y * y + z * z + w * w;
    // Also false for NaN.
    let usable = (0.5..2.0).contains(&norm);
    let yaw = (2.0 * (w * z + x * y)).atan2(1.0 - 2.0 * (y * y + z * z));
    usable.then(|| (90.0 - yaw.to_degrees()).rem_euclid(360.0))
}

/// `percentage` is 0 to 1 (sensor_msgs/BatteryState).
pub(super) fn battery(value: &Value) -> Extracted<Battery> {
    Ok(Battery {
        percent: (get(value, "percentage")? * 100.0).clamp(0.0, 100.0),
        voltage: get(value, "voltage")?,
        current: get(value, "current")?,
    })
}

pub(super) fn led(value: &Value) -> Extracted<Led> {
    if let Ok(name) = text(value) {
        return Ok(Led::Name(name));
    }
    let part = |name| get(value, name).map(|v| (v.clamp(0.0, 1.0) * 255.0) as u8);
    Ok(Led::Color(part("r")?, part("g")?, part("b")?))
}

pub(super) fn diagnostics(value: &Value) -> Vec<(String, Status)> {
    let list = value.get("status").and_then(Value::as_array).unwrap_or_default();
    let status = |item: &Value| {
        let name = printable(item.get("name")?.as_str()?);
        let severity = Severity::from_level(item.get("level")?.as_f64()? as u8);
        let message = item.get("message").and_then(Value::as_str).map(format::printable).unwrap_or_default();
        Some((name, Status { severity, message: printable(&message) }))
    };
    list.iter().take(STATUSES).filter_map(status).collect()
}

#[cfg(test)]
mod tests {
    use roverline_schema::Struct;

    use super::*;

    fn quaternion(yaw_degrees: f64) -> Value {
        let half = yaw_degrees.to_radians() / 2.0;
        let parts = [("x", 0.0), ("y", 0.0), ("z", half.sin()), ("w", half.cos())];
        Value::Struct(parts.into_iter().map(|(n, v)| (n, Value::F64(v))).collect::<Struct>())
    }

    #[test]
    fn yaw_becomes_a_course() {
        for (yaw, course) in [(0.0, 90.0), (90.0, 0.0), (180.0, 270.0), (-90.0, 180.0), (45.0, 45.0)] {
            assert!((compass(&quaternion(yaw)).unwrap() - course).abs() < 1e-9, "{yaw}");
        }
        let zero = Value::Struct(["x", "y", "z", "w"].map(|n| (n, Value::F64(0.0))).into_iter().collect());
        assert_eq!(compass(&zero), None);
    }
}
