//! The composer: from a few letters to a command, and what became of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: a panic is the report")]

mod support;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use roverline_client::Event;
use roverline_tui::effect::Effect;
use roverline_tui::model::Overlay;
use roverline_tui::update::Msg;
use serde_json::{Value as Json, json};
use support::{Rig, picture};

fn opened() -> Rig {
    let mut rig = Rig::attended();
    rig.keys("c");
    let service = |name, kind| json!({"name": name, "type": kind, "providers": ["/n"]});
    let services = json!([
        service("/autonomy/enable", "std_srvs/srv/SetBool"),
        service("/camera/snapshot", "std_srvs/srv/Trigger"),
        service("/drive/set_parameters", "rcl_interfaces/srv/SetParameters"),
        service("/arm/odd", "arm_msgs/srv/Odd"),
    ]);
    rig.answer("GET /api/v2/services", 200, json!({"services": services, "total": 4, "next": null}));
    let authority = json!({"name": "drive", "holder": null, "waiting": 0, "phase": "idle", "last_command_age_s": null,
        "topics": ["/cmd_vel"], "services": ["/autonomy/*"], "actions": [], "link_loss": "zero", "timeout_ms": 500,
        "implicit": true, "granted": 0, "refused": 0, "problem": null});
    rig.answer("GET /api/v2/authority", 200, json!({"authorities": [authority]}));
    rig.effects.clear();
    rig
}

fn document(rig: &Rig, state: &str, more: &Json) -> Json {
    let request = rig.body("POST /api/v2/commands");
    let mut document = json!({"id": request["id"], "kind": request["kind"], "target": request["target"],
        "type": request["type"], "state": state, "by": "ann", "endpoint": "primary", "received_ns": 1});
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document
}

#[test]
fn a_service_is_found_filled_in_called_and_followed() {
    let mut rig = opened();
    rig.keys("autoen\n").key(KeyCode::Right);
    insta::assert_snapshot!("composer_form_80x24", picture(&rig.model, 80, 24));
    rig.keys("\n");
    let body = rig.body("POST /api/v2/commands");
    assert_eq!(
        (&body["kind"], &body["target"], &body["type"], &body["body"]),
        (&json!("call"), &json!("/autonomy/enable"), &json!("std_srvs/srv/SetBool"), &json!({"data": true}))
    );
    assert!(
        rig.effects
            .iter()
            .any(|effect| matches!(effect, Effect::SaveCommands(text) if text.contains("enable")))
    );
    let accepted = document(&rig, "accepted", &json!({}));
    rig.answer("WATCH /api/v2/commands/", 200, accepted.clone());
    let more = json!({"verified_by": "service response", "result": {"success": true, "message": "on"},
        "trace_id": "0123456789abcdef0123456789abcdef"});
    let verified = document(&rig, "verified", &more);
    rig.answer("POST /api/v2/commands", 200, verified);
    let path = format!("WATCH /api/v2/commands/{}", accepted["id"].as_str().unwrap());
    rig.answer_again(&path, 200, accepted);
    let shown = picture(&rig.model, 80, 24);
    for text in [
        "accepted 0.00 ms → verified",
        "service response",
        "0123456789abcdef0123456789abcdef",
        "\"success\":true",
    ] {
        assert!(shown.contains(text), "{text}:\n{shown}");
    }
    rig.keys("\u{1b}");
    rig.keys("\u{8}\u{8}\u{8}\u{8}").key(KeyCode::PageUp);
    assert_eq!(rig.model.composer.form.fields[0].typed, "true", "from the history");
}

#[test]
fn what_does_not_fit_is_not_sent_and_its_field_is_named() {
    let mut rig = opened();
    rig.keys("/cmd_vel\nfast\n");
    assert!(rig.notification().contains("linear.x: needs a number"), "{}", rig.notification());
    assert!(!rig.effects.iter().any(|effect| matches!(effect, Effect::Request { .. })));
    rig.send(Msg::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    rig.keys("0.2\n");
    let body = rig.body("POST /api/v2/commands");
    assert_eq!((&body["kind"], &body["body"]), (&json!("publish"), &json!({"linear": {"x": 0.2}})));
}

#[test]
fn a_lost_answer_is_repeated_under_the_same_id() {
    let mut rig = opened();
    rig.keys("snapshot\n\n");
    let id = rig.body("POST /api/v2/commands")["id"].clone();
    rig.answer("POST /api/v2/commands", 599, json!({"detail": "the endpoint was lost"}));
    assert!(picture(&rig.model, 80, 24).contains("the endpoint was lost"));
    rig.effects.clear();
    rig.keys("\n");
    assert_eq!(rig.body("POST /api/v2/commands")["id"], id);
}

#[test]
fn a_parameter_has_a_name_and_a_value() {
    let mut rig = opened();
    rig.keys("drive par\nmax_speed\t0.8\n");
    let body = rig.body("POST /api/v2/commands");
    assert_eq!(
        (&body["kind"], &body["target"], &body["body"]),
        (&json!("parameter"), &json!("/drive"), &json!({"max_speed": 0.8}))
    );
}

#[test]
fn a_definition_that_is_not_here_is_requested_and_then_used() {
    let mut rig = opened();
    rig.keys("odd\n");
    assert!(rig.effects.contains(&Effect::Schema("arm_msgs/srv/Odd_Request".to_owned())));
    rig.keys("\n");
    assert!(
        !rig.effects.iter().any(|effect| matches!(effect, Effect::Request { .. })),
        "there is no form yet"
    );
    let (type_name, encoding, text) =
        ("arm_msgs/srv/Odd_Request", "ros2msg", "uint8 HOLD=1\nuint8 mode\nstring<=3 why");
    let definition =
        Event::Schema { type_name: type_name.into(), encoding: encoding.into(), text: text.into() };
    rig.link(definition).key(KeyCode::Right).keys("\tmuch");
    let shown = picture(&rig.model, 80, 24);
    assert!(shown.contains("HOLD") && shown.contains("at most 3 bytes"), "{shown}");
}

#[test]
fn pictures() {
    let mut rig = opened();
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        insta::assert_snapshot!(format!("composer_{width}x{height}"), picture(&rig.model, width, height));
    }
    rig.keys("\u{1b}");
    assert_eq!(rig.model.overlay, Overlay::None);
    rig.send(Msg::Resize(80, 24)).keys("c").keys("!");
    assert!(rig.effects.contains(&Effect::EmergencyStop { engage: true }), "the stop works here");
}
