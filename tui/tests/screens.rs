//! Snapshots of the screens as text, in every important state, at three sizes.

mod support;

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use roverline_client::{Event, FailoverCause};
use roverline_tui::update::Msg;
use serde_json::json;
use support::{Rig, endpoints, failover, messages, picture, topic};

fn snap(name: &str, rig: &mut Rig) {
    for (width, height) in [(40, 8), (80, 24), (160, 50)] {
        rig.send(Msg::Resize(width, height));
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), picture(&rig.model, width, height));
    }
}

#[test]
fn never_received() {
    snap("never_received", &mut Rig::new());
}

#[test]
fn drive_fresh() {
    snap("drive_fresh", &mut Rig::running());
}

#[test]
fn other_sizes() {
    let mut rig = Rig::running();
    insta::assert_snapshot!("drive_60x20", picture(&rig.model, 60, 20));
    insta::assert_snapshot!("drive_120x36", picture(&rig.model, 120, 36));
    rig.keys("3");
    insta::assert_snapshot!("links_60x20", picture(&rig.model, 60, 20));
    rig.keys("5").wait(Duration::from_millis(100));
    insta::assert_snapshot!("topics_60x20", picture(&rig.model, 60, 20));
    insta::assert_snapshot!("too_small_39x7", picture(&rig.model, 39, 7));
}

#[test]
fn the_stop_at_small_sizes() {
    let mut unheard = Rig::running();
    unheard.send(Msg::StopSent { id: "a".into(), engage: true }).wait(Duration::from_secs(5));
    let mut refused = Rig::running();
    refused.send(Msg::StopSent { id: "a".into(), engage: true });
    let message = "you may look, and only an operator may stop the rover";
    refused.link(Event::Command { id: "a".into(), accepted: false, message: message.into() });
    let mut unknown = Rig::running();
    unknown.link(Event::Endpoints(endpoints(None).into()));
    unknown.link(Event::Failover(failover(Some(0), None, FailoverCause::AllDown, None)));
    unknown.wait(Duration::from_secs(5));
    let mut engaged = Rig::running();
    engaged.sample(&topic("/emergency_stop", "std_msgs/msg/Bool"), &json!({"data": true}));
    let rigs = [("unheard", unheard), ("refused", refused), ("unknown", unknown), ("engaged", engaged)];
    for (name, rig) in &rigs {
        for (width, height) in [(30, 6), (40, 8), (60, 15)] {
            insta::assert_snapshot!(
                format!("stop_{name}_{width}x{height}"),
                picture(&rig.model, width, height)
            );
        }
    }
}

#[test]
fn drive_after_a_failover_keeps_what_the_tier_does_not_serve() {
    let mut rig = Rig::running();
    rig.link(Event::Endpoints(endpoints(Some(1)).into()));
    rig.link(Event::Failover(failover(Some(0), Some(1), FailoverCause::Closed, Some(23))));
    let scopes = roverline_protocol::Tier::Secondary.scopes();
    let served: Vec<_> = messages().into_iter().filter(|(t, _)| t.scopes.intersects(scopes)).collect();
    rig.link(Event::Topics(served.iter().map(|(t, _)| t.clone()).collect::<Vec<_>>().into()));
    for _ in 0..40 {
        rig.wait(Duration::from_millis(100));
        for (topic, value) in &served {
            rig.sample(topic, value);
        }
    }
    snap("drive_failover", &mut rig);
}

#[test]
fn drive_all_down() {
    let mut rig = Rig::running();
    rig.link(Event::Endpoints(endpoints(None).into()));
    rig.link(Event::Failover(failover(Some(0), None, FailoverCause::AllDown, None)));
    rig.wait(Duration::from_secs(72));
    snap("drive_all_down", &mut rig);
}

#[test]
fn drive_emergency_stop() {
    let mut rig = Rig::running();
    rig.sample(&topic("/emergency_stop", "std_msgs/msg/Bool"), &json!({"data": true}));
    rig.sample(&topic("/safety/boundary_violation", "std_msgs/msg/Bool"), &json!({"data": true}));
    rig.wait(Duration::from_millis(400));
    snap("drive_emergency_stop", &mut rig);
}

#[test]
fn drive_invalid() {
    let mut rig = Rig::running();
    rig.sample(&topic("/gps/fix", "sensor_msgs/msg/NavSatFix"), &json!({"status": {"status": -1}}));
    rig.raw(&topic("/odom", "nav_msgs/msg/Odometry"), vec![0, 1, 0, 0, 9]);
    snap("drive_invalid", &mut rig);
}

#[test]
fn links_screen() {
    snap("links_fresh", Rig::running().keys("3"));
    let mut rig = Rig::running();
    rig.link(Event::Endpoints(endpoints(Some(1)).into()));
    rig.link(Event::Failover(failover(Some(0), Some(1), FailoverCause::Silent, Some(412))));
    snap("links_failover", rig.keys("3"));
}

#[test]
fn topics_screen() {
    let mut rig = Rig::running();
    rig.keys("5").key(KeyCode::End);
    rig.keys("kkkkkkkkk").wait(Duration::from_millis(300));
    snap("topics", &mut rig);
    rig.keys("\njjj").wait(Duration::from_millis(300));
    snap("topics_fields", &mut rig);
    rig.keys("\u{1b}/mfl").wait(Duration::from_millis(300));
    snap("topics_filter", &mut rig);
}

#[test]
fn overlays() {
    snap("help", Rig::running().keys("?"));
    snap("confirm_release", Rig::running().keys("R"));
}

#[test]
fn light_theme() {
    let rig = &mut Rig::running();
    rig.send(Msg::Key(KeyEvent::new(KeyCode::Char('t'), KeyModifiers::CONTROL)));
    assert_eq!(support::draw(&rig.model, 80, 24)[(0, 5)].style().bg, support::themes()[1].screen.bg);
}
