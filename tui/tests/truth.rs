//! Truth of the screen at every size: the stop, the links, and the age of values.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::time::Duration;

use roverline_client::{Event, FailoverCause, LinkSample, LinkState};
use roverline_protocol::{Guid, SampleId};
use roverline_tui::model::quality::Quality;
use roverline_tui::update::Msg;
use serde_json::json;
use support::{Rig, endpoints, failover, topic};

#[test]
fn an_unheard_stop_stands_first_on_every_screen_and_size() {
    let mut rig = Rig::running();
    rig.link(Event::Endpoints(endpoints(None).into()));
    rig.link(Event::Failover(failover(Some(0), None, FailoverCause::AllDown, None)));
    rig.send(Msg::StopSent { id: "a".into(), engage: true });
    for keys in ["1", "2", "3", "4", "5", "6", "7", "8", "?", "\u{1b}R"] {
        rig.keys(keys);
        for (columns, lines) in [(80, 24), (160, 50), (60, 20)] {
            let screen = support::text(&support::draw(&rig.model, columns, lines));
            let second = screen.lines().nth(1).unwrap();
            assert!(second.contains("not yet heard by the rover"), "{keys} {columns}×{lines}\n{screen}");
        }
        let screen = support::text(&support::draw(&rig.model, 40, 8));
        assert!(screen.lines().nth(1).unwrap().contains("RED BUTTON"), "{screen}");
    }
    // However long it takes.
    rig.keys("\u{1b}1").wait(Duration::from_secs(600));
    let screen = support::text(&support::draw(&rig.model, 80, 24));
    assert!(screen.contains("not yet heard by the rover: use the red button"), "{screen}");
}

#[test]
fn the_smallest_screen_says_that_a_stop_was_accepted() {
    let mut rig = Rig::running();
    let first_line =
        |rig: &Rig| support::text(&support::draw(&rig.model, 30, 6)).lines().next().unwrap().to_owned();
    rig.send(Msg::StopSent { id: "a".into(), engage: true });
    assert!(first_line(&rig).contains("RED BUTTON"), "{}", first_line(&rig));
    rig.link(Event::Command { id: "a".into(), accepted: true, message: "emergency stop engaged".into() });
    assert!(first_line(&rig).contains("✓ stop accepted"), "{}", first_line(&rig));
}

#[test]
fn the_radio_is_not_blamed_when_every_address_refuses() {
    let mut rig = Rig::running();
    let says = |rig: &Rig, (columns, lines): (u16, u16), text: &str| {
        let screen = support::text(&support::draw(&rig.model, columns, lines));
        assert!(screen.contains(text), "{text} not in\n{screen}");
    };
    rig.link(Event::Endpoints(endpoints(None).into()));
    rig.link(Event::Failover(failover(Some(0), None, FailoverCause::AllDown, None)));
    for size in [(60, 20), (80, 24), (160, 50)] {
        says(&rig, size, "is the gateway running?");
        assert!(!support::text(&support::draw(&rig.model, size.0, size.1)).contains("radio?"));
    }
    let mut views = endpoints(None);
    views[2].last_error = Some("no answer while connecting".to_owned());
    rig.link(Event::Endpoints(views.into()));
    says(&rig, (60, 20), "is it the radio?");
}

#[test]
fn the_radio_is_not_blamed_when_all_slots_are_taken() {
    for opened in [None, Some(FailoverCause::Full), Some(FailoverCause::AllDown)] {
        let mut rig = Rig::running();
        let mut views = endpoints(None);
        for view in &mut views {
            (view.full, view.last_error) = (true, Some("all slots are taken".to_owned()));
        }
        rig.link(Event::Endpoints(views.clone().into()));
        if let Some(cause) = opened {
            rig.link(Event::Failover(failover(Some(0), None, cause, None)));
        }
        for size in [(60, 20), (80, 24), (160, 50)] {
            let screen = support::text(&support::draw(&rig.model, size.0, size.1));
            assert!(
                screen.contains("✗ all endpoints are full") && !screen.contains("the radio?"),
                "{screen}"
            );
        }
        views[3].full = false;
        rig.link(Event::Endpoints(views.into()));
        let screen = support::text(&support::draw(&rig.model, 60, 20));
        assert!(screen.contains("✗ 3 of 4 endpoints are full, the others down"), "{screen}");
    }
}

