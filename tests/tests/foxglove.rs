//! Foxglove's own client library against the gateway: the built-in rover, and live ROS 2 from
//! CycloneDDS. Needs `scripts/setup-clients`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::path::Path;
use std::time::Duration;

use roverline_protocol::Tier;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::node::node;
use roverline_tests::python::{Script, python};
use roverline_tests::scratch::Scratch;
use serde_json::{Value, json};

const CLIENT: &str = "foxglove_client.mjs";
const SNIPPET: &str = "foxglove_odometry.mjs";
const PATIENCE: Duration = Duration::from_secs(60);

fn ask(node: &Path, url: &str, args: &[&str]) -> Value {
    let all: Vec<&str> = [url].into_iter().chain(args.iter().copied()).collect();
    Script::start(node, CLIENT, &all).finish(PATIENCE)
}

fn url(gateway: &Gateway, tier: Tier) -> String {
    format!("ws://127.0.0.1:{}", gateway.port(tier))
}

/// The statuses that it was told, each as text.
fn statuses(seen: &Value) -> Vec<&str> {
    seen["statuses"].as_array().unwrap().iter().map(|status| status["message"].as_str().unwrap()).collect()
}

#[test]
fn topics_are_decoded_and_every_port_has_its_own() {
    let Some(node) = node() else { return };
    let gateway = Gateway::up(&["--source", "sim"]);
    let primary = url(&gateway, Tier::Primary);
    let topics = ["/odom", "/tf_static", "/autonomy/mode", "/camera/front/compressed"];
    let seen = ask(&node, &primary, &[&["look"][..], &topics].concat());
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

    // Its inputs have a file, which the first of them makes.
    let drive = ["publish", "/cmd_vel", "geometry_msgs/Twist", "json", "2", r#"{"linear":{"x":0.5}}"#];
    assert!(statuses(&ask(&node, &primary, &drive)).is_empty());

    let seen = ask(&node, &url(&gateway, Tier::Emergency), &["look", "/gps/fix", "/emergency_stop"]);
    let names: Vec<&str> = seen["channels"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"/emergency_stop") && !names.contains(&"/imu/data"), "{names:?}");
    assert_eq!(seen["info"]["metadata"]["tier"], "emergency");
}

#[test]
fn bad_input_keeps_the_session() {
    let Some(node) = node() else { return };
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "sim"]);
    let seen = ask(&node, &url(&gateway, Tier::Primary), &["misbehave"]);
    assert!(seen["position"]["x"].is_f64() || seen["position"]["x"].is_i64(), "{seen}");
    let told = statuses(&seen);
    for part in
        ["unknown variant `fly`", "recursion limit", "no channel 4000000000", "protobuf", "ends too early"]
    {
        assert!(told.iter().any(|told| told.contains(part)), "{part}: {told:?}");
    }
    assert!(seen["failure"]["message"].as_str().unwrap().starts_with("there is no service"), "{seen}");
}

