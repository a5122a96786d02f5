//! The flat telemetry object of the plain dialect and the robots API: which key comes from which topic.
//! It is built at most once per tick, regardless of the number of clients.

pub mod heading;

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_protocol::alarms::ALARMS_TOPIC;
use roverline_protocol::{Scope, ScopeSet};
use roverline_schema::Value;
use roverline_source::clock::{monotonic, unix_ns};
use serde_json::{Map, Number, Value as Json, json};

use crate::hub::{Hub, Topic};
use crate::limits;

/// Computes a key's value from the newest sample of its topic.
type Extract = fn(&Value) -> Option<Json>;

/// One key: its scopes, its topic, and how its value is extracted.
struct Key {
    name: &'static str,
    scopes: &'static [Scope],
    from: fn(&Topic) -> bool,
    extract: Extract,
}

macro_rules! of_type {
    ($name:literal) => {
        |topic: &Topic| topic.info.type_name == $name
    };
}

macro_rules! named {
    ($($suffix:literal),+) => {
        |topic: &Topic| [$($suffix),+].iter().any(|suffix| topic.info.name.ends_with(suffix))
    };
}

use Scope::{Battery, Emergency, Health, Location, Mission, Safety, Sensors, State};

const KEYS: &[Key] = &[
    Key {
        name: "mission_time",
        scopes: &[Mission],
        from: named!("/mission/time", "/mission_time"),
        extract: data,
    },
    Key {
        name: "battery_level",
        scopes: &[Battery],
        from: of_type!("sensor_msgs/msg/BatteryState"),
        extract: battery_percent,
    },
    Key {
        name: "current",
        scopes: &[Battery],
        from: of_type!("sensor_msgs/msg/BatteryState"),
        extract: |v| number(v, "current"),
    },
    Key {
        name: "voltage",
        scopes: &[Battery],
        from: of_type!("sensor_msgs/msg/BatteryState"),
        extract: |v| number(v, "voltage"),
    },
    Key {
        name: "gps_position",
        scopes: &[Location],
        from: of_type!("sensor_msgs/msg/NavSatFix"),
        extract: gps,
    },
    Key {
        name: "heading",
        scopes: &[Location, Sensors],
        from: |topic| HEADING_TYPES.contains(&topic.info.type_name.as_str()),
        extract: heading::degrees,
    },
    Key { name: "imu_data", scopes: &[Sensors], from: of_type!("sensor_msgs/msg/Imu"), extract: imu },
    Key {
        name: "velocity",
        scopes: &[Location, State],
        from: of_type!("nav_msgs/msg/Odometry"),
        extract: velocity,
    },
    Key {
        name: "current_mission",
        scopes: &[Mission],
        from: named!("/mission/name", "/current_mission"),
        extract: data,
    },
    Key {
        name: "mission_status",
        scopes: &[Mission],
        from: named!("/mission/status", "/mission_status"),
        extract: data,
    },
    Key { name: "samples_collected", scopes: &[Mission], from: named!("/samples_collected"), extract: data },
    Key {
        name: "autonomous_mode",
        scopes: &[State],
        from: named!("/autonomy/enabled", "/autonomous_mode"),
        extract: data,
    },
    Key { name: "led", scopes: &[State], from: named!("/led", "/led/state", "/led_state"), extract: led },
    Key {
        name: "emergency_stop",
        scopes: &[Emergency],
        from: named!("/emergency_stop", "/estop", "/e_stop"),
        extract: data,
    },
    Key { name: "boundary_violation", scopes: &[Safety], from: named!("/boundary_violation"), extract: data },
    Key {
        name: "joint_states",
        scopes: &[Sensors],
        from: of_type!("sensor_msgs/msg/JointState"),
        extract: joints,
    },
    Key {
        name: "system_errors",
        scopes: &[Health],
        from: of_type!("diagnostic_msgs/msg/DiagnosticArray"),
        extract: errors,
    },
];

const HEADING_TYPES: [&str; 2] = ["sensor_msgs/msg/Imu", "tf2_msgs/msg/TFMessage"];

/// Builds the object, and caches the frame of the current tick.
#[derive(Default)]
pub struct Telemetry {
    tick: Mutex<Option<(Duration, Bytes)>>,
}

impl Telemetry {
    /// The `telemetry` frame of this tick, shared by all clients.
    pub fn frame(&self, hub: &Hub) -> Bytes {
        let period = Duration::from_millis(1_000 / u64::from(limits::PLAIN_RATE_HZ)) / 2;
        let mut tick = self.tick.lock();
        let now = monotonic();
        if let Some((made, frame)) = tick.as_ref()
            && now.saturating_sub(*made) < period
        {
            return frame.clone();
        }
        let frame = crate::connection::frame::text(&self.message(hub, "telemetry"));
        *tick = Some((now, frame.clone()));
        frame
    }

