//! Velocities in commands: `geometry_msgs/msg/Twist` and `TwistStamped` in CDR. Values that are no numbers are refused,
//! and those above the limits reduced or refused.

use bytes::{Bytes, BytesMut};

use crate::config::OverLimit;

const TWIST: &str = "geometry_msgs/msg/Twist";
const TWIST_STAMPED: &str = "geometry_msgs/msg/TwistStamped";
/// Three linear and three angular components.
const COMPONENTS: usize = 6;
const COMPONENT_BYTES: usize = 8;
/// The encapsulation header before the body.
const HEADER_BYTES: usize = 4;

/// Limits of velocities.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VelocityLimits {
    /// Metres per second; `None`: no limit.
    pub linear: Option<f64>,
    /// Radians per second; `None`: no limit.
    pub angular: Option<f64>,
    /// What happens above them.
    pub over_limit: OverLimit,
}

/// Why a velocity is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum VelocityError {
    /// A component is NaN or infinite.
    #[error("{0} is no finite number")]
    NotFinite(&'static str),
    /// It is above a limit, and the configuration refuses that.
    #[error("{what} is {given:.2} {unit}, and at most {limit} {unit} are allowed")]
    OverLimit {
        /// Which velocity.
        what: &'static str,
        /// Its value.
        given: f64,
        /// The limit.
        limit: f64,
        /// The unit of both.
        unit: &'static str,
    },
    /// The message is not that of its type.
    #[error("the message is no {0} in plain CDR")]
    Malformed(&'static str),
}

/// A checked message.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedVelocity {
    /// The message, its velocities within the limits.
    pub payload: Bytes,
    /// Whether it commands no movement.
    pub is_stop: bool,
    /// Whether it was reduced.
    pub is_clamped: bool,
}

const NAMES: [&str; COMPONENTS] = ["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"];

/// Checks a message of this type. One that is no velocity passes as it is; it is a stop if all its bytes are zero.
pub fn check(
    type_name: &str,
    payload: Bytes,
    limits: &VelocityLimits,
) -> Result<CheckedVelocity, VelocityError> {
    let what = match type_name {
        TWIST => TWIST,
        TWIST_STAMPED => TWIST_STAMPED,
        _ => {
            let is_stop = payload.iter().skip(HEADER_BYTES).all(|byte| *byte == 0);
            return Ok(CheckedVelocity { payload, is_stop, is_clamped: false });
        }
    };
    let malformed = || VelocityError::Malformed(what);
    let is_little_endian = match payload.get(..2) {
        Some([0, 1]) => true,
        Some([0, 0]) => false,
        _ => return Err(malformed()),
    };
    let at = if what == TWIST { Some(HEADER_BYTES) } else { after_header(&payload, is_little_endian) };
    let at = at.ok_or_else(malformed)?;
    let mut values = [0.0; COMPONENTS];
    for (n, value) in values.iter_mut().enumerate() {
        let from = at + n * COMPONENT_BYTES;
        let bytes = payload.get(from..from + COMPONENT_BYTES).and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(malformed)?;
        *value = if is_little_endian { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) };
    }
    if let Some(n) = values.iter().position(|value| !value.is_finite()) {
        return Err(VelocityError::NotFinite(NAMES[n]));
    }
    let is_stop = values.iter().all(|value| *value == 0.0);
    let factor = factor(&values, limits)?;
    if factor >= 1.0 {
        return Ok(CheckedVelocity { payload, is_stop, is_clamped: false });
    }
    let mut reduced = BytesMut::from(payload.as_ref());
    for (n, value) in values.iter().enumerate() {
        let value = value * factor;
        let bytes = if is_little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
        let from = at + n * COMPONENT_BYTES;
        if let Some(slot) = reduced.get_mut(from..from + COMPONENT_BYTES) {
            slot.copy_from_slice(&bytes);
        }
    }
    Ok(CheckedVelocity { payload: reduced.freeze(), is_stop, is_clamped: true })
}

