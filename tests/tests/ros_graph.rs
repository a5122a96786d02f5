//! Live ROS 2 from CycloneDDS on one side, the `websockets` library on the other, and only the gateway in
//! between. Needs `scripts/setup-clients`.
//!
//! The measurement over half a minute comes from the ignored test:
//! `cargo test -p roverline-tests --release --test ros_graph -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::clients::python;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http;
use roverline_tests::process::Guard;
use roverline_tests::require;
use roverline_tests::script::Script;
use roverline_tests::temp;
use roverline_tests::wait::{eventually, observe_for};
use serde_json::Value;

/// Deadline for what takes a moment on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A ROS domain that probably no other run uses. Tests of this process get different ones, or each would
/// receive the other's robot.
fn domain() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    (100 + (std::process::id() * 7 + NEXT.fetch_add(1, Ordering::Relaxed)) % 100).to_string()
}

/// The topics of the publisher.
const PUBLISHED: [&str; 5] = ["/battery_state", "/camera/image", "/gps/fix", "/imu/data", "/tf_static"];

fn in_scope(tier: Tier) -> BTreeSet<&'static str> {
    match tier {
        Tier::Primary => PUBLISHED.into(),
        Tier::Secondary => BTreeSet::new(),
        Tier::Tertiary | Tier::Emergency => ["/battery_state", "/gps/fix", "/tf_static"].into(),
    }
}

fn subscribe(python: &Path, url: &str, args: &[&str]) -> Script {
    let all: Vec<&str> = [url].into_iter().chain(args.iter().copied()).collect();
    let mut script = Script::start(python, "ws_client.py", &all);
    assert_eq!(script.line()["ready"], true);
    script
}

/// Publishes for some seconds, listens on all four ports, and checks that nothing is missing.
fn from_dds_to_websockets(seconds: u64) {
    let python = require!(python());
    let domain = domain();
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", &domain]);
    let urls = gateway.urls();
    let most = (seconds + 30).to_string();
    let subscribers: Vec<Script> =
        urls.iter().map(|url| subscribe(&python, url, &["--seconds", &most])).collect();
    let publish = ["--domain", &domain, "--wait", "15", "--seconds", &seconds.to_string()];
    let robot = Script::start(&python, "dds_publisher.py", &publish);
    let half = Duration::from_secs(seconds) / 2;
    observe_for(
        half + Duration::from_secs(1),
        "a client connects in the middle; the exact time does not matter",
    );
    let late = subscribe(&python, &urls[Tier::Tertiary as usize], &["--seconds", "3", "/tf_static"]);
    let plain = subscribe(&python, &urls[Tier::Emergency as usize], &["--seconds", "1.5", "--plain"]);
    let timeout = Duration::from_secs(seconds + 40);

    let late = late.finish(timeout);
    assert_eq!(
        (&late["topics"]["/tf_static"]["count"], &late["topics"]["/tf_static"]["stored"]),
        (&1.into(), &1.into())
    );
    let plain = plain.finish(timeout);
    let sees = |key: &str| plain["keys"].as_array().unwrap().iter().any(|seen| seen == key);
    assert!(sees("gps_position") && sees("battery_level") && !sees("imu_data"), "{plain}");
    assert_eq!(plain["kinds"]["initial"], 1, "{plain}");

    let published = robot.finish(timeout)["published"].clone();
    for ((tier, _), subscriber) in gateway.endpoints.iter().zip(subscribers) {
        // Without a topic in scope the client receives nothing until its long timeout: do not wait for it.
        if in_scope(*tier).is_empty() {
            continue;
        }
        let received = subscriber.finish(timeout);
        let topics = received["topics"].as_object().unwrap();
        // The endpoints' own topics are in the graph as well.
        let of_robot = |name: &&str| *name != "/diagnostics" && !name.starts_with("/roverline/");
        let names: BTreeSet<&str> = topics.keys().map(String::as_str).filter(of_robot).collect();
        assert_eq!(names, in_scope(*tier), "{tier}");
        let count = |topic: &str| received["topics"][topic]["count"].as_u64().unwrap();
        for topic in names {
            println!("{tier} {topic}: {} of {}", count(topic), published[topic]);
        }
        assert_eq!(received["topics"]["/tf_static"]["count"], 1, "{tier}");
        if *tier == Tier::Primary {
            assert_eq!(received["topics"]["/imu/data"]["count"], published["/imu/data"], "{received}");
            assert_eq!(received["topics"]["/imu/data"]["gaps"], 0, "{received}");
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
    let python = require!(python());
    let (domain, state) = (domain(), temp::dir());
    let mut command = gateway::command(&["sim", "--dds", "--domain-id", &domain, "--state"]);
    let _rover = Guard(command.arg(state.path()).stdout(Stdio::null()).spawn().unwrap());
    let subscriber = Script::start(
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
    let received = subscriber.finish(Duration::from_secs(40))["received"].clone();
    for (topic, entry) in received.as_object().unwrap() {
        assert!(entry["count"].as_u64() >= Some(3), "{topic}: {received}");
    }
}

#[test]
fn another_node_neither_engages_nor_releases_the_stop() {
    let python = require!(python());
    let domain = domain();
    let gateway = Gateway::serve(&["--source", "dds", "--domain-id", &domain]);
    let port = gateway.first_port();
    let get = |path: &str| -> Value { serde_json::from_str(&http::get(port, path).body).unwrap_or_default() };
    let is_engaged = || get("/api/v2/emergency-stop")["engaged"] == true;
    let published = || get("/api/v2/topics/emergency_stop/latest")["message"]["data"].as_bool();
    let node = |stop: &str| {
        Script::start(&python, "dds_publisher.py", &["--domain", &domain, "--seconds", "4", "--stop", stop])
    };
    // Its message is telemetry, and is shown.
    let stopping = node("true");
    eventually("its message is here", PATIENCE, || published() == Some(true));
    assert!(!is_engaged());
    stopping.finish(PATIENCE);
    assert!(!is_engaged(), "nor after several of them");
    let body = r#"{"engage": true, "reason": "test"}"#;
    let engaged =
        http::request(port, "POST", "/api/v2/emergency-stop", "Content-Type: application/json\r\n", body);
    assert_eq!(engaged.status, 200, "{engaged:?}");
    let releasing = node("false");
    eventually("its message is here", PATIENCE, || published() == Some(false));
    assert!(is_engaged());
    // The gateway's next message follows within a second.
    eventually("the gateway's message is here", PATIENCE, || published() == Some(true));
    releasing.finish(PATIENCE);
    assert!(is_engaged());
}
