//! The driving mode: what is sent, and that it ends with a zero.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests: a panic is the report")]

mod support;

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use roverline_client::Event;
use roverline_tui::effect::Effect;
use roverline_tui::model::Screen;
use roverline_tui::screen::drive::model::pad::{PadAxis, PadButton, PadEvent};
use roverline_tui::update::Msg;
use serde_json::{Value as Json, json};
use support::{Rig, endpoints, picture};

fn lock(holder: &str) -> Json {
    let holders = json!([{"client": holder, "by": "ann", "token": 7}]);
    json!([{"resource": "drive", "mode": "exclusive", "holders": holders, "waiting": [], "handovers": []}])
}

fn set_locks(rig: &mut Rig, revision: u64, locks: &Json) {
    rig.answer_again("WATCH /api/v2/locks", 200, json!({"revision": revision, "locks": locks}));
}

/// In the mode, with the lock.
fn driving() -> Rig {
    let mut rig = Rig::attended();
    set_locks(&mut rig, 1, &json!([]));
    rig.keys("D");
    assert_eq!(rig.body("POST /api/v2/locks/drive/acquire")["client"], "ann@base");
    rig.keys("w");
    assert_eq!(sent(&rig), [], "not without the lock");
    rig.answer("POST /api/v2/locks/drive/acquire", 200, json!({"standing": "held", "token": 7}));
    set_locks(&mut rig, 2, &lock("ann@base"));
    rig.send(Msg::Focus(true));
    rig.effects.clear();
    rig
}

/// The velocities that were sent, as (m/s, rad/s).
fn sent(rig: &Rig) -> Vec<(f64, f64)> {
    let velocity = |effect: &Effect| match effect {
        Effect::Publish { topic, body, token, .. } => {
            assert_eq!((topic.as_str(), *token), ("/cmd_vel", Some(7)));
            Some((body["linear"]["x"].as_f64()?, body["angular"]["z"].as_f64()?))
        }
        _ => None,
    };
    rig.effects.iter().filter_map(velocity).collect()
}

fn event(rig: &mut Rig, code: KeyCode, kind: KeyEventKind) {
    rig.send(Msg::Key(KeyEvent::new_with_kind(code, KeyModifiers::NONE, kind)));
}

fn pulses(rig: &mut Rig, count: usize) {
    for _ in 0..count {
        rig.wait(Duration::from_millis(50)).send(Msg::Pulse);
    }
}

#[test]
fn a_key_drives_at_once_and_its_silence_stops() {
    let mut rig = driving();
    rig.keys("w");
    assert_eq!(sent(&rig), [(0.25, 0.0)], "at once");
    pulses(&mut rig, 4);
    assert_eq!(sent(&rig).len(), 5);
    pulses(&mut rig, 30);
    let after = sent(&rig);
    assert_eq!(
        after.iter().filter(|velocity| **velocity == (0.0, 0.0)).count(),
        10,
        "zeros, and then silence"
    );
    assert_eq!(after.len(), 15);
}

#[test]
fn a_terminal_with_releases_drives_a_curve_until_they_come() {
    let mut rig = driving();
    event(&mut rig, KeyCode::Char('D'), KeyEventKind::Release);
    event(&mut rig, KeyCode::Up, KeyEventKind::Press);
    event(&mut rig, KeyCode::Left, KeyEventKind::Press);
    pulses(&mut rig, 20);
    assert_eq!(sent(&rig).last(), Some(&(0.25, 0.5)));
    event(&mut rig, KeyCode::Left, KeyEventKind::Release);
    assert_eq!(sent(&rig).last(), Some(&(0.25, 0.0)));
    event(&mut rig, KeyCode::Up, KeyEventKind::Release);
    assert_eq!(sent(&rig).last(), Some(&(0.0, 0.0)));
}

/// Whatever `ends` does, the last velocity is a zero, sent at once.
fn ends_with_zero(what: &str, leaves: bool, ends: impl Fn(&mut Rig)) {
    let mut rig = driving();
    event(&mut rig, KeyCode::Char('D'), KeyEventKind::Release);
    rig.keys("w");
    rig.effects.clear();
    ends(&mut rig);
    assert_eq!(sent(&rig).first(), Some(&(0.0, 0.0)), "{what}");
    assert_eq!(rig.model.screens.drive.driving.is_none(), leaves, "{what}");
    let before_leaving = |effect: &Effect| matches!(effect, Effect::Quit | Effect::Suspend);
    let zero = rig.effects.iter().position(|effect| matches!(effect, Effect::Publish { .. }));
    assert!(rig.effects.iter().position(before_leaving).is_none_or(|at| Some(at) > zero), "{what}");
    rig.effects.clear();
    rig.keys("w");
    pulses(&mut rig, 3);
    if leaves {
        assert_eq!(sent(&rig), [], "{what}");
    }
}

