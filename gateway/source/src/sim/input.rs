//! Inputs to the rover, and their JSON line in the shared log.

use roverline_schema::cdr::{ReadError, Reader};
use serde::{Deserialize, Serialize};

use crate::sim::kinematics::Twist;
use crate::sim::ticks::TICK_NS;
use crate::{Publication, PublishError};

/// Delay of an input, nanoseconds: time for every process to read it.
const DELAY_NS: i64 = 200_000_000;

/// A kind of input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InputKind {
    EmergencyStop(bool),
    Command(Twist),
    /// Enables or disables autonomous driving.
    Autonomy(bool),
    /// Starts the mission again.
    Restart,
    /// Maximum autonomous speed, m/s.
    MaxSpeed(f64),
}

/// An input to the rover at a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// The tick at which it takes effect.
    pub(super) tick: u64,
    pub(super) kind: InputKind,
}

impl Input {
    /// Engages or releases the emergency stop at a tick.
    #[must_use]
    pub fn emergency_stop(tick: u64, engaged: bool) -> Self {
        Self { tick, kind: InputKind::EmergencyStop(engaged) }
    }

    /// Commands a speed (m/s) and a turn rate (rad/s), for half a second and only while the rover is
    /// teleoperated.
    #[must_use]
    pub fn command(tick: u64, linear: f64, angular: f64) -> Self {
        Self { tick, kind: InputKind::Command(Twist { linear, angular }) }
    }
}

/// An input as submitted, before its tick is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PendingInput {
    at_unix_ns: i64,
    #[serde(flatten)]
    record: InputRecord,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "topic", content = "data")]
enum InputRecord {
    #[serde(rename = "/emergency_stop")]
    EmergencyStop(bool),
    #[serde(rename = "/cmd_vel")]
    Command { linear: f64, angular: f64 },
    #[serde(rename = "/autonomy/enable")]
    Autonomy(bool),
    #[serde(rename = "/mission/restart")]
    Restart,
    #[serde(rename = "/navigation max_speed")]
    MaxSpeed(f64),
}

impl PendingInput {
    /// Enables or disables autonomous driving.
    pub(super) fn autonomy(now_ns: i64, enabled: bool) -> Self {
        Self { at_unix_ns: now_ns, record: InputRecord::Autonomy(enabled) }
    }

    /// Starts the mission again.
    pub(super) fn restart(now_ns: i64) -> Self {
        Self { at_unix_ns: now_ns, record: InputRecord::Restart }
    }

    /// Sets the maximum autonomous speed; must be finite.
    pub(super) fn max_speed(now_ns: i64, speed: f64) -> Self {
        Self { at_unix_ns: now_ns, record: InputRecord::MaxSpeed(speed) }
    }

    /// The speed, if this input sets it.
    pub(super) fn as_max_speed(&self) -> Option<f64> {
        match self.record {
            InputRecord::MaxSpeed(speed) => Some(speed),
            _ => None,
        }
    }

    /// Parses a publication; the error says what the rover accepts.
    pub(super) fn from_publication(publication: &Publication, now_ns: i64) -> Result<Self, PublishError> {
        let reject = |why: String| Err(PublishError::Failed(why));
        let expected = match publication.topic.as_str() {
            "/emergency_stop" => "std_msgs/msg/Bool",
            "/cmd_vel" => "geometry_msgs/msg/Twist",
            topic => {
                let topic: String = topic.chars().take(64).collect();
                return reject(format!(
                    "the built-in rover does not subscribe to {topic}; it takes /emergency_stop \
                     (std_msgs/msg/Bool) and, while teleoperated, /cmd_vel (geometry_msgs/msg/Twist)"
                ));
            }
        };
        if publication.type_name != expected {
            return reject(format!("{} is a {expected}", publication.topic));
        }
        let record = match expected {
            "std_msgs/msg/Bool" => read_bool(&publication.payload),
            _ => read_twist(&publication.payload),
        };
        match record {
            Ok(record) => Ok(Self { at_unix_ns: now_ns, record }),
            Err(error) => reject(format!("not a {expected}: {error}")),
        }
    }

    pub(super) fn is_emergency_stop(&self) -> bool {
        matches!(self.record, InputRecord::EmergencyStop(_))
    }