    /// `{"type":KIND,"data":{…}}`, built now.
    pub fn message(&self, hub: &Hub, kind: &str) -> Vec<u8> {
        // A map of plain JSON values always serializes.
        serde_json::to_vec(&self.object(hub, kind)).unwrap_or_default()
    }

    /// The same as a map, for callers that add to it.
    pub fn object(&self, hub: &Hub, kind: &str) -> Map<String, Json> {
        let scopes = hub.scopes();
        let (mut data, age) = hub.with_topics(|topics| collect(scopes, topics, monotonic()));
        data.insert("age".to_owned(), Json::Object(age));
        Map::from_iter([("type".to_owned(), kind.into()), ("data".to_owned(), Json::Object(data))])
    }
}

/// The newest value of every key in scope and its age in seconds; null for a key that never had a value.
fn collect(
    scopes: ScopeSet,
    topics: &mut dyn Iterator<Item = &mut Topic>,
    now: Duration,
) -> (Map<String, Json>, Map<String, Json>) {
    let (mut data, mut age) = (Map::new(), Map::new());
    data.insert("timestamp".to_owned(), real(unix_ns() as f64 / 1e9));
    for key in in_scope(scopes) {
        data.insert(key.name.to_owned(), Json::Null);
        age.insert(key.name.to_owned(), Json::Null);
    }
    let with_temperatures = scopes.contains(Health);
    if with_temperatures {
        data.insert("motor_temperatures".to_owned(), Json::Null);
        age.insert("motor_temperatures".to_owned(), Json::Null);
    }
    let mut temperatures = Map::new();
    let mut hottest_age = f64::INFINITY;
    let mut worst = Option::<i64>::None;
    let mut topics: Vec<&mut Topic> = topics.collect();
    // Alarms are derived from what the other topics say.
    topics.retain(|topic| topic.info.name != ALARMS_TOPIC);
    topics.sort_by(|a, b| a.info.name.cmp(&b.info.name));
    for topic in topics {
        let Some((value, seconds)) = newest(topic, now) else { continue };
        for key in in_scope(scopes).filter(|key| (key.from)(topic)) {
            // If several topics provide a key, the one with the newest sample.
            let older = age[key.name].as_f64().is_none_or(|known| known > seconds);
            if older && let Some(extracted) = (key.extract)(&value) {
                data.insert(key.name.to_owned(), extracted);
                age.insert(key.name.to_owned(), real(seconds));
            }
        }
        if with_temperatures && topic.info.type_name == "sensor_msgs/msg/Temperature" {
            temperatures
                .insert(motor_name(&topic.info.name), number(&value, "temperature").unwrap_or_default());
            hottest_age = hottest_age.min(seconds);
        }
        if topic.info.type_name == "diagnostic_msgs/msg/DiagnosticArray" {
            worst = worst.max(worst_level(&value));
        }
    }
    if !temperatures.is_empty() {
        data.insert("motor_temperatures".to_owned(), Json::Object(temperatures));
        age.insert("motor_temperatures".to_owned(), real(hottest_age));
    }
    if scopes.contains(Health) {
        data.insert("system_health".to_owned(), worst.map_or(Json::Null, |level| health_word(level).into()));
        age.insert("system_health".to_owned(), age["system_errors"].clone());
    }
    (data, age)
}

fn in_scope(scopes: ScopeSet) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| ScopeSet::of(key.scopes).intersects(scopes))
}

fn newest(topic: &Topic, now: Duration) -> Option<(Value, f64)> {
    let needed =
        KEYS.iter().any(|key| (key.from)(topic)) || topic.info.type_name == "sensor_msgs/msg/Temperature";
    let latest = topic.latest.as_ref().filter(|_| needed)?;
    let value = topic.decoder.as_ref()?.plan()?.decode(&latest.sample.payload).ok()?;
    Some((value, now.saturating_sub(latest.at).as_secs_f64()))
}

/// A JSON number rounded to six decimals, since people read it; NaN and infinities become null.
pub(crate) fn real(value: f64) -> Json {
    Number::from_f64((value * 1e6).round() / 1e6).map_or(Json::Null, Json::Number)
}

/// As [`real`], rounded to a tenth of a nano-degree: a position must not be rounded to decimetres.
fn degrees(value: Option<f64>) -> Json {
    value.and_then(|value| Number::from_f64((value * 1e10).round() / 1e10)).map_or(Json::Null, Json::Number)
}

fn number(value: &Value, path: &str) -> Option<Json> {
    value.get(path)?.as_f64().map(real)
}

fn data(value: &Value) -> Option<Json> {
    let data = value.get("data")?;
    if let Some(text) = data.as_str() {
        return Some(text.into());
    }
    if let Some(flag) = data.as_bool() {
        return Some(flag.into());
    }
    if let Some(whole) = data.as_i128() {
        return i64::try_from(whole).ok().map(Json::from);
    }
    data.as_f64().map(real)
}

