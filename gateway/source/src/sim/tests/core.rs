//! Tests of reproducibility, message rates, decodable messages and plausible driving.

use crate::sim::tests::*;
use crate::sim::ticks::SORTIE_TICKS;

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let faults = ["gps-loss@20s+5s", "node-death@30s"];
    let inputs = [Input::emergency_stop(4_000, true), Input::emergency_stop(4_500, false)];
    let first = record(&mut rover(7, &faults, &inputs), 60.0);
    assert_eq!(first, record(&mut rover(7, &faults, &inputs), 60.0));
    let other = record(&mut rover(8, &faults, &inputs), 60.0);
    let imu = index("/imu/data");
    assert_ne!(
        first.iter().find(|m| m.topic == imu).map(|m| (&m.payload, m.id)),
        other.iter().find(|m| m.topic == imu).map(|m| (&m.payload, m.id)),
    );
}

#[test]
fn topics_have_their_rates() {
    let mut rover = rover(1, &[], &[]);
    record(&mut rover, 20.0);
    let messages = record(&mut rover, 30.0);
    let count = |name: &str| messages.iter().filter(|m| m.topic == index(name)).count();
    let table = [
        ("/imu/data", 1_000),
        ("/odom", 500),
        ("/tf", 500),
        ("/tf_static", 0),
        ("/joint_states", 200),
        ("/gps/fix", 100),
        ("/scan", 100),
        ("/cmd_vel", 100),
        ("/camera/front/compressed", 50),
        ("/battery_state", 10),
        ("/motor/front_left/temperature", 10),
        ("/motor/rear_right/temperature", 10),
        ("/diagnostics", 10),
        ("/heartbeat/drive", 10),
        ("/heartbeat/arm", 10),
        ("/mission/name", 2),
        ("/mission/status", 10),
        ("/mission/samples_collected", 10),
        ("/mission/time", 10),
        ("/autonomy/mode", 10),
        ("/autonomy/enabled", 10),
        ("/led/state", 10),
        ("/emergency_stop", 10),
        ("/safety/boundary_violation", 20),
    ];
    for (name, expected) in table {
        assert_eq!(count(name), expected, "{name}");
    }
}