#[test]
fn it_ends_with_a_zero_whenever_nobody_can_be_known_to_drive() {
    let ctrl = |c| Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
    ends_with_zero("Esc", true, |rig| {
        rig.keys("\u{1b}");
    });
    ends_with_zero("focus", false, |rig| {
        rig.send(Msg::Focus(false));
    });
    ends_with_zero("suspended", true, |rig| {
        rig.send(ctrl('z'));
    });
    ends_with_zero("a signal", true, |rig| {
        rig.send(Msg::Terminate);
    });
    ends_with_zero("another screen", true, |rig| {
        rig.model.screen = Screen::Team;
        rig.wait(Duration::from_millis(1));
    });
    ends_with_zero("too small", true, |rig| {
        rig.send(Msg::Resize(30, 5));
    });
    ends_with_zero("the stop", false, |rig| {
        rig.keys("!");
    });
    ends_with_zero("Space", false, |rig| {
        rig.keys(" ");
    });
    ends_with_zero("a paste", false, |rig| {
        rig.send(Msg::FastKey(KeyEvent::new(KeyCode::Char('w'), KeyModifiers::NONE), 40));
    });
    ends_with_zero("the link", true, |rig| {
        rig.link(Event::Endpoints(endpoints(None).into()));
    });
    // Nothing that asks a question is reached from the mode; if something opens one, it ends.
    ends_with_zero("a dialog", true, |rig| {
        rig.model.overlay = roverline_tui::model::Overlay::Help { scroll: 0 };
        rig.wait(Duration::from_millis(1));
    });
}

#[test]
fn without_the_lock_nothing_is_sent() {
    let mut rig = driving();
    rig.keys("w");
    set_locks(&mut rig, 3, &lock("bob@base"));
    assert!(rig.model.screens.drive.driving.is_none());
    assert!(rig.notification().contains("do not have the lock"), "{}", rig.notification());
    rig.effects.clear();
    rig.keys("D");
    assert!(rig.model.question().is_some(), "its holder is asked");
    assert!(rig.model.screens.drive.driving.is_none());
    let mut rig = Rig::attended();
    set_locks(&mut rig, 1, &json!([]));
    rig.keys("D").wait(Duration::from_secs(6));
    assert!(rig.model.screens.drive.driving.is_none(), "never granted");
}

#[test]
fn the_lock_goes_back_if_it_was_taken_for_this() {
    let mut rig = driving();
    rig.keys("\u{1b}");
    assert_eq!(rig.body("POST /api/v2/locks/drive/release"), json!({"client": "ann@base"}));
    let mut rig = Rig::attended();
    set_locks(&mut rig, 1, &lock("ann@base"));
    rig.effects.clear();
    rig.keys("D\u{1b}");
    let is_release =
        |effect: &Effect| matches!(effect, Effect::Request { path, .. } if path.ends_with("release"));
    assert!(!rig.effects.iter().any(is_release));
}

#[test]
fn a_controller_drives_while_its_dead_man_button_is_held() {
    let mut rig = driving();
    rig.send(Msg::Pad(PadEvent::Connected("Pad \u{1b}[2J".to_owned())));
    rig.send(Msg::Pad(PadEvent::Axis(PadAxis::Linear, 1.0)));
    assert_eq!(sent(&rig), []);
    rig.send(Msg::Pad(PadEvent::Button(PadButton::DeadMan, true)));
    assert_eq!(sent(&rig), [(0.25, 0.0)]);
    // A stick that moves all the time is sent with the pulses; at rest it is at once.
    rig.effects.clear();
    for n in 1..=100 {
        rig.send(Msg::Pad(PadEvent::Axis(PadAxis::Linear, 1.0 - f64::from(n) / 200.0)));
    }
    assert_eq!(sent(&rig), []);
    pulses(&mut rig, 1);
    assert_eq!(sent(&rig).len(), 1);
    rig.send(Msg::Pad(PadEvent::Axis(PadAxis::Linear, 0.0)));
    assert_eq!(sent(&rig).last(), Some(&(0.0, 0.0)));
    rig.send(Msg::Pad(PadEvent::Axis(PadAxis::Linear, 1.0)));
    pulses(&mut rig, 1);
    rig.send(Msg::Pad(PadEvent::Disconnected));
    assert_eq!(sent(&rig).last(), Some(&(0.0, 0.0)));
    rig.effects.clear();
    rig.send(Msg::Pad(PadEvent::Connected("pad".to_owned())));
    rig.send(Msg::Pad(PadEvent::Button(PadButton::Stop, true)));
    assert!(rig.effects.contains(&Effect::EmergencyStop { engage: true }));
}

#[test]
fn pictures() {
    let mut rig = driving();
    let authority = json!({"name": "drive", "holder": null, "waiting": 0, "phase": "commanded",
        "last_command_age_s": 0.1, "topics": ["/cmd_vel"], "services": [], "actions": [], "link_loss": "zero",
        "timeout_ms": 500, "implicit": true, "granted": 3, "refused": 0, "problem": null});
    rig.answer_again("WATCH /api/v2/authority", 200, json!({"authorities": [authority]}));
    rig.keys("3w");
    rig.send(Msg::Pulse);
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        insta::assert_snapshot!(format!("driving_{width}x{height}"), picture(&rig.model, width, height));
    }
}