/// The factor by which all components are multiplied; 1 if they are within the limits.
fn factor(values: &[f64; COMPONENTS], limits: &VelocityLimits) -> Result<f64, VelocityError> {
    let norm = |part: &[f64]| part.iter().fold(0.0_f64, |norm, value| norm.hypot(*value));
    let (linear, angular) = values.split_at(COMPONENTS / 2);
    let mut factor = 1.0_f64;
    for (what, given, limit, unit) in [
        ("the linear velocity", norm(linear), limits.linear, "m/s"),
        ("the angular velocity", norm(angular), limits.angular, "rad/s"),
    ] {
        let Some(limit) = limit.filter(|limit| given > *limit) else { continue };
        match limits.over_limit {
            OverLimit::Refuse => return Err(VelocityError::OverLimit { what, given, limit, unit }),
            OverLimit::Clamp => factor = factor.min(limit / given),
        }
    }
    Ok(factor)
}

/// Where the body of a stamped message begins: after a stamp of two integers and a text, at a multiple of eight
/// (CDR, OMG formal/21-11-02, 15.3).
fn after_header(payload: &[u8], is_little_endian: bool) -> Option<usize> {
    let length = HEADER_BYTES + 8;
    let bytes = payload.get(length..length + 4)?.try_into().ok()?;
    let text = if is_little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
    let end = 12_usize.checked_add(usize::try_from(text).ok()?)?;
    Some(HEADER_BYTES + end.checked_next_multiple_of(COMPONENT_BYTES)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roverline_schema::Registry;
    use serde_json::json;

    use super::*;

    fn encoded(type_name: &str, x: f64, z: f64, frame: &str) -> Bytes {
        let twist = json!({"linear": {"x": x}, "angular": {"z": z}});
        let message = match type_name {
            TWIST => twist,
            _ => json!({"header": {"frame_id": frame}, "twist": twist}),
        };
        Registry::bundled().plan(type_name).unwrap().encode_json(&message).unwrap().into()
    }

    fn decoded(type_name: &str, payload: &[u8]) -> (f64, f64) {
        let mut json = Vec::new();
        Registry::bundled().plan(type_name).unwrap().write_json(payload, &mut json).unwrap();
        let message: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let twist = if type_name == TWIST { &message } else { &message["twist"] };
        (twist["linear"]["x"].as_f64().unwrap(), twist["angular"]["z"].as_f64().unwrap())
    }

    #[test]
    fn velocities_are_reduced_in_proportion_or_refused() {
        let clamp = VelocityLimits { linear: Some(1.0), angular: Some(2.0), over_limit: OverLimit::Clamp };
        for type_name in [TWIST, TWIST_STAMPED] {
            for frame in ["", "b", "base_link", "base_link2"] {
                let checked = check(type_name, encoded(type_name, 4.0, 2.0, frame), &clamp).unwrap();
                assert_eq!(decoded(type_name, &checked.payload), (1.0, 0.5), "{type_name} {frame}");
                assert!(checked.is_clamped && !checked.is_stop);
                let within = encoded(type_name, -1.0, 2.0, frame);
                let checked = check(type_name, within.clone(), &clamp).unwrap();
                assert!(checked.payload == within && !checked.is_clamped);
                assert!(check(type_name, encoded(type_name, 0.0, -0.0, frame), &clamp).unwrap().is_stop);
            }
        }
        let refuse = VelocityLimits { over_limit: OverLimit::Refuse, ..clamp };
        let error = check(TWIST, encoded(TWIST, 4.0, 0.0, ""), &refuse).unwrap_err();
        assert_eq!(error.to_string(), "the linear velocity is 4.00 m/s, and at most 1 m/s are allowed");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let none = VelocityLimits::default();
        let mut message = encoded(TWIST, 1.0, 0.0, "").to_vec();
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            message[12..20].copy_from_slice(&bad.to_le_bytes());
            let error = check(TWIST, message.clone().into(), &none).unwrap_err();
            assert_eq!(error, VelocityError::NotFinite("linear.y"));
        }
        assert!(check(TWIST, Bytes::from_static(&[0, 1, 0, 0, 1]), &none).is_err());
        assert!(check("std_msgs/msg/Bool", Bytes::from_static(&[0, 1, 0, 0, 0]), &none).unwrap().is_stop);
        assert!(!check("std_msgs/msg/Bool", Bytes::from_static(&[0, 1, 0, 0, 1]), &none).unwrap().is_stop);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..120), stamped: bool) {
            let limits = VelocityLimits { linear: Some(1.0), angular: Some(1.0), ..VelocityLimits::default() };
            let type_name = if stamped { TWIST_STAMPED } else { TWIST };
            if let Ok(checked) = check(type_name, bytes.clone().into(), &limits) {
                prop_assert_eq!(checked.payload.len(), bytes.len());
            }
        }
    }
}
