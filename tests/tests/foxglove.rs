//! Foxglove's own client library with the gateway: on the simulated rover, and with live ROS 2 from
//! CycloneDDS. Needs `scripts/setup-clients`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::path::Path;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::clients::{node, python};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::require;
use roverline_tests::script::Script;
use roverline_tests::temp;
use serde_json::{Value, json};

const CLIENT: &str = "foxglove_client.mjs";
const SNIPPET: &str = "foxglove_odometry.mjs";
const PATIENCE: Duration = Duration::from_secs(60);

fn run_client(node: &Path, url: &str, args: &[&str]) -> Value {
    let all: Vec<&str> = [url].into_iter().chain(args.iter().copied()).collect();
    Script::start(node, CLIENT, &all).finish(PATIENCE)
}

fn url(gateway: &Gateway, tier: Tier) -> String {
    format!("ws://127.0.0.1:{}", gateway.port(tier))
}

/// The text of the status messages it received.
fn statuses(seen: &Value) -> Vec<&str> {
    seen["statuses"].as_array().unwrap().iter().map(|status| status["message"].as_str().unwrap()).collect()
}

#[test]
fn topics_are_decoded_and_every_port_has_its_own() {
    let node = require!(node());
    let gateway = Gateway::up(&["--source", "sim"]);
    let primary = url(&gateway, Tier::Primary);
    let topics = ["/odom", "/tf_static", "/autonomy/mode", "/camera/front/compressed"];
    let seen = run_client(&node, &primary, &[&["look"][..], &topics].concat());
    assert_eq!(seen["protocol"], "foxglove.sdk.v1");
    let odometry = &seen["messages"]["/odom"];
    assert_eq!(odometry["schema"], "nav_msgs/msg/Odometry");
    assert_eq!(odometry["value"]["header"]["frame_id"], "odom");
    assert!(odometry["value"]["pose"]["pose"]["position"]["x"].is_f64(), "{odometry}");
    // Published once, long ago.
    let frames = seen["messages"]["/tf_static"]["value"]["transforms"].as_array().unwrap();
    assert_eq!(frames[0]["header"]["frame_id"], "base_link");
    assert_eq!(seen["messages"]["/camera/front/compressed"]["value"]["data"][1], 0x50, "the P of PNG");
    assert!(statuses(&seen).is_empty(), "{seen}");

    // The simulator's input file is created by the first input.
    let drive = ["publish", "/cmd_vel", "geometry_msgs/Twist", "json", "2", r#"{"linear":{"x":0.5}}"#];
    assert!(statuses(&run_client(&node, &primary, &drive)).is_empty());

    let seen = run_client(&node, &url(&gateway, Tier::Emergency), &["look", "/gps/fix", "/emergency_stop"]);
    let names: Vec<&str> = seen["channels"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"/emergency_stop") && !names.contains(&"/imu/data"), "{names:?}");
    assert_eq!(seen["info"]["metadata"]["tier"], "emergency");
}

#[test]
fn bad_input_keeps_the_session() {
    let node = require!(node());
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "sim"]);
    let seen = run_client(&node, &url(&gateway, Tier::Primary), &["misbehave"]);
    assert!(seen["position"]["x"].is_f64() || seen["position"]["x"].is_i64(), "{seen}");
    let reported = statuses(&seen);
    for part in
        ["unknown variant `fly`", "recursion limit", "no channel 4000000000", "protobuf", "ends too early"]
    {
        assert!(reported.iter().any(|status| status.contains(part)), "{part}: {reported:?}");
    }
    assert!(seen["failure"]["message"].as_str().unwrap().starts_with("there is no service"), "{seen}");
}

