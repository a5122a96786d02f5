//! Tests that each fault has its effect during its time, and no longer.

use crate::sim::tests::*;

#[test]
fn gps_loss() {
    let messages = record(&mut rover(1, &["gps-loss@2s+3s"], &[]), 8.0);
    let lost = |t: f64| (2.0..5.0).contains(&t);
    for (t, status) in numbers(&messages, "/gps/fix", "status.status") {
        assert_eq!(status, if lost(t) { -1.0 } else { 0.0 }, "{t}");
    }
    for (t, kind) in numbers(&messages, "/gps/fix", "position_covariance_type") {
        assert_eq!(kind, if lost(t) { 0.0 } else { 2.0 }, "{t}");
    }
    for (t, latitude) in numbers(&messages, "/gps/fix", "latitude") {
        assert_eq!(latitude.is_nan(), lost(t), "{t}");
    }
}

#[test]
fn imu_loss() {
    let messages = record(&mut rover(1, &["imu-loss@2s-5s"], &[]), 8.0);
    let stamps = numbers(&messages, "/imu/data", "orientation.w");
    assert_eq!(stamps.len(), 500);
    assert!(stamps.iter().all(|(t, _)| !(2.0..5.0).contains(t)));
    let seqs: Vec<u64> =
        messages.iter().filter(|m| m.topic == index("/imu/data")).map(|m| m.id.seq).collect();
    assert_eq!(seqs, (1..=500).collect::<Vec<u64>>(), "what was never sent has no number");
}

#[test]
fn motor_overheat() {
    let messages = record(&mut rover(1, &["motor-overheat@10s"], &[]), 60.0);
    let hot = numbers(&messages, "/motor/middle_left/temperature", "temperature");
    assert!(hot.iter().all(|(t, v)| *t > 10.0 || *v < 40.0));
    assert!(hot.iter().any(|(t, v)| *t < 40.0 && *v > 85.0), "{hot:?}");
    let well = numbers(&messages, "/motor/middle_right/temperature", "temperature");
    assert!(well.iter().all(|(_, v)| *v < 50.0));
    assert_eq!(level(&messages, "drive: middle_left motor"), 2);
    assert_eq!(level(&messages, "drive: middle_right motor"), 0);
}

#[test]
fn battery_drop() {
    let messages = record(&mut rover(1, &["battery-drop@10s"], &[]), 70.0);
    let charge = numbers(&messages, "/battery_state", "percentage");
    assert!(charge.windows(2).all(|w| w[1].1 < w[0].1));
    let at = |s: f64| charge.iter().find(|(t, _)| *t >= s).unwrap().1;
    assert!(at(9.0) > 0.97 && at(20.0) < 0.82 && at(65.0) < 0.06, "{charge:?}");
    assert_eq!(level(&messages, "power: battery"), 2);
}

#[test]
fn boundary() {
    for seed in 0..10 {
        for start_s in [1, 100, 333] {
            let fault = format!("boundary@{start_s}s+60s");
            let mut rover = rover(seed, &[&fault], &[]);
            rover.select(|name, _| name == "/safety/boundary_violation");
            rover.advance_to(start_s * 100);
            let messages = record(&mut rover, (start_s + 140) as f64);
            let outside = flags(&messages, "/safety/boundary_violation");
            let since = outside.iter().find(|(_, out)| *out).map(|(t, _)| t - start_s as f64).unwrap();
            assert!(since < 15.0, "{since}");
            assert!(
                outside
                    .iter()
                    .filter(|(t, _)| *t > start_s as f64 + 15.0)
                    .take_while(|(t, _)| *t < start_s as f64 + 60.0)
                    .all(|(_, out)| *out)
            );
            assert!(!outside[outside.len() - 1].1, "it comes back");
        }
    }
}