#[test]
fn an_accepted_stop_stays_on_the_screen_without_telemetry() {
    let mut rig = Rig::new();
    rig.link(Event::Endpoints(endpoints(None).into()));
    rig.send(Msg::StopSent { id: "a".into(), engage: true });
    let message = "emergency stop engaged".to_owned();
    rig.link(Event::Command { id: "a".into(), accepted: true, message });
    for minutes in [0, 1, 60] {
        rig.wait(Duration::from_secs(60 * minutes));
        for size in [(60, 20), (80, 24), (40, 8)] {
            let screen = support::text(&support::draw(&rig.model, size.0, size.1));
            assert!(screen.contains("stop accepted"), "{minutes} min\n{screen}");
        }
    }
}

#[test]
fn an_endpoint_that_may_still_answer_is_not_called_down() {
    let mut rig = Rig::new();
    let mut views = endpoints(None);
    for view in &mut views {
        (view.state, view.failures) = (LinkState::Connecting, 0);
    }
    views[0].full = true;
    rig.link(Event::Endpoints(views.clone().into()));
    let screen = support::text(&support::draw(&rig.model, 80, 24));
    assert!(!screen.contains("full"), "{screen}");
    for view in &mut views {
        view.failures = 2;
    }
    rig.link(Event::Endpoints(views.into()));
    let screen = support::text(&support::draw(&rig.model, 80, 24));
    assert!(screen.contains("✗ 1 of 4 endpoints are full, the others down"), "{screen}");
}

#[test]
fn dead_endpoints_are_shown_as_long_as_they_are_dead() {
    let mut rig = Rig::running();
    rig.link(Event::Failover(failover(Some(0), Some(3), FailoverCause::Closed, Some(36))));
    for _ in 0..600 {
        rig.link(Event::Endpoints(endpoints(Some(3)).into())).wait(Duration::from_secs(1));
    }
    for keys in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        rig.keys(keys);
        let screen = support::text(&support::draw(&rig.model, 60, 20));
        assert!(screen.contains("✗✗✗▶ emergency"), "{screen}");
    }
    rig.link(Event::Endpoints(endpoints(Some(0)).into()));
    assert!(!support::text(&support::draw(&rig.model, 80, 24)).contains("✗"));
}

#[test]
fn what_to_do_survives_at_every_width() {
    let mut unheard = Rig::running();
    unheard.send(Msg::StopSent { id: "a".into(), engage: true }).wait(Duration::from_secs(5));
    let mut refused = Rig::running();
    refused.send(Msg::StopSent { id: "a".into(), engage: true });
    let message = "you may look, and only an operator may stop the rover here, says the gateway";
    refused.link(Event::Command { id: "a".into(), accepted: false, message: message.into() });
    for rig in [&unheard, &refused] {
        for (lines, columns) in (12..200).flat_map(|columns| [(8, columns), (24, columns)]) {
            let screen = support::text(&support::draw(&rig.model, columns, lines));
            let line = if columns < 40 { 0 } else { 1 };
            let line = screen.lines().nth(line).unwrap().to_lowercase();
            assert!(line.contains("red button"), "{columns}×{lines}\n{screen}");
        }
    }
}

#[test]
fn a_stop_whose_topic_is_stale_is_unknown_on_a_living_link_too() {
    let mut rig = Rig::running();
    rig.sample(&topic("/emergency_stop", "std_msgs/msg/Bool"), &json!({"data": true}));
    for _ in 0..150 {
        rig.wait(Duration::from_millis(200));
        rig.sample(&topic("/imu/data", "sensor_msgs/msg/Imu"), &json!({}));
    }
    let screen = support::text(&support::draw(&rig.model, 80, 24));
    let line = screen.lines().nth(1).unwrap();
    assert!(line.contains("■ emergency stop unknown since 14:03:36, it was engaged"), "{screen}");
}