/// BatteryState has a ratio from 0 to 1; people read percent.
fn battery_percent(value: &Value) -> Option<Json> {
    Some(real(value.get("percentage")?.as_f64()? * 100.0))
}

fn gps(value: &Value) -> Option<Json> {
    let get = |path| value.get(path).and_then(Value::as_f64);
    Some(json!({
        "lat": degrees(get("latitude")), "lon": degrees(get("longitude")), "alt": real(get("altitude")?),
    }))
}

fn vector(value: &Value, path: &str) -> Option<Json> {
    let part = |axis: &str| number(value, &format!("{path}.{axis}"));
    Some(json!({"x": part("x")?, "y": part("y")?, "z": part("z")?}))
}

fn imu(value: &Value) -> Option<Json> {
    Some(json!({
        "accel": vector(value, "linear_acceleration")?, "gyro": vector(value, "angular_velocity")?,
    }))
}

fn velocity(value: &Value) -> Option<Json> {
    Some(json!({
        "linear": vector(value, "twist.twist.linear")?, "angular": vector(value, "twist.twist.angular")?,
    }))
}

/// A lamp's colour as a word and as its three components; some rovers publish the word.
fn led(value: &Value) -> Option<Json> {
    if let Some(word) = value.get("data").and_then(Value::as_str) {
        return Some(json!({"color": word.to_lowercase()}));
    }
    let share = |path| value.get(path).and_then(Value::as_f64).filter(|share| share.is_finite());
    let (r, g, b) = (share("r")?, share("g")?, share("b")?);
    let bright = r.max(g).max(b);
    let lit = |share: f64| bright > 0.05 && share > bright / 2.0;
    let word = match (lit(r), lit(g), lit(b)) {
        (false, false, false) => "off",
        (true, false, false) => "red",
        (false, true, false) => "green",
        (false, false, true) => "blue",
        (true, true, false) => "yellow",
        (true, false, true) => "magenta",
        (false, true, true) => "cyan",
        (true, true, true) => "white",
    };
    Some(json!({"color": word, "r": real(r), "g": real(g), "b": real(b)}))
}

fn joints(value: &Value) -> Option<Json> {
    let names = value.get("name")?.as_array()?;
    let positions = value.get("position")?.as_array()?;
    let pairs = names.iter().zip(positions).take(256);
    Some(Json::Object(
        pairs
            .filter_map(|(name, position)| Some((name.as_str()?.to_owned(), real(position.as_f64()?))))
            .collect(),
    ))
}

fn errors(value: &Value) -> Option<Json> {
    let statuses = value.get("status")?.as_array()?;
    let bad = statuses.iter().filter(|status| level(status).is_some_and(|level| level > 0)).take(64);
    Some(
        bad.map(|status| {
            let text = |path| status.get(path).and_then(Value::as_str).unwrap_or_default();
            json!(format!("{}: {}", text("name"), text("message")))
        })
        .collect(),
    )
}

fn level(status: &Value) -> Option<i64> {
    status.get("level")?.as_i128().and_then(|level| i64::try_from(level).ok())
}

fn worst_level(value: &Value) -> Option<i64> {
    value.get("status")?.as_array()?.iter().filter_map(level).max()
}

fn health_word(level: i64) -> &'static str {
    match level {
        0 => "ok",
        1 => "warning",
        2 => "error",
        _ => "stale",
    }
}

/// `/motor/front_left/temperature` becomes the motor `front_left`.
fn motor_name(topic: &str) -> String {
    let mut parts = topic.rsplit('/').filter(|part| !matches!(*part, "" | "temperature"));
    parts.next().unwrap_or("motor").to_owned()
}

#[cfg(test)]
mod tests {
    use roverline_schema::Struct;

    use super::*;

    fn colour(r: f32, g: f32, b: f32) -> Option<String> {
        let fields =
            [("r", r), ("g", g), ("b", b), ("a", 1.0)].map(|(name, share)| (name, Value::F32(share)));
        led(&Value::Struct(Struct::from_iter(fields)))?["color"].as_str().map(str::to_owned)
    }

    #[test]
    fn a_lamp_has_a_word() {
        for (r, g, b, word) in [
            (1.0, 0.0, 0.0, "red"),
            (0.0, 0.6, 0.1, "green"),
            (0.1, 0.2, 1.0, "blue"),
            (1.0, 0.9, 0.0, "yellow"),
            (1.0, 1.0, 1.0, "white"),
            (0.01, 0.0, 0.0, "off"),
        ] {
            assert_eq!(colour(r, g, b).as_deref(), Some(word), "{r} {g} {b}");
        }
        assert_eq!(colour(f32::NAN, 0.0, 0.0), None);
        let word = Value::Struct(Struct::from_iter([("data", Value::String("GREEN".to_owned()))]));
        assert_eq!(led(&word).unwrap()["color"], "green");
    }
}
