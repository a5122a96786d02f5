//! Plots of fields on the Topics screen, and those that are pinned to the Drive screen.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests: a panic is the report, and a document is written where it is used"
)]

mod support;

use std::time::Duration;

use roverline_tui::effect::Effect;
use roverline_tui::update::Msg;
use serde_json::json;
use support::{Rig, picture, topic};

fn snap(name: &str, rig: &mut Rig) {
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), picture(&rig.model, width, height));
    }
}

/// A temperature that swings, with a NaN in between; the cursor is on it.
fn swinging() -> Rig {
    let mut rig = Rig::attended();
    rig.keys("5/front_left\n");
    let of = topic("/motor/front_left/temperature", "sensor_msgs/msg/Temperature");
    rig.sample(&of, &json!({"temperature": 40.0})).wait(Duration::from_millis(300));
    rig.keys("\nG").key(crossterm::event::KeyCode::Up);
    for n in 0..100 {
        let value = 40.0 + 10.0 * (f64::from(n) / 8.0).sin();
        let value = if (30..36).contains(&n) { f64::NAN } else { value };
        let payload = temperature(value);
        rig.raw(&of, payload).wait(Duration::from_millis(500));
    }
    rig
}

/// JSON has no NaN.
fn temperature(value: f64) -> Vec<u8> {
    let plan = roverline_schema::Registry::bundled();
    let plan = plan.plan("sensor_msgs/msg/Temperature").unwrap();
    let mut payload = plan.encode_json(&json!({"temperature": 0.125})).unwrap();
    let at = payload.windows(8).position(|bytes| bytes == 0.125_f64.to_le_bytes()).unwrap();
    payload[at..at + 8].copy_from_slice(&value.to_le_bytes());
    payload
}

#[test]
fn pictures() {
    let mut rig = swinging();
    let plotted = rig.model.screens.topics.plot.series.as_ref().map(|series| series.field.clone());
    assert_eq!(plotted.as_deref(), Some("temperature"));
    snap("topics_plot", &mut rig);
    rig.keys(",,,,,,,,,fz").wait(Duration::from_secs(1));
    snap("topics_plot_cursor", &mut rig);
    rig.keys("v");
    snap("topics_plot_closed", &mut rig);
    rig.keys("p\u{1b}\u{1b}1");
    snap("drive_pinned", &mut rig);
}

#[test]
fn three_fields_are_pinned_and_no_more() {
    let mut rig = swinging();
    rig.keys("p");
    assert_eq!(rig.model.screens.topics.pins.len(), 1);
    let latitude = "/gps/fix";
    rig.keys("\u{1b}\u{1b}/gps\n").sample(
        &topic(latitude, "sensor_msgs/msg/NavSatFix"),
        &json!({"latitude": 1.0, "longitude": 2.0, "altitude": 3.0}),
    );
    rig.wait(Duration::from_millis(300)).keys("\n");
    for _ in 0..40 {
        rig.keys("jp");
    }
    let pins = &rig.model.screens.topics.pins;
    assert!(pins.len() <= 3 && pins[0].topic == "/motor/front_left/temperature", "{pins:?}");
}

#[test]
fn a_topic_of_another_type_begins_anew() {
    let mut rig = swinging();
    let other = topic("/motor/front_left/temperature", "std_msgs/msg/Float64");
    rig.sample(&other, &json!({"data": 3.0})).wait(Duration::from_millis(300));
    let series = rig.model.screens.topics.plot.series.as_ref().unwrap();
    assert_eq!(series.type_name, "std_msgs/msg/Float64");
    assert!(series.fault.is_some() && series.newest().unwrap().last.is_nan());
    assert!(picture(&rig.model, 80, 24).contains("✗ the newest message has no number there"));
}

#[test]
fn rewind_shows_the_plot_of_then() {
    let mut rig = swinging();
    rig.keys("t");
    for _ in 0..10 {
        rig.key(crossterm::event::KeyCode::Left);
    }
    let past = &rig.model.rewind.as_ref().unwrap().past;
    let series = past.screens.topics.plot.series.as_ref().unwrap();
    let newest = series.newest().unwrap().at;
    assert_eq!(series.field, "temperature", "the cursor is where it was");
    assert!(newest <= past.now.mono && past.now.since(newest) < Duration::from_secs(2));
    assert!(picture(&rig.model, 80, 24).contains("‖ paused"));
}

#[test]
fn limits_are_shared_values_and_lines_on_the_plot() {
    let mut rig = swinging();
    rig.dialog("x", ">45 >>48 <32 ~1\n");
    let body = rig.body("PUT /api/v2/kv/alarm/limits/motor/front_left/temperature%3Atemperature");
    assert_eq!(body["above"], json!({"warning": 45.0, "critical": 48.0}));
    assert_eq!(
        (&body["topic"], &body["field"]),
        (&json!("/motor/front_left/temperature"), &json!("temperature"))
    );
    let value = json!({"key": "alarm/limits/motor/front_left/temperature:temperature", "value": body, "version": 1,
        "revision": 2, "created": 2, "by": "ann", "client": null, "written_ns": 0, "expires": false});
    let rate = json!({"key": "alarm/rates/motor/front_left/temperature", "value": 2.0, "version": 1, "revision": 2,
        "created": 2, "by": "ann", "client": null, "written_ns": 0, "expires": false});
    let list = json!({"keys": [value, rate], "revision": 2, "next": null});
    rig.answer_again("WATCH /api/v2/kv?prefix=alarm/&limit=200", 200, list);
    snap("topics_plot_limits", &mut rig);
    rig.effects.clear();
    rig.dialog("x", ">48 >>45\n");
    assert!(rig.effects.is_empty() && rig.notification().contains("further out"), "{}", rig.notification());
    rig.dialog("x", "\n");
    assert!(rig.effects.iter().any(|effect| matches!(effect, Effect::Request { method: "DELETE", .. })));
}

#[test]
fn an_expected_rate_is_a_shared_value() {
    let mut rig = swinging();
    let path = "PUT /api/v2/kv/alarm/rates/motor/front_left/temperature";
    rig.dialog("e", "2.5\n");
    assert_eq!(rig.body(path), json!(2.5));
    rig.dialog("e", "off\n");
    assert_eq!(rig.body(path), serde_json::Value::Null);
    rig.effects.clear();
    rig.dialog("e", "fast\n");
    assert!(rig.effects.is_empty() && rig.notification().contains("samples per second"));
}