#[test]
fn an_observer_looks_and_a_commander_stops_the_rover() {
    let Some(node) = node() else { return };
    let publish = |gateway: &Gateway, encoding: &str| {
        let stop = ["publish", "/emergency_stop", "std_msgs/Bool", encoding, "1", r#"{"data":true}"#];
        ask(&node, &url(gateway, Tier::Emergency), &stop)
    };
    let stopped = |gateway: &Gateway| {
        let seen = ask(&node, &url(gateway, Tier::Emergency), &["look", "/emergency_stop"]);
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
        roverline_tests::wait::eventually("it stands", PATIENCE, || stopped(&gateway));
    }
}

#[test]
fn files_of_packages_are_given_out_and_no_others() {
    let Some(node) = node() else { return };
    let installed = Scratch::new();
    let meshes = installed.path().join("share/robot/meshes");
    std::fs::create_dir_all(&meshes).unwrap();
    std::fs::write(meshes.join("wheel.stl"), "solid").unwrap();
    std::fs::write(installed.path().join("secret"), "secret").unwrap();
    let mut command = gateway::command(&["serve", "--port", "0", "--tier", "primary", "--source", "sim"]);
    command.env("AMENT_PREFIX_PATH", installed.path()).env("ROS_DISTRO", "jazzy");
    let gateway = Gateway::start(command, &[]);
    let (good, bad) = ("package://robot/meshes/wheel.stl", "package://robot/../../secret");
    let seen = ask(&node, &url(&gateway, Tier::Primary), &["asset", good, bad, "file:///etc/passwd"]);
    assert_eq!(seen["assets"][good]["text"], "solid");
    assert!(seen["assets"][bad]["error"].as_str().unwrap().contains("without '..'"), "{seen}");
    assert!(seen["assets"]["file:///etc/passwd"]["error"].is_string(), "{seen}");
    assert_eq!(seen["info"]["metadata"]["ROS_DISTRO"], "jazzy");
}

#[test]
fn live_ros_both_ways() {
    let (Some(node), Some(python)) = (node(), python()) else { return };
    let domain = (70 + std::process::id() % 6).to_string();
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "dds", "--domain-id", &domain]);
    let url = url(&gateway, Tier::Primary);
    let robot = ["--domain", &domain, "--wait", "15", "--seconds", "120"];
    let _robot = Script::start(&python, "dds_publisher.py", &robot);
    let seen = ask(&node, &url, &["look", "/imu/data"]);
    let imu = &seen["messages"]["/imu/data"]["value"];
    assert!(imu["header"]["frame_id"].as_str().unwrap().parse::<u64>().is_ok(), "{seen}");
    assert_eq!(imu["orientation"]["w"], 1);
    // Published once, before this client came.
    let seen = ask(&node, &url, &["look", "/tf_static"]);
    let transforms = &seen["messages"]["/tf_static"]["value"]["transforms"];
    assert_eq!(transforms[0]["child_frame_id"], "imu_link");

    let topics = ["/cmd_vel=geometry_msgs/msg/Twist", "/chat=std_msgs/msg/String"];
    let hear = ["--domain", &domain, "--seconds", "50", "--until", "2"];
    let mut ear = Script::start(&python, "dds_subscriber.py", &[&hear[..], &topics].concat());
    assert_eq!(ear.line()["ready"], true);
    let speak = |topic: &str, schema: &str, encoding: &str, json: Value| {
        let seen = ask(&node, &url, &["publish", topic, schema, encoding, "20", &json.to_string()]);
        assert!(statuses(&seen).is_empty(), "{seen}");
    };
    let ahead = json!({"linear": {"x": 0.5, "y": 0, "z": 0}, "angular": {"x": 0, "y": 0, "z": 0.1}});
    speak("/cmd_vel", "geometry_msgs/msg/Twist", "cdr", ahead.clone());
    speak("/cmd_vel", "geometry_msgs/Twist", "json", ahead);
    speak("/chat", "std_msgs/String", "json", json!({"data": "8 from Foxglove"}));
    let received = ear.finish(PATIENCE)["received"].clone();
    assert_eq!(received["/chat"]["last"], 8, "{received}");
    assert!(received["/cmd_vel"]["count"].as_u64() >= Some(2), "{received}");
}

/// The built-in rover's services and parameters, found and used as Foxglove's panels do.
#[test]
fn services_and_parameters_of_the_rover() {
    let Some(node) = node() else { return };
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "sim"]);
    let url = url(&gateway, Tier::Primary);
    let seen = ask(&node, &url, &["graph"]);
    let text = seen["graph"].to_string();
    assert!(text.contains("/mission/restart") && text.contains("/odom"), "{seen}");
    for encoding in ["cdr", "json"] {
        let seen = ask(&node, &url, &["call", "/autonomy/enable", encoding, r#"{"data":true}"#]);
        assert_eq!((&seen["callId"], &seen["response"]["success"]), (&json!(41), &json!(true)), "{seen}");
    }
    // JavaScript's 0 is a float here, since the parameter was one.
    let changed = json!([{"name": "/navigation.max_speed", "value": 0, "type": "float64"}]);
    let seen = ask(&node, &url, &["set", "/navigation.max_speed", "0"]);
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
    let Some(node) = node() else { return };
    let gateway = Gateway::serve(&["--tier", "primary", "--source", "sim"]);
    let url = url(&gateway, Tier::Primary);
    let said = Script::start(&node, SNIPPET, &[url.as_str()]).finish(PATIENCE);
    assert_eq!(said["frame"], "odom");
    assert!(said["position"]["x"].is_number(), "{said}");
}
