//! What people do to the rover, and the line of JSON that tells the other processes of it.

use roverline_schema::cdr::Reader;
use serde::{Deserialize, Serialize};

use crate::sim::kinematics::Twist;
use crate::sim::ticks::TICK_NS;
use crate::{Publication, PublishError};

/// An input takes effect this long after it was given: time for every process to read it.
const DELAY_NS: i64 = 200_000_000;

/// What is put in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InputKind {
    EmergencyStop(bool),
    Command(Twist),
    /// Lets the rover drive by itself, or not.
    Autonomy(bool),
    /// The mission begins anew.
    Restart,
    /// The most it drives by itself, m/s.
    MaxSpeed(f64),
}

/// Something done to the rover at a tick.
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

    /// Commands a speed (m/s) and a turn rate (rad/s), which counts for half a second and only
    /// while the rover is teleoperated.
    #[must_use]
    pub fn command(tick: u64, linear: f64, angular: f64) -> Self {
        Self { tick, kind: InputKind::Command(Twist { linear, angular }) }
    }
}

/// An input as it is given, before its tick is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Given {
    at_unix_ns: i64,
    #[serde(flatten)]
    what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "topic", content = "data")]
enum What {
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

impl Given {
    /// Lets the rover drive by itself, or not.
    pub(super) fn autonomy(now_ns: i64, enabled: bool) -> Self {
        Self { at_unix_ns: now_ns, what: What::Autonomy(enabled) }
    }

    /// Begins the mission anew.
    pub(super) fn restart(now_ns: i64) -> Self {
        Self { at_unix_ns: now_ns, what: What::Restart }
    }

    /// Sets the most it drives by itself; a finite number.
    pub(super) fn max_speed(now_ns: i64, speed: f64) -> Self {
        Self { at_unix_ns: now_ns, what: What::MaxSpeed(speed) }
    }

    /// The speed, where this sets it.
    pub(super) fn as_max_speed(&self) -> Option<f64> {
        match self.what {
            What::MaxSpeed(speed) => Some(speed),
            _ => None,
        }
    }

    /// Reads a publication; an error says what the rover takes.
    pub(super) fn from_publication(publication: &Publication, now_ns: i64) -> Result<Self, PublishError> {
        let refuse = |why: String| Err(PublishError::Failed(why));
        let expected = match publication.topic.as_str() {
            "/emergency_stop" => "std_msgs/msg/Bool",
            "/cmd_vel" => "geometry_msgs/msg/Twist",
            topic => {
                let topic: String = topic.chars().take(64).collect();
                return refuse(format!(
                    "the built-in rover does not listen to {topic}; it takes /emergency_stop \
                     (std_msgs/msg/Bool) and, while teleoperated, /cmd_vel (geometry_msgs/msg/Twist)"
                ));
            }
        };
        if publication.type_name != expected {
            return refuse(format!("{} is a {expected}", publication.topic));
        }
        let what = match expected {
            "std_msgs/msg/Bool" => read_bool(&publication.payload),
            _ => read_twist(&publication.payload),
        };
        match what {
            Ok(what) => Ok(Self { at_unix_ns: now_ns, what }),
            Err(error) => refuse(format!("not a {expected}: {error}")),
        }
    }

    /// Reads a line of the shared file; `None` for what is not one.
    pub(super) fn from_line(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The line of the shared file, with its end.
    pub(super) fn to_line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|line| line + "\n")
    }

    /// Whether it must survive a power cut.
    pub(super) fn is_vital(&self) -> bool {
        matches!(self.what, What::EmergencyStop(_))
    }

    /// The input with its tick: 200 ms later, rounded up. `None` for one from before the epoch,
    /// which was meant for an earlier run.
    pub(super) fn at_epoch(&self, epoch_unix_ns: i64) -> Option<Input> {
        let since = self.at_unix_ns.checked_sub(epoch_unix_ns).filter(|ns| *ns >= 0)?;
        let tick = (since.checked_add(DELAY_NS + TICK_NS - 1)? / TICK_NS) as u64;
        let kind = match self.what {
            What::EmergencyStop(engaged) => InputKind::EmergencyStop(engaged),
            What::Command { linear, angular } => InputKind::Command(Twist { linear, angular }),
            What::Autonomy(enabled) => InputKind::Autonomy(enabled),
            What::Restart => InputKind::Restart,
            What::MaxSpeed(speed) => InputKind::MaxSpeed(speed),
        };
        Some(Input { tick, kind })
    }
}

fn read_bool(payload: &[u8]) -> Result<What, String> {
    let read = Reader::new(payload).and_then(|mut r| r.bool());
    read.map(What::EmergencyStop).map_err(|e| e.to_string())
}

fn read_twist(payload: &[u8]) -> Result<What, String> {
    let mut r = Reader::new(payload).map_err(|e| e.to_string())?;
    let mut values = [0.0; 6];
    for value in &mut values {
        *value = r.f64().map_err(|e| e.to_string())?;
    }
    // JSON has no way to write them, and no driver should send them.
    if values.iter().any(|v| !v.is_finite()) {
        return Err("every number has to be finite".to_owned());
    }
    Ok(What::Command { linear: values[0], angular: values[5] })
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

    #[test]
    fn a_line_reads_as_it_was_written() {
        let stop = publication("/emergency_stop", "std_msgs/msg/Bool", &[0, 1, 0, 0, 1]);
        let given = Given::from_publication(&stop, 1_000_000_001).unwrap();
        let line = given.to_line().unwrap();
        assert_eq!(line, "{\"at_unix_ns\":1000000001,\"topic\":\"/emergency_stop\",\"data\":true}\n");
        assert_eq!(Given::from_line(line.as_bytes()), Some(given.clone()));
        // 200 ms later, rounded up to the next tick.
        assert_eq!(given.at_epoch(1_000_000_000), Some(Input::emergency_stop(21, true)));
        assert_eq!(given.at_epoch(1_000_000_002), None);
        for given in [Given::autonomy(5, false), Given::restart(6), Given::max_speed(7, 0.3)] {
            let line = given.to_line().unwrap();
            assert_eq!(Given::from_line(line.as_bytes()), Some(given), "{line}");
        }
    }

    #[test]
    fn lines_that_are_none_are_skipped() {
        for line in ["", "{}", "[1]", "nonsense", r#"{"at_unix_ns":1,"topic":"/other","data":true}"#] {
            assert_eq!(Given::from_line(line.as_bytes()), None, "{line}");
        }
        let huge = format!(r#"{{"at_unix_ns":{},"topic":"/emergency_stop","data":true}}"#, i64::MAX);
        assert_eq!(Given::from_line(huge.as_bytes()).and_then(|g| g.at_epoch(0)), None);
    }

    #[test]
    fn refusals_say_what_is_taken() {
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
            let error = Given::from_publication(&publication, 0).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