    /// The input with its tick: 200 ms later, rounded up. `None` if it is older than the epoch, so that
    /// it was meant for an earlier run.
    pub(super) fn at_epoch(&self, epoch_unix_ns: i64) -> Option<Input> {
        let since = self.at_unix_ns.checked_sub(epoch_unix_ns).filter(|ns| *ns >= 0)?;
        let tick = (since.checked_add(DELAY_NS + TICK_NS - 1)? / TICK_NS) as u64;
        let kind = match self.record {
            InputRecord::EmergencyStop(engaged) => InputKind::EmergencyStop(engaged),
            InputRecord::Command { linear, angular } => InputKind::Command(Twist { linear, angular }),
            InputRecord::Autonomy(enabled) => InputKind::Autonomy(enabled),
            InputRecord::Restart => InputKind::Restart,
            InputRecord::MaxSpeed(speed) => InputKind::MaxSpeed(speed),
        };
        Some(Input { tick, kind })
    }
}

/// Why a publication could not be read.
#[derive(Debug, thiserror::Error)]
enum PayloadError {
    #[error(transparent)]
    Cdr(#[from] ReadError),
    #[error("every number has to be finite")]
    NotFinite,
}

fn read_bool(payload: &[u8]) -> Result<InputRecord, PayloadError> {
    Ok(InputRecord::EmergencyStop(Reader::new(payload)?.bool()?))
}

fn read_twist(payload: &[u8]) -> Result<InputRecord, PayloadError> {
    let mut reader = Reader::new(payload)?;
    let mut values = [0.0; 6];
    for value in &mut values {
        *value = reader.f64()?;
    }
    // JSON cannot represent them, and no driver should send them.
    if values.iter().any(|v| !v.is_finite()) {
        return Err(PayloadError::NotFinite);
    }
    Ok(InputRecord::Command { linear: values[0], angular: values[5] })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn publication(topic: &str, type_name: &str, payload: &[u8]) -> Publication {
        Publication {
            topic: topic.into(),
            type_name: type_name.into(),
            payload: Bytes::copy_from_slice(payload),
            latched: false,
        }
    }

    fn parse(line: &str) -> Option<PendingInput> {
        serde_json::from_str(line).ok()
    }

    #[test]
    fn inputs_survive_a_round_trip() {
        let stop = publication("/emergency_stop", "std_msgs/msg/Bool", &[0, 1, 0, 0, 1]);
        let input = PendingInput::from_publication(&stop, 1_000_000_001).unwrap();
        let line = serde_json::to_string(&input).unwrap();
        assert_eq!(line, "{\"at_unix_ns\":1000000001,\"topic\":\"/emergency_stop\",\"data\":true}");
        assert_eq!(parse(&line), Some(input.clone()));
        // 200 ms later, rounded up to the next tick.
        assert_eq!(input.at_epoch(1_000_000_000), Some(Input::emergency_stop(21, true)));
        assert_eq!(input.at_epoch(1_000_000_002), None);
        for input in
            [PendingInput::autonomy(5, false), PendingInput::restart(6), PendingInput::max_speed(7, 0.3)]
        {
            let line = serde_json::to_string(&input).unwrap();
            assert_eq!(parse(&line), Some(input), "{line}");
        }
    }

    #[test]
    fn invalid_lines_are_ignored() {
        for line in ["", "{}", "[1]", "nonsense", r#"{"at_unix_ns":1,"topic":"/other","data":true}"#] {
            assert_eq!(parse(line), None, "{line}");
        }
        let huge = format!(r#"{{"at_unix_ns":{},"topic":"/emergency_stop","data":true}}"#, i64::MAX);
        assert_eq!(parse(&huge).and_then(|g| g.at_epoch(0)), None);
    }

    #[test]
    fn a_rejection_names_what_is_accepted() {
        let table = [
            (publication("/chatter", "std_msgs/msg/String", &[]), "it takes /emergency_stop"),
            (publication("/emergency_stop", "std_msgs/msg/Int8", &[]), "is a std_msgs/msg/Bool"),
            (publication("/emergency_stop", "std_msgs/msg/Bool", &[0, 1, 0, 0]), "needs 1 bytes"),
            (publication("/cmd_vel", "geometry_msgs/msg/Twist", &[0, 1, 0, 0, 0]), "needs 8 bytes"),
            (
                publication(
                    "/cmd_vel",
                    "geometry_msgs/msg/Twist",
                    &[[0, 1, 0, 0].as_slice(), &[255; 48]].concat(),
                ),
                "finite",
            ),
        ];
        for (publication, expected) in table {
            let error = PendingInput::from_publication(&publication, 0).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