#[test]
fn every_message_decodes_completely_with_the_ticks_stamp() {
    let mut seen = vec![0; topics().len()];
    let mut rover = rover(3, &["gps-loss@5s", "boundary@8s", "node-death@2s", "battery-drop@1s"], &[]);
    for message in record(&mut rover, 40.0) {
        let value = decode(&message);
        let type_name = topics::TABLE[message.topic].type_name;
        let again = REGISTRY.plan(type_name).unwrap().encode(&value).unwrap();
        assert_eq!(again, message.payload, "{type_name}");
        let stamp = value.get("header.stamp").or_else(|| value.get("stamp"));
        if let Some(stamp) = stamp {
            let part = |name| i64::try_from(stamp.get(name).unwrap().as_i128().unwrap()).unwrap();
            assert_eq!(part("sec") * 1_000_000_000 + part("nanosec"), message.stamp_ns);
        }
        seen[message.topic] += 1;
        assert_eq!(message.id.seq, seen[message.topic], "{type_name}");
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}

#[test]
fn unselected_messages_are_still_counted() {
    let mut narrow = rover(3, &[], &[]);
    narrow.select(|name, _| name == "/odom");
    let odometry = record(&mut narrow, 10.0);
    assert_eq!(odometry.len(), 500);
    assert!(odometry.iter().all(|m| m.topic == index("/odom")));
    narrow.select(|_, _| true);
    let mut wide = rover(3, &[], &[]);
    record(&mut wide, 10.0);
    assert_eq!(record(&mut narrow, 15.0), record(&mut wide, 15.0));
}

#[test]
fn all_latched_topics_have_a_message_at_once() {
    let mut rover = rover(1, &[], &[]);
    rover.advance();
    let names: Vec<&str> = rover.latched().map(|m| topics::TABLE[m.topic].name.as_str()).collect();
    let expected: Vec<TopicDecl> = topics().into_iter().filter(|t| t.qos.transient_local).collect();
    assert_eq!(names, expected.iter().map(|t| t.name.as_str()).collect::<Vec<_>>());
    assert!(names.contains(&"/tf_static") && names.contains(&"/emergency_stop"));
}

#[test]
fn catching_up_equals_stepping() {
    let inputs = [Input::emergency_stop(12_000, true), Input::emergency_stop(13_000, false)];
    let mut stepped = rover(5, &["imu-loss@30s+10s"], &inputs);
    record(&mut stepped, 300.0);
    let mut jumped = rover(5, &["imu-loss@30s+10s"], &inputs);
    jumped.advance_to(30_000);
    assert!(stepped.latched().eq(jumped.latched()));
    assert_eq!(record(&mut stepped, 310.0), record(&mut jumped, 310.0));
}

#[test]
fn a_later_sortie_does_not_depend_on_earlier_ones() {
    let inputs = [Input::emergency_stop(SORTIE_TICKS - 500, true)];
    let mut stepped = rover(2, &[], &inputs);
    while stepped.next_tick() < SORTIE_TICKS + 3_000 {
        stepped.advance();
    }
    let mut joined = rover(2, &[], &inputs);
    joined.advance_to(SORTIE_TICKS + 3_000);
    assert!(stepped.latched().eq(joined.latched()));
    let until_s = (SORTIE_TICKS + 3_100) as f64 / 100.0;
    let messages = record(&mut stepped, until_s);
    assert_eq!(messages, record(&mut joined, until_s));
    // An emergency stop outlasts the sortie; counting restarts under other identities.
    assert!(stepped.state().emergency);
    assert_eq!(messages[0].id.seq, 3_001);
    let first_sortie = record(&mut rover(2, &[], &[]), 0.01);
    assert_ne!(messages[0].id.source, first_sortie[0].id.source);
}

#[test]
fn it_drives_its_loop_for_a_whole_sortie() {
    let mut rover = rover(11, &[], &[]);
    let (mut charge, mut farthest, mut fastest) = (1.0, 0.0_f64, 0.0_f64);
    let (mut modes, mut most_samples) = (Vec::new(), 0);
    let mut worn = 0.0;
    while rover.next_tick() < SORTIE_TICKS {
        rover.advance();
        let state = rover.state();
        assert!(state.power.charge <= charge);
        assert!(!state.is_outside(), "at tick {}: {:?}", state.tick, state.drive);
        charge = state.power.charge;
        farthest = farthest.max(state.drive.x.hypot(state.drive.y));
        fastest = fastest.max(state.drive.twist.linear.abs());
        most_samples = state.mission.samples;
        worn = state.power.motors[5] - state.power.motors[4];
        let mode = state.event_topics().mode;
        if modes.last() != Some(&mode) {
            modes.push(mode);
        }
    }
    assert!((0.1..0.5).contains(&charge), "{charge}");
    assert!((40.0..200.0).contains(&farthest) && (0.7..0.9).contains(&fastest), "{farthest} {fastest}");
    let driven = rover.state().drive.odometer_m;
    assert!((3_000.0..6_000.0).contains(&driven), "{driven}");
    assert!(most_samples > 20 && modes.len() > 15, "{most_samples} {}", modes.len());
    assert!(worn > 5.0, "{worn}");
}

#[test]
fn its_messages_are_consistent() {
    let mut rover = rover(4, &[], &[]);
    rover.select(|name, _| name != "/camera/front/compressed" && name != "/scan");
    let messages = record(&mut rover, 400.0);
    let lat = numbers(&messages, "/gps/fix", "latitude");
    let lon = numbers(&messages, "/gps/fix", "longitude");
    assert!(lat.iter().all(|(_, v)| (v - 38.4064).abs() < 0.002));
    assert!(lon.iter().all(|(_, v)| (v + 110.7919).abs() < 0.002));
    let speed = numbers(&messages, "/odom", "twist.twist.linear.x");
    let mean = speed.iter().map(|(_, v)| v).sum::<f64>() / speed.len() as f64;
    assert!((0.4..0.8).contains(&mean), "{mean}");
    // Odometry's pose moves at the speed that it reports.
    let x = numbers(&messages, "/odom", "pose.pose.position.x");
    let y = numbers(&messages, "/odom", "pose.pose.position.y");
    assert!(x[0].1.abs() < 0.01 && y[0].1.abs() < 0.01);
    for i in (50..x.len()).step_by(50) {
        let moved = (x[i].1 - x[i - 1].1).hypot(y[i].1 - y[i - 1].1) / 0.02;
        assert!((moved - speed[i].1.abs()).abs() < 0.05, "{moved} {:?}", speed[i]);
    }
    let gravity = numbers(&messages, "/imu/data", "linear_acceleration.z");
    let mean = gravity.iter().map(|(_, v)| v).sum::<f64>() / gravity.len() as f64;
    assert!((9.5..9.85).contains(&mean), "{mean}");
    let samples = numbers(&messages, "/mission/samples_collected", "data");
    assert!(samples.windows(2).all(|w| w[1].1 >= w[0].1) && samples[samples.len() - 1].1 >= 2.0);
    let modes: Vec<Value> = series(&messages, "/autonomy/mode", "data").into_iter().map(|(_, v)| v).collect();
    assert!(modes.iter().any(|m| m.as_str() == Some("teleop")));
    let green = numbers(&messages, "/led/state", "g");
    assert!(green.windows(2).filter(|w| w[1].1 > w[0].1).count() >= 5, "it flashes on arrival");
}

#[test]
fn an_operator_drives_in_teleop_only() {
    let drive_at = |tick: u64| {
        let commands: Vec<Input> = (0..20).map(|i| Input::command(tick + 10 * i, -0.5, 0.0)).collect();
        let mut rover = rover(4, &[], &commands);
        rover.advance_to(tick + 200);
        (rover.state().event_topics().mode, rover.state().drive.twist.linear)
    };
    let mut plain = rover(4, &[], &[]);
    while plain.state().event_topics().mode != route::Mode::Teleop {
        plain.advance();
    }
    let (mode, speed) = drive_at(plain.next_tick());
    assert_eq!(mode, route::Mode::Teleop);
    assert!((speed + 0.5).abs() < 1e-9, "{speed}");
    let (mode, speed) = drive_at(1_000);
    assert_eq!(mode, route::Mode::Autonomous);
    assert!(speed > 0.5, "{speed}");
}
