//! The rover as one endpoint sees it, from the telemetry object of the plain dialect.

use std::collections::BTreeMap;

use roverline_coordination::lifecycle::{EntityId, EntityKind, Selection};
use roverline_protocol::api::lifecycle::LifecycleDocument;
use roverline_protocol::api::{
    BatteryDocument, MissionDocument, Position, RobotDocument, RobotEndpoint, RobotList, RobotState,
};
use roverline_protocol::limits;
use serde_json::{Map, Value};

use crate::api::error::ApiError;
use crate::api::lifecycle_document;
use crate::endpoint::Endpoint;

/// The rover whose samples this endpoint receives, if any, and all other robots that the team knows, by
/// name.
pub(crate) fn list(endpoint: &Endpoint) -> RobotList {
    select(endpoint, |_| true)
}

/// The robots in this lifecycle status.
pub(crate) fn with_lifecycle(endpoint: &Endpoint, wanted: impl Fn(&LifecycleDocument) -> bool) -> RobotList {
    select(endpoint, |robot| robot.lifecycle.as_ref().is_some_and(&wanted))
}

fn select(endpoint: &Endpoint, wanted: impl Fn(&RobotDocument) -> bool) -> RobotList {
    let here = local_robot(endpoint);
    let mut robots: Vec<_> = lifecycle_documents(endpoint)
        .into_iter()
        .filter(|life| here.as_ref().is_none_or(|here| here.id != life.id))
        .map(without_telemetry)
        .chain(here.clone())
        .filter(wanted)
        .collect();
    robots.sort_by(|a, b| a.id.cmp(&b.id));
    RobotList { robots }
}

/// The robot of this name.
pub(crate) fn one(endpoint: &Endpoint, id: &str) -> Result<RobotDocument, ApiError> {
    let here = local_robot(endpoint).filter(|robot| robot.id == id);
    let robot = here.or_else(|| lifecycle_document(endpoint, id).map(without_telemetry));
    robot.ok_or_else(|| ApiError::not_found(format!("no rover '{id}' is known here; see /api/v2/robots")))
}

/// A robot without telemetry on this endpoint.
fn without_telemetry(life: LifecycleDocument) -> RobotDocument {
    RobotDocument { id: life.id.clone(), lifecycle: Some(life), ..RobotDocument::default() }
}

fn lifecycle_documents(endpoint: &Endpoint) -> Vec<LifecycleDocument> {
    let robots = Selection { kind: Some(EntityKind::Robot), ..Selection::default() };
    let replica = &endpoint.coordination.lifecycle;
    let views = replica.with(|model| model.select(&robots, None, limits::API_PAGE_MAX_ENTRIES).0);
    views.unwrap_or_default().into_iter().map(|view| lifecycle_document::document(replica, view)).collect()
}

fn lifecycle_document(endpoint: &Endpoint, id: &str) -> Option<LifecycleDocument> {
    let replica = &endpoint.coordination.lifecycle;
    let view = replica.with(|model| model.get(&EntityId::robot(id))).flatten();
    view.map(|view| lifecycle_document::document(replica, view))
}

fn local_robot(endpoint: &Endpoint) -> Option<RobotDocument> {
    let message = endpoint.telemetry.message(&endpoint.hub, "robot");
    let message: Value = serde_json::from_slice(&message).ok()?;
    let mut robot = from_telemetry(message.get("data")?.as_object()?)?;
    robot.id.clone_from(&endpoint.rover);
    robot.scopes = endpoint.scopes();
    robot.lifecycle = lifecycle_document(endpoint, &endpoint.rover);
    let known = endpoint.directory_document().endpoints.into_iter().map(|entry| entry.peer.endpoint);
    robot.endpoints = known
        .map(|known| RobotEndpoint {
            tier: known.tier,
            address: known.address,
            port: known.port,
            status: known.status,
        })
        .collect();
    Some(robot)
}

/// The robot that the telemetry object describes; `None` if no value ever arrived. A topic may have any
/// type: a value of an unexpected type counts as unknown.
fn from_telemetry(data: &Map<String, Value>) -> Option<RobotDocument> {
    let ages = data.get("age")?.as_object()?;
    let ages_s: BTreeMap<_, _> = ages.iter().map(|(key, age)| (key.clone(), age.as_f64())).collect();
    let age_s = ages_s.values().flatten().copied().min_by(f64::total_cmp)?;
    let flag = |key: &str| data.get(key).and_then(Value::as_bool);
    let number = |key: &str| data.get(key).and_then(Value::as_f64);
    let text = |key: &str| data.get(key).and_then(Value::as_str).map(str::to_owned);
    let position = data.get("gps_position").and_then(Value::as_object);
    let emergency_stop = flag("emergency_stop");
    Some(RobotDocument {
        state: state(emergency_stop, flag("autonomous_mode")),
        health: text("system_health"),
        emergency_stop,
        boundary_violation: flag("boundary_violation"),
        position: position.map(|position| {
            let part = |key: &str| position.get(key).and_then(Value::as_f64);
            Position { lat: part("lat"), lon: part("lon"), alt: part("alt") }
        }),
        battery: BatteryDocument { level_percent: number("battery_level"), current_a: number("current") },
        mission: MissionDocument {
            name: text("current_mission"),
            status: text("mission_status"),
            time: data.get("mission_time").filter(|time| !time.is_null()).cloned(),
            samples_collected: data.get("samples_collected").and_then(Value::as_i64),
        },
        age_s: Some(age_s),
        ages_s,
        ..RobotDocument::default()
    })
}

/// A stopped robot is in no other state.
fn state(emergency_stop: Option<bool>, autonomous: Option<bool>) -> Option<RobotState> {
    match (emergency_stop, autonomous) {
        (Some(true), _) => Some(RobotState::Stopped),
        (_, Some(true)) => Some(RobotState::Autonomous),
        (_, Some(false)) => Some(RobotState::Manual),
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_values_stay_unknown() {
        let robot = |data: Value| from_telemetry(data.as_object().unwrap());
        assert_eq!(
            robot(json!({"timestamp": 1.0, "battery_level": null, "age": {"battery_level": null}})),
            None
        );
        let robot = robot(json!({
            "battery_level": 81.5, "gps_position": {"lat": 51.5, "lon": null, "alt": 3},
            "emergency_stop": "yes", "autonomous_mode": false, "mission_time": 12.5,
            "age": {"battery_level": 2.0, "gps_position": 0.25, "current": null},
        }));
        let robot = robot.unwrap();
        assert_eq!((robot.age_s, robot.ages_s["current"]), (Some(0.25), None));
        assert_eq!(robot.position, Some(Position { lat: Some(51.5), lon: None, alt: Some(3.0) }));
        assert_eq!((robot.emergency_stop, robot.state), (None, Some(RobotState::Manual)));
        assert_eq!((robot.battery.level_percent, robot.battery.current_a), (Some(81.5), None));
        assert_eq!((robot.mission.time, robot.mission.name), (Some(json!(12.5)), None));
    }

    #[test]
    fn a_stop_comes_first() {
        assert_eq!(state(Some(true), Some(true)), Some(RobotState::Stopped));
        assert_eq!(state(Some(false), Some(true)), Some(RobotState::Autonomous));
        assert_eq!(state(Some(false), None), None);
    }
}
