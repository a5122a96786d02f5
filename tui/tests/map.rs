//! The Map screen: what is on it, and what its keys request.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests: a panic is the report, and a document is written where it is used"
)]

mod support;

use std::time::Duration;

use roverline_client::Event;
use roverline_tui::effect::Effect;
use roverline_tui::update::Msg;
use serde_json::json;
use support::{Rig, picture, topic};

/// A rover that has driven a curve, with two way-points in the queue.
fn driven() -> Rig {
    let mut rig = Rig::attended();
    let odom = topic("/odom", "nav_msgs/msg/Odometry");
    for n in 0..60 {
        let angle = f64::from(n) / 20.0;
        let place = json!({"x": 20.0 * angle.sin(), "y": 20.0 - 20.0 * angle.cos()});
        let pose = json!({"pose": {"position": place, "orientation": {"z": (angle / 2.0).sin(), "w": (angle / 2.0).cos()}}});
        rig.sample(&odom, &json!({"pose": pose, "twist": {"twist": {"linear": {"x": 0.8}}}}));
        rig.wait(Duration::from_secs(1));
    }
    let message = |body| {
        json!({"message_id": "w:0:1:a", "message": body, "priority": 0, "deliveries": 0, "by": "ann",
            "enqueued_ns": 0, "ready": true})
    };
    let messages =
        [message(json!({"x": -10.0, "y": 30.0})), message(json!({"lat": 38.4064, "lon": -110.7917}))];
    rig.answer("WATCH /api/v2/queues/waypoints/peek", 200, json!({"messages": messages}));
    rig
}

fn snap(name: &str, rig: &mut Rig) {
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), picture(&rig.model, width, height));
    }
}

#[test]
fn pictures() {
    snap("map_never", Rig::new().keys("2"));
    let mut rig = driven();
    snap("drive_track", &mut rig);
    rig.keys("2");
    let messages = json!({"message_id": "w:0:1:a", "message": {"x": -10.0, "y": 30.0}, "priority": 0, "deliveries": 0,
        "by": "ann", "enqueued_ns": 0, "ready": true});
    rig.answer_again("WATCH /api/v2/queues/waypoints/peek?max=9", 200, json!({"messages": [messages]}));
    snap("map", &mut rig);
    rig.keys("mhhk");
    snap("map_measure", &mut rig);
}

#[test]
fn a_way_point_is_sent_where_the_middle_is() {
    let mut rig = driven();
    rig.keys("2w");
    assert!(rig.model.question().is_none(), "the rover itself is no way-point");
    rig.keys("lk").dialog("w", "y");
    let body = rig.body("POST /api/v2/queues/waypoints/enqueue");
    let message = &body["messages"][0]["message"];
    let [x, y] = ["x", "y"].map(|name| message[name].as_f64().unwrap());
    let here = rig.model.rover.odometry.as_ref().unwrap().value;
    // Eight columns of half a metre.
    assert!((x - here.x - 4.0).abs() < 0.01 && (y - here.y - 4.0).abs() < 0.01, "{x} {y}");
}

#[test]
fn a_position_is_copied() {
    let mut rig = driven();
    rig.keys("2y");
    assert!(rig.effects.contains(&Effect::Copy("38.4063241, -110.7918713".to_owned())), "{:?}", rig.effects);
    let mut rig = Rig::attended();
    rig.model.rover.fix = None;
    rig.effects.clear();
    rig.keys("2y");
    assert!(!rig.effects.iter().any(|effect| matches!(effect, Effect::Copy(_))));
}

#[test]
fn the_way_points_are_watched_while_they_are_shown() {
    let mut rig = Rig::attended();
    let count = |rig: &Rig| {
        let is_watch = |e: &&Effect| matches!(e, Effect::Watch { path, .. } if path.contains("waypoints") || path.contains("marks"));
        let ended = rig.effects.iter().filter(|e| matches!(e, Effect::Unwatch(_))).count();
        rig.effects.iter().filter(is_watch).count() as i64 - ended as i64
    };
    assert_eq!(count(&rig), 1);
    rig.keys("2");
    assert_eq!(count(&rig), 2, "the marks as well");
    rig.keys("3");
    assert_eq!(count(&rig), 0);
}

#[test]
fn marks_fence_and_scan() {
    let mut rig = driven();
    let infos = [topic("/scan", "sensor_msgs/msg/LaserScan"), topic("/odom", "nav_msgs/msg/Odometry")];
    rig.link(Event::Topics(infos.to_vec().into()));
    rig.effects.clear();
    rig.keys("2");
    let is_scan =
        |effect: &Effect| matches!(effect, Effect::Subscribe { topics, .. } if topics[0] == "/scan");
    assert!(rig.effects.iter().any(is_scan), "{:?}", rig.effects);
    let mark = |name: &str, value| {
        json!({"key": format!("marks/{name}"), "value": value, "version": 1, "revision": 2, "created": 2,
            "by": "ann", "client": null, "written_ns": 0, "expires": false})
    };
    let keys = [
        mark("bottle", json!({"x": 12.0, "y": 25.0, "note": "green\u{1b}[2J, behind the rock"})),
        mark("gate", json!({"lat": 38.4064, "lon": -110.7917})),
        mark("odd", json!("no place")),
    ];
    rig.answer("WATCH /api/v2/kv?prefix=marks/", 200, json!({"keys": keys, "revision": 2, "next": null}));
    let fence = topic("/safety/boundary", "geometry_msgs/msg/PolygonStamped");
    let corner = |x: f64, y: f64| json!({"x": x, "y": y, "z": 0.0});
    let corners = [corner(-5.0, -5.0), corner(25.0, -5.0), corner(25.0, 42.0), corner(-5.0, 42.0)];
    rig.sample(&fence, &json!({"polygon": {"points": corners}}));
    let ranges = vec![3.0; 90];
    let scan = json!({"angle_min": -0.8, "angle_increment": 0.018, "range_max": 10.0, "ranges": ranges});
    rig.sample(&infos[0], &scan);
    snap("map_layers", &mut rig);
    rig.effects.clear();
    rig.keys("s");
    assert!(
        rig.effects
            .iter()
            .any(|effect| matches!(effect, Effect::Unsubscribe(topics) if topics[0] == "/scan"))
    );
}

#[test]
fn a_mark_is_a_shared_value_and_the_nearest_one_is_deleted() {
    let mut rig = driven();
    rig.keys("2lk").dialog("M", "bottle/1 green, behind the rock\n");
    let body = rig.body("PUT /api/v2/kv/marks/bottle-1?version=0");
    assert_eq!(body["note"], "green, behind the rock");
    let [x, y] = ["x", "y"].map(|name| body[name].as_f64().unwrap());
    assert!(x.is_finite() && y.is_finite());
    rig.effects.clear();
    rig.keys("X");
    assert!(rig.model.question().is_none() && rig.notification().contains("no marks"));
    let mark = |name: &str, x: f64| {
        json!({"key": format!("marks/{name}"), "value": {"x": x, "y": 0.0}, "version": 1, "revision": 2,
            "created": 2, "by": "ann", "client": null, "written_ns": 0, "expires": false})
    };
    let list = json!({"keys": [mark("far", 500.0), mark("near", 5.0)], "revision": 2, "next": null});
    rig.answer_again("WATCH /api/v2/kv?prefix=marks/&limit=100", 200, list);
    rig.dialog("X", "y");
    let deleted = |effect: &Effect| matches!(effect, Effect::Request { method: "DELETE", path, .. } if path == "/api/v2/kv/marks/near");
    assert!(rig.effects.iter().any(deleted), "{:?}", rig.effects);
}
