//! The rover's heading in degrees clockwise from north, from the message types that contain it.

use roverline_schema::Value;
use serde_json::Value as Json;

use crate::telemetry::real;

/// The coordinate frames between which the heading is measured (REP-105).
const MAP: &str = "map";
const BASE: [&str; 2] = ["base_link", "base_footprint"];
/// Longest chain of transforms that is followed.
const CHAIN: usize = 8;

/// The heading from an `Imu` (its orientation is relative to east-north-up, REP-103) or from a
/// `TFMessage` with the whole chain from `map` to the rover. Odometry alone does not know north.
pub(crate) fn degrees(value: &Value) -> Option<Json> {
    let yaw = imu_yaw(value).or_else(|| map_yaw(value))?;
    let heading = (90.0 - yaw.to_degrees()).rem_euclid(360.0);
    heading.is_finite().then(|| real((heading * 10.0).round() / 10.0 % 360.0))
}

fn imu_yaw(value: &Value) -> Option<f64> {
    // A first covariance of -1 means that this sensor has no orientation; so does a quaternion of zeros.
    let unknown = value.get("orientation_covariance")?.as_array()?.first()?.as_f64()? < 0.0;
    if unknown { None } else { yaw(value, "orientation") }
}

fn map_yaw(value: &Value) -> Option<f64> {
    let transforms = value.get("transforms")?.as_array()?;
    let frame = |transform: &Value, path| {
        transform.get(path).and_then(Value::as_str).map(|name| name.trim_start_matches('/').to_owned())
    };
    let (mut at, mut sum) = (MAP.to_owned(), 0.0);
    for _ in 0..CHAIN {
        // A rover moves approximately on a plane, so the rotations of a chain add up.
        let next = transforms.iter().find(|next| {
            frame(next, "header.frame_id").as_deref() == Some(&at)
                && frame(next, "child_frame_id")
                    .is_some_and(|child| child == "odom" || BASE.contains(&child.as_str()))
        })?;
        sum += yaw(next, "transform.rotation")?;
        at = frame(next, "child_frame_id")?;
        if BASE.contains(&at.as_str()) {
            return Some(sum);
        }
    }
    None
}

/// The rotation about the vertical axis, in radians, of the quaternion at a path.
fn yaw(value: &Value, path: &str) -> Option<f64> {
    let part = |axis: &str| value.get(&format!("{path}.{axis}"))?.as_f64();
    let (x, y, z, w) = (part("x")?, part("y")?, part("z")?, part("w")?);
    let length = x * x + y * y + z * z + w * w;
    (length > 0.5).then(|| (2.0 * (w * z + x * y)).atan2(1.0 - 2.0 * (y * y + z * z)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roverline_schema::Struct;

    use super::*;

    fn message<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::Struct(Struct::from_iter(fields))
    }

    fn rotation(yaw: f64) -> Value {
        let (sin, cos) = (yaw / 2.0).sin_cos();
        message([
            ("x", Value::F64(0.0)),
            ("y", Value::F64(0.0)),
            ("z", Value::F64(sin)),
            ("w", Value::F64(cos)),
        ])
    }

    fn imu(yaw: f64, covariance: f64) -> Value {
        let covariance = Value::Array(vec![Value::F64(covariance); 9]);
        message([("orientation", rotation(yaw)), ("orientation_covariance", covariance)])
    }

    fn transform(parent: &str, child: &str, yaw: f64) -> Value {
        message([
            ("header", message([("frame_id", Value::String(parent.into()))])),
            ("child_frame_id", Value::String(child.into())),
            ("transform", message([("rotation", rotation(yaw))])),
        ])
    }

    fn tf(transforms: Vec<Value>) -> Value {
        message([("transforms", Value::Array(transforms))])
    }

    #[test]
    fn east_is_ninety_and_north_is_zero() {
        use std::f64::consts::{FRAC_PI_2, PI};
        for (yaw, expected) in [(0.0, 90.0), (FRAC_PI_2, 0.0), (PI, 270.0), (-FRAC_PI_2, 180.0)] {
            assert_eq!(degrees(&imu(yaw, 0.1)).unwrap().as_f64(), Some(expected), "{yaw}");
        }
    }

    #[test]
    fn an_imu_without_orientation_knows_no_heading() {
        assert_eq!(degrees(&imu(1.0, -1.0)), None);
        let zeros =
            message([("orientation", Value::Bool(true)), ("orientation_covariance", Value::Bytes(vec![]))]);
        assert_eq!(degrees(&zeros), None);
    }

    #[test]
    fn transforms_count_from_the_map_only() {
        let chain = vec![transform("odom", "base_link", 0.5), transform("/map", "odom", 0.25)];
        let expected = 90.0 - 0.75_f64.to_degrees();
        assert!((degrees(&tf(chain)).unwrap().as_f64().unwrap() - expected).abs() < 0.06);
        assert!(degrees(&tf(vec![transform("map", "base_footprint", 0.5)])).is_some());
        assert_eq!(degrees(&tf(vec![transform("odom", "base_link", 0.5)])), None);
        assert_eq!(degrees(&tf(vec![transform("map", "odom", 0.1), transform("odom", "arm", 0.1)])), None);
        assert_eq!(degrees(&tf(vec![transform("odom", "odom", 0.1), transform("map", "odom", 0.1)])), None);
    }

    proptest! {
        #[test]
        fn a_heading_is_between_0_and_360(yaw in -100.0..100.0_f64) {
            let heading = degrees(&imu(yaw, 0.0)).unwrap().as_f64().unwrap();
            prop_assert!((0.0..360.0).contains(&heading), "{heading}");
        }
    }
}