#[test]
fn a_recording_is_as_fresh_as_it_is_played() {
    let mut rig = Rig::new();
    let mut views = endpoints(Some(0));
    views[0].clock_offset_s = Some(0.0);
    rig.link(Event::Endpoints(views.into()));
    rig.link(Event::Failover(failover(None, Some(0), FailoverCause::First, None)));
    let battery = topic("/battery_state", "sensor_msgs/msg/BatteryState");
    let year_ns = 365 * 86_400 * 1_000_000_000_i64;
    rig.sample_from(&battery, &json!({"percentage": 0.5}), rig.model.now.wall_ns - year_ns);
    let reading = rig.model.rover.battery.as_ref().unwrap();
    assert_eq!(reading.quality(&rig.model.topics, rig.model.now), Quality::Fresh);
    assert_eq!(rig.model.topics.rows["/battery_state"].quality(rig.model.now), Quality::Fresh);
}

/// After attaching, the screen shows retained values first and live samples later.
#[test]
fn a_kept_value_of_a_recording_is_as_old_as_in_the_recording() {
    let mut rig = Rig::new();
    let mut views = endpoints(Some(0));
    views[0].clock_offset_s = Some(0.0);
    rig.link(Event::Endpoints(views.into()));
    rig.link(Event::Failover(failover(None, Some(0), FailoverCause::First, None)));
    let battery = topic("/battery_state", "sensor_msgs/msg/BatteryState");
    let temperature = topic("/motor/temperature", "sensor_msgs/msg/Temperature");
    let imu = topic("/imu/data", "sensor_msgs/msg/Imu");
    let second_ns = 1_000_000_000;
    let recorded_ns = rig.model.now.wall_ns - 365 * 86_400 * second_ns;
    rig.stored_from(&battery, &json!({"percentage": 0.5}), recorded_ns - second_ns);
    rig.stored_from(&temperature, &json!({"temperature": 40.0}), recorded_ns - 600 * second_ns);
    rig.sample_from(&imu, &json!({}), recorded_ns);
    let quality = |rig: &Rig, topic: &str| rig.model.topics.rows[topic].quality(rig.model.now);
    assert_eq!(quality(&rig, "/battery_state"), Quality::Fresh, "its age in the recording is a second");
    let reading = rig.model.rover.battery.as_ref().unwrap();
    assert_eq!(reading.quality(&rig.model.topics, rig.model.now), Quality::Fresh);
    assert_eq!(quality(&rig, "/motor/temperature"), Quality::Stale, "ten minutes old");
    // One that comes later, as after a failover.
    rig.stored_from(&battery, &json!({"percentage": 0.4}), recorded_ns - second_ns);
    assert_eq!(quality(&rig, "/battery_state"), Quality::Fresh);
}

#[test]
fn a_topic_that_was_not_asked_for_is_not_missing() {
    let mut rig = Rig::running();
    let mut infos: Vec<_> = support::messages().into_iter().map(|(topic, _)| topic).collect();
    infos.push(topic("/camera/image", "sensor_msgs/msg/Image"));
    infos.push(topic("/arm/angle", "std_msgs/msg/Float64"));
    rig.link(Event::Topics(infos.into())).keys("5");
    let screen = support::text(&support::draw(&rig.model, 100, 40));
    let line = |name: &str| screen.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("/camera/image").contains("not asked"), "{screen}");
    assert!(line("/arm/angle").contains("never"), "{screen}");
}

#[test]
fn without_a_link_the_state_of_the_stop_is_unknown() {
    let mut rig = Rig::running();
    rig.sample(&topic("/emergency_stop", "std_msgs/msg/Bool"), &json!({"data": false}));
    rig.link(Event::Endpoints(endpoints(None).into()));
    rig.link(Event::Failover(failover(Some(0), None, FailoverCause::AllDown, None)));
    let screen = support::text(&support::draw(&rig.model, 80, 24));
    assert!(screen.contains("emergency stop unknown since"), "{screen}");
    assert!(screen.contains("it was released"), "{screen}");
}