#[test]
fn an_observer_reads_and_a_commander_stops_the_rover() {
    let node = require!(node());
    let publish = |gateway: &Gateway, encoding: &str| {
        let stop = ["publish", "/emergency_stop", "std_msgs/Bool", encoding, "1", r#"{"data":true}"#];
        run_client(&node, &url(gateway, Tier::Emergency), &stop)
    };
    let stopped = |gateway: &Gateway| {
        let seen = run_client(&node, &url(gateway, Tier::Emergency), &["look", "/emergency_stop"]);
        seen["messages"]["/emergency_stop"]["value"]["data"] == true
    };
    let observed = Gateway::serve(&["--tier", "emergency", "--source", "sim", "--loopback-role", "observer"]);
    let seen = publish(&observed, "cdr");
    assert!(statuses(&seen)[0].starts_with("you may not engage the emergency stop"), "{seen}");
    assert!(!stopped(&observed));
    for encoding in ["cdr", "json"] {
        let gateway = Gateway::serve(&["--tier", "emergency", "--source", "sim"]);
        let seen = publish(&gateway, encoding);
        assert!(statuses(&seen).is_empty(), "{seen}");
        roverline_tests::wait::eventually("the rover stands still", PATIENCE, || stopped(&gateway));
    }
}

#[test]
fn only_files_of_packages_are_served_as_assets() {
    let node = require!(node());
    let installed = temp::dir();
    let meshes = installed.path().join("share/robot/meshes");
    std::fs::create_dir_all(&meshes).unwrap();
    std::fs::write(meshes.join("wheel.stl"), "solid").unwrap();
    std::fs::write(installed.path().join("secret"), "secret").unwrap();
    let mut command = gateway::command(&["serve", "--port", "0", "--tier", "primary", "--source", "sim"]);
    command.env("AMENT_PREFIX_PATH", installed.path()).env("ROS_DISTRO", "jazzy");
    let gateway = Gateway::start(command, &[]);
    let (good, bad) = ("package://robot/meshes/wheel.stl", "package://robot/../../secret");
    let seen = run_client(&node, &url(&gateway, Tier::Primary), &["asset", good, bad, "file:///etc/passwd"]);
    assert_eq!(seen["assets"][good]["text"], "solid");
    assert!(seen["assets"][bad]["error"].as_str().unwrap().contains("without '..'"), "{seen}");
    assert!(seen["assets"]["file:///etc/passwd"]["error"].is_string(), "{seen}");
    assert_eq!(seen["info"]["metadata"]["ROS_DISTRO"], "jazzy");
}

#[test]
fn live_ros_both_ways() {
    let (node, python) = (require!(node()), require!(python()));
    let domain = (70 + std::process::id() % 6).to_string();
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "dds", "--domain-id", &domain]);
    let url = url(&gateway, Tier::Primary);
    let robot = ["--domain", &domain, "--wait", "15", "--seconds", "120"];
    let _robot = Script::start(&python, "dds_publisher.py", &robot);
    let seen = run_client(&node, &url, &["look", "/imu/data"]);
    let imu = &seen["messages"]["/imu/data"]["value"];
    assert!(imu["header"]["frame_id"].as_str().unwrap().parse::<u64>().is_ok(), "{seen}");
    assert_eq!(imu["orientation"]["w"], 1);
    // Published once, before this client connected.
    let seen = run_client(&node, &url, &["look", "/tf_static"]);
    let transforms = &seen["messages"]["/tf_static"]["value"]["transforms"];
    assert_eq!(transforms[0]["child_frame_id"], "imu_link");

    let topics = ["/cmd_vel=geometry_msgs/msg/Twist", "/chat=std_msgs/msg/String"];
    let subscribe = ["--domain", &domain, "--seconds", "50", "--until", "2"];
    let mut subscriber = Script::start(&python, "dds_subscriber.py", &[&subscribe[..], &topics].concat());
    assert_eq!(subscriber.line()["ready"], true);
    let publish = |topic: &str, schema: &str, encoding: &str, json: Value| {
        let seen = run_client(&node, &url, &["publish", topic, schema, encoding, "20", &json.to_string()]);
        assert!(statuses(&seen).is_empty(), "{seen}");
    };
    let ahead = json!({"linear": {"x": 0.5, "y": 0, "z": 0}, "angular": {"x": 0, "y": 0, "z": 0.1}});
    publish("/cmd_vel", "geometry_msgs/msg/Twist", "cdr", ahead.clone());
    publish("/cmd_vel", "geometry_msgs/Twist", "json", ahead);
    publish("/chat", "std_msgs/String", "json", json!({"data": "8 from Foxglove"}));
    let received = subscriber.finish(PATIENCE)["received"].clone();
    assert_eq!(received["/chat"]["last"], 8, "{received}");
    assert!(received["/cmd_vel"]["count"].as_u64() >= Some(2), "{received}");
}

/// Services and parameters of the simulated rover, used as Foxglove's panels do.
#[test]
fn services_and_parameters_of_the_rover() {
    let node = require!(node());
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "sim"]);
    let url = url(&gateway, Tier::Primary);
    let seen = run_client(&node, &url, &["graph"]);
    let text = seen["graph"].to_string();
    assert!(text.contains("/mission/restart") && text.contains("/odom"), "{seen}");
    for encoding in ["cdr", "json"] {
        let seen = run_client(&node, &url, &["call", "/autonomy/enable", encoding, r#"{"data":true}"#]);
        assert_eq!((&seen["callId"], &seen["response"]["success"]), (&json!(41), &json!(true)), "{seen}");
    }
    // JavaScript's 0 becomes a float here, because the parameter is one.
    let changed = json!([{"name": "/navigation.max_speed", "value": 0, "type": "float64"}]);
    let seen = run_client(&node, &url, &["set", "/navigation.max_speed", "0"]);
    assert_eq!((&seen["answer"], &seen["update"]), (&changed, &changed), "{seen}");
    assert!(statuses(&seen).is_empty(), "{seen}");
}

#[test]
fn the_documents_example_runs_as_it_is_shown() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let shown = std::fs::read_to_string(root.join("docs/foxglove.md")).unwrap();
    let shown = shown.split("```js\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let run = std::fs::read_to_string(root.join("tests/clients").join(SNIPPET)).unwrap();
    assert_eq!(shown, run, "docs/foxglove.md shows another program than tests/clients/{SNIPPET}");
    let node = require!(node());
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "sim"]);
    let url = url(&gateway, Tier::Primary);
    let output = Script::start(&node, SNIPPET, &[url.as_str()]).finish(PATIENCE);
    assert_eq!(output["frame"], "odom");
    assert!(output["position"]["x"].is_number(), "{output}");
}
