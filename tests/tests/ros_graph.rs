//! Live ROS 2 from CycloneDDS on one side to the `websockets` library on the other: nothing in
//! between but the gateway. Needs `scripts/setup-clients`.
//!
//! The figure over half a minute comes from the ignored test:
//! `cargo test -p roverline-tests --release --test ros_graph -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::process::Guard;
use roverline_tests::python::{Script, python};
use roverline_tests::scratch::Scratch;

/// A ROS domain that no other run uses, most likely.
/// No two tests of this process share one: each would hear the other's robot.
fn domain() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    (100 + (std::process::id() * 7 + NEXT.fetch_add(1, Ordering::Relaxed)) % 100).to_string()
}

/// What the publisher publishes.
const PUBLISHED: [&str; 5] = ["/battery_state", "/camera/image", "/gps/fix", "/imu/data", "/tf_static"];

fn in_scope(tier: Tier) -> BTreeSet<&'static str> {
    match tier {
        Tier::Primary => PUBLISHED.into(),
        Tier::Secondary => BTreeSet::new(),
        Tier::Tertiary | Tier::Emergency => ["/battery_state", "/gps/fix", "/tf_static"].into(),
    }
}

fn listen(python: &Path, url: &str, args: &[&str]) -> Script {
    let all: Vec<&str> = [url].into_iter().chain(args.iter().copied()).collect();
    let mut script = Script::start(python, "ws_client.py", &all);
    assert_eq!(script.line()["ready"], true);
    script
}

/// Publishes for so long, listens on all four ports, checks everything that must be complete.
fn from_dds_to_websockets(seconds: u64) {
    let Some(python) = python() else { return };
    let domain = domain();
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", &domain]);
    let urls = gateway.urls();
    let most = (seconds + 30).to_string();
    let ears: Vec<Script> = urls.iter().map(|url| listen(&python, url, &["--seconds", &most])).collect();
    let publish = ["--domain", &domain, "--wait", "15", "--seconds", &seconds.to_string()];
    let robot = Script::start(&python, "dds_publisher.py", &publish);
    let half = Duration::from_secs(seconds) / 2;
    // One who comes in the middle; how far exactly does not matter.
    std::thread::sleep(half + Duration::from_secs(1));
    let late = listen(&python, &urls[Tier::Tertiary as usize], &["--seconds", "3", "/tf_static"]);
    let judge = listen(&python, &urls[Tier::Emergency as usize], &["--seconds", "1.5", "--plain"]);
    let patience = Duration::from_secs(seconds + 40);

    let late = late.finish(patience);
    assert_eq!(
        (&late["topics"]["/tf_static"]["count"], &late["topics"]["/tf_static"]["stored"]),
        (&1.into(), &1.into())
    );
    let judge = judge.finish(patience);
    let sees = |key: &str| judge["keys"].as_array().unwrap().iter().any(|seen| seen == key);
    assert!(sees("gps_position") && sees("battery_level") && !sees("imu_data"), "{judge}");
    assert_eq!(judge["kinds"]["initial"], 1, "{judge}");

    let published = robot.finish(patience)["published"].clone();
    for ((tier, _), ear) in gateway.endpoints.iter().zip(ears) {
        // Out of scope means silence to the end: such an ear listens for long, and is let go.
        if in_scope(*tier).is_empty() {
            continue;
        }
        let heard = ear.finish(patience);
        let topics = heard["topics"].as_object().unwrap();
        // The endpoints' own diagnostics are in the graph as well.
        let of_robot = |name: &&str| *name != "/diagnostics";
        let names: BTreeSet<&str> = topics.keys().map(String::as_str).filter(of_robot).collect();
        assert_eq!(names, in_scope(*tier), "{tier}");
        let count = |topic: &str| heard["topics"][topic]["count"].as_u64().unwrap();
        for topic in names {
            println!("{tier} {topic}: {} of {}", count(topic), published[topic]);
        }
        assert_eq!(heard["topics"]["/tf_static"]["count"], 1, "{tier}");
        if *tier == Tier::Primary {
            assert_eq!(heard["topics"]["/imu/data"]["count"], published["/imu/data"], "{heard}");
            assert_eq!(heard["topics"]["/imu/data"]["gaps"], 0, "{heard}");
        }
    }
    let status = roverline_tests::http::status(gateway.port(Tier::Secondary));
    assert!(status.topics.iter().all(|topic| !PUBLISHED.contains(&topic.name.as_str())), "{status:?}");
}

#[test]
fn every_port_has_its_scope_and_loses_nothing() {
    from_dds_to_websockets(5);
}

#[test]
#[ignore = "takes half a minute and wants a quiet machine"]
fn half_a_minute_of_imu_is_complete() {
    from_dds_to_websockets(30);
}

#[test]
fn the_built_in_rover_is_a_robot_in_the_graph() {
    let Some(python) = python() else { return };
    let (domain, state) = (domain(), Scratch::new());
    let mut command = gateway::command(&["sim", "--dds", "--domain-id", &domain, "--state"]);
    let _rover = Guard(command.arg(state.path()).stdout(Stdio::null()).spawn().unwrap());
    let ear = Script::start(
        &python,
        "dds_subscriber.py",
        &[
            "--domain",
            &domain,
            "--seconds",
            "25",
            "--until",
            "3",
            "/imu/data=sensor_msgs/msg/Imu:besteffort",
            "/gps/fix=sensor_msgs/msg/NavSatFix:besteffort",
            "/battery_state=sensor_msgs/msg/BatteryState",
            "/safety/boundary_violation=std_msgs/msg/Bool:latched",
            "/mission/status=std_msgs/msg/String:latched",
        ],
    );
    let received = ear.finish(Duration::from_secs(40))["received"].clone();
    for (topic, entry) in received.as_object().unwrap() {
        assert!(entry["count"].as_u64() >= Some(3), "{topic}: {received}");
    }
}