#[test]
fn what_became_of_a_stop_is_shown() {
    let mut rig = Rig::running();
    rig.send(Msg::StopSent { id: "a".into(), engage: true });
    let says = |rig: &Rig, text: &str| {
        let screen = support::text(&support::draw(&rig.model, 80, 24));
        assert!(screen.contains(text), "{text} not in\n{screen}");
    };
    says(&rig, "stop sent, waiting");
    rig.wait(Duration::from_secs(3));
    says(&rig, "not yet heard by the rover: use the red button");
    let answer = |id: &str, accepted, message: &str| Event::Command {
        id: id.into(),
        accepted,
        message: message.into(),
    };
    rig.link(answer("other", true, "not ours"));
    says(&rig, "not yet heard");
    rig.link(answer("a", false, "only operators may"));
    says(&rig, "stop REFUSED, use the red button: only operators may");
    rig.link(answer("a", true, "engaged"));
    rig.link(answer("a", false, "late refusal of another endpoint"));
    rig.link(answer("a", true, "already done"));
    says(&rig, "stop accepted: engaged");
    rig.wait(Duration::from_secs(9));
    assert!(!support::text(&support::draw(&rig.model, 80, 24)).contains("accepted: engaged"));
    // The telemetry has stopped as well.
    says(&rig, "the rover's state has not been received since");
}

#[test]
fn stored_values_are_as_old_as_the_gateway_says() {
    let mut rig = Rig::new();
    let mut views = endpoints(Some(0));
    views[0].clock_offset_s = Some(100.0);
    rig.link(Event::Endpoints(views.into()));
    let status = topic("/mission/status", "std_msgs/msg/String");
    let sample = LinkSample {
        topic: std::sync::Arc::new(status),
        id: SampleId { source: Guid::default(), seq: 1 },
        stored: true,
        replayed: false,
        traced: false,
        receipt: None,
        late: false,
        source_time_ns: 0,
        receive_time_ns: rig.model.now.wall_ns + 100_000_000_000 - 42_000_000_000,
        payload: vec![0, 1, 0, 0, 2, 0, 0, 0, b'a', 0].into(),
    };
    rig.link(Event::Sample(sample));
    let reading = rig.model.rover.mission_status.as_ref().unwrap();
    assert_eq!(rig.model.now.since(reading.at), Duration::from_secs(42));
    assert_eq!(reading.quality(&rig.model.topics, rig.model.now), Quality::Stale);
}

#[test]
fn a_late_sample_does_not_replace_a_newer_value() {
    let mut rig = Rig::new();
    let status = topic("/mission/status", "std_msgs/msg/String");
    let sample = |text: u8, late| {
        Event::Sample(LinkSample {
            topic: std::sync::Arc::new(status.clone()),
            id: SampleId { source: Guid::default(), seq: if late { 6 } else { 7 } },
            stored: false,
            replayed: late,
            late,
            source_time_ns: 0,
            receive_time_ns: 0,
            traced: false,
            receipt: None,
            payload: vec![0, 1, 0, 0, 2, 0, 0, 0, text, 0].into(),
        })
    };
    rig.link(sample(b'm', false)).link(sample(b'a', true));
    assert_eq!(rig.model.rover.mission_status.as_ref().unwrap().value, "m");
    assert_eq!(
        rig.model.topics.rows["/mission/status"].latest.as_ref().map(|payload| payload[8]),
        Some(b'm')
    );
}

#[test]
fn a_latched_value_holds_while_somebody_vouches_for_it() {
    let mut rig = Rig::new();
    rig.link(Event::Endpoints(endpoints(Some(0)).into()));
    rig.link(Event::Failover(failover(None, Some(0), FailoverCause::First, None)));
    let mut name = topic("/mission/name", "std_msgs/msg/String");
    name.latched = true;
    rig.link(Event::Topics(vec![name.clone()].into()));
    rig.sample(&name, &json!({"data": "x"}));
    let quality = |rig: &Rig| {
        let reading = rig.model.rover.mission_name.as_ref().unwrap();
        reading.quality(&rig.model.topics, rig.model.now)
    };
    rig.wait(Duration::from_secs(600));
    assert_eq!(quality(&rig), Quality::Fresh);
    rig.link(Event::Failover(failover(Some(0), None, FailoverCause::AllDown, None)));
    rig.wait(Duration::from_secs(60));
    assert_eq!(quality(&rig), Quality::Stale);
}