#[test]
fn node_death() {
    let mut rover = rover(1, &["node-death@5s-15s"], &[]);
    let messages = record(&mut rover, 14.0);
    let last = |messages: &[SimMessage], node: &str| {
        let stamps = numbers(messages, &format!("/heartbeat/{node}"), "stamp.sec");
        stamps[stamps.len() - 1].0
    };
    assert!(last(&messages, "arm") < 5.0 && last(&messages, "drive") > 12.0);
    assert_eq!(level(&messages, "node: arm"), 3);
    assert_eq!(level(&messages, "node: drive"), 0);
    assert!(!rover.nodes_complete());
    let messages = record(&mut rover, 20.0);
    assert!(last(&messages, "arm") > 18.0 && rover.nodes_complete());
    assert_eq!(level(&messages, "node: arm"), 0);
}

#[test]
fn comms_silence() {
    let messages = record(&mut rover(1, &["comms-silence@3s+2s", "estop@4s"], &[]), 8.0);
    assert!(messages.iter().all(|m| !(3_000_000_000..5_000_000_000).contains(&(m.stamp_ns - EPOCH_NS))));
    // A change during the silence is published right after it.
    let first = flags(&messages, "/emergency_stop").into_iter().find(|(t, _)| *t >= 5.0);
    assert_eq!(first, Some((5.0, true)));
}

#[test]
fn latched_topics_are_published_after_an_initial_silence() {
    let mut rover = rover(1, &["comms-silence@0s+1s"], &[]);
    assert!(record(&mut rover, 1.0).is_empty());
    let messages = record(&mut rover, 1.1);
    assert!(messages.iter().any(|m| m.topic == index("/tf_static")));
}

#[test]
fn estop_ends_with_its_fault_or_stays() {
    let messages = record(&mut rover(1, &["estop@5s+5s"], &[]), 15.0);
    for (t, engaged) in flags(&messages, "/emergency_stop") {
        assert_eq!(engaged, (5.0..10.0).contains(&t), "{t}");
    }
    let messages = record(&mut rover(1, &["estop@5s"], &[]), 60.0);
    assert!(flags(&messages, "/emergency_stop").iter().all(|(t, engaged)| *engaged == (*t >= 5.0)));
}

#[test]
fn an_emergency_stop_halts_within_half_a_second_and_latches() {
    // Also at the highest possible speed: when the rover runs away.
    for faults in [&[][..], &["boundary@5s"][..]] {
        let inputs = [Input::emergency_stop(1_303, true), Input::emergency_stop(4_000, false)];
        let mut rover = rover(9, faults, &inputs);
        rover.advance_to(1_303);
        assert!(rover.state().drive.twist.linear > 0.5);
        let messages = record(&mut rover, 50.0);
        for (t, speed) in numbers(&messages, "/odom", "twist.twist.linear.x") {
            assert!(speed == 0.0 || !(13.53..40.0).contains(&t), "{speed} m/s at {t} s");
        }
        let engaged = flags(&messages, "/emergency_stop");
        assert_eq!(engaged[0], (13.03, true), "published at once");
        assert!(engaged.iter().all(|(t, engaged)| *engaged == (*t < 40.0)));
        for (t, text) in series(&messages, "/mission/status", "data") {
            assert_eq!(text.as_str() == Some("Emergency stop"), t < 40.0, "{t}");
        }
        for (t, command) in numbers(&messages, "/cmd_vel", "linear.x") {
            assert!(command == 0.0 || t >= 40.0);
        }
        let red = numbers(&messages, "/led/state", "r");
        let flashes = red.windows(2).filter(|w| w[1].0 < 40.0 && w[0].1 != w[1].1).count();
        assert!((50..60).contains(&flashes), "{flashes}");
        assert!(rover.state().drive.twist.linear != 0.0, "released, it drives on");
    }
}

/// The level of an entry in the last diagnostics.
fn level(messages: &[SimMessage], name: &str) -> i128 {
    let last = messages.iter().rfind(|m| m.topic == index("/diagnostics")).unwrap();
    let value = decode(last);
    let entries = value.get("status").and_then(|s| s.as_array()).unwrap();
    let entry = entries.iter().find(|e| e.get("name").and_then(|n| n.as_str()) == Some(name));
    entry.and_then(|e| e.get("level")).and_then(|l| l.as_i128()).unwrap()
}
