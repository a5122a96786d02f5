//! Sources of definitions and their precedence.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod support;

use std::fs;
use std::path::PathBuf;

use roverline_schema::{Registry, SchemaError};

const RULE: &str = "================================================================================";

/// A temporary directory.
struct Prefix(PathBuf);

impl Prefix {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("roverline-schema-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.join("share").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Prefix {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fields(registry: &Registry, name: &str) -> Vec<String> {
    registry.plan(name).unwrap().field_names().map(str::to_owned).collect()
}

#[test]
fn every_bundled_type_has_plan_and_text() {
    let registry = Registry::bundled();
    let names = registry.type_names();
    assert!(names.is_sorted() && names.len() > 211);
    for name in &names {
        let plan = registry.plan(name).unwrap();
        assert_eq!(plan.type_name(), name);
        let text = registry.text(name).unwrap();
        assert!(!text.contains('#'), "{name}");
        // The text alone is enough for a registry without other definitions.
        let other = Registry::bundled();
        other.add(name, &text).unwrap();
        assert_eq!(other.text(name).unwrap(), text);
    }
}

#[test]
fn text_has_each_dependency_once_in_order() {
    let text = Registry::bundled().text("geometry_msgs/PoseStamped").unwrap();
    let want = format!(
        "std_msgs/Header header\nPose pose\n\
         {RULE}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n\
         {RULE}\nMSG: geometry_msgs/Pose\nPoint position\nQuaternion orientation\n\
         {RULE}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n\
         {RULE}\nMSG: geometry_msgs/Point\nfloat64 x\nfloat64 y\nfloat64 z\n\
         {RULE}\nMSG: geometry_msgs/Quaternion\nfloat64 x 0\nfloat64 y 0\nfloat64 z 0\nfloat64 w 1\n"
    );
    assert_eq!(&*text, want);
}

#[test]
fn services_and_actions_have_parts() {
    let registry = Registry::bundled();
    assert_eq!(fields(&registry, "std_srvs/srv/SetBool_Request"), ["data"]);
    assert_eq!(fields(&registry, "std_srvs/srv/SetBool_Response"), ["success", "message"]);
    assert_eq!(fields(&registry, "std_srvs/srv/Empty_Request"), [""; 0]);
    let action = |part: &str| fields(&registry, &format!("example_interfaces/action/Fibonacci{part}"));
    assert_eq!(action("_Goal"), ["order"]);
    assert_eq!(action("_SendGoal_Request"), ["goal_id", "goal"]);
    assert_eq!(action("_SendGoal_Response"), ["accepted", "stamp"]);
    assert_eq!(action("_GetResult_Response"), ["status", "result"]);
    assert_eq!(action("_FeedbackMessage"), ["goal_id", "feedback"]);
    let text = registry.text("example_interfaces/action/Fibonacci_FeedbackMessage").unwrap();
    assert!(text.contains("MSG: example_interfaces/action/Fibonacci_Feedback\n"), "{text}");
    assert_eq!(
        registry.plan("std_srvs/srv/SetBool").unwrap_err(),
        SchemaError::Unknown("std_srvs/srv/SetBool".into())
    );
}

#[test]
fn names_of_all_shapes() {
    let registry = Registry::bundled();
    assert_eq!(registry.plan("std_msgs/String").unwrap().type_name(), "std_msgs/msg/String");
    assert!(matches!(registry.plan("String"), Err(SchemaError::Name(_))));
    assert!(matches!(registry.plan("std_msgs/msg/../../../etc/passwd"), Err(SchemaError::Name(_))));
    assert!(matches!(registry.plan("std_msgs/Nothing"), Err(SchemaError::Unknown(_))));
}

#[test]
fn a_recording_wins_for_its_own_type_only() {
    let registry = Registry::bundled();
    let before = registry.plan("geometry_msgs/PointStamped").unwrap();
    let text = format!("std_msgs/Header header\n{RULE}\nMSG: std_msgs/Header\nuint32 seq\nstring frame_id\n");
    registry.add("old_msgs/Old", &text).unwrap();
    let header = |name: &str| {
        let plan = registry.plan(name).unwrap();
        let zero = plan.encode_json(&serde_json::json!({})).unwrap();
        plan.decode(&zero).unwrap().get("header").unwrap().to_string()
    };
    assert_eq!(header("old_msgs/Old"), "{seq: 0, frame_id: \"\"}");
    assert_eq!(header("geometry_msgs/PointStamped"), "{stamp: {sec: 0, nanosec: 0}, frame_id: \"\"}");
    assert_eq!(header("geometry_msgs/PoseStamped"), "{stamp: {sec: 0, nanosec: 0}, frame_id: \"\"}");
    assert_eq!(fields(&registry, "std_msgs/Header"), ["stamp", "frame_id"]);
    assert_eq!(&*registry.text("old_msgs/Old").unwrap(), text);
    assert!(registry.type_names().contains(&"old_msgs/msg/Old".to_owned()));

    // Added explicitly, it replaces the known definition for later plans.
    registry.add("geometry_msgs/msg/PointStamped", "int32 other\n").unwrap();
    assert_eq!(fields(&registry, "geometry_msgs/PointStamped"), ["other"]);
    assert_eq!(before.field_names().collect::<Vec<_>>(), ["header", "point"]);
    registry.add("geometry_msgs/msg/PointStamped", "int32 newer\n").unwrap();
    assert_eq!(fields(&registry, "geometry_msgs/PointStamped"), ["newer"]);
    assert_eq!(&*registry.text("geometry_msgs/PointStamped").unwrap(), "int32 newer\n");
}

#[test]
fn dependencies_that_a_recording_lacks_are_appended() {
    let registry = Registry::bundled();
    let own = format!("a/Own own\n{RULE}\nMSG: a/Own\nbool x");
    for (text, missing) in [
        ("geometry_msgs/TransformStamped[] transforms", 6),
        ("int32 alone # as it was written", 0),
        (own.as_str(), 0),
        (&format!("{own}\nstd_msgs/Header header"), 2),
        (&format!("geometry_msgs/Pose pose\n{RULE}\nMSG: geometry_msgs/Pose\nPoint position\n"), 1),
        ("", 0),
    ] {
        registry.add("pkg/Test", text).unwrap();
        let complete = registry.text("pkg/Test").unwrap();
        assert!(complete.starts_with(text), "{complete}");
        let titles = |text: &str| text.matches("MSG: ").count();
        assert_eq!(titles(&complete) - titles(text), missing, "{complete}");
        assert!(missing > 0 || &*complete == text);
        // It is complete without other definitions, and adding it again changes nothing.
        registry.add("pkg/Other", &complete).unwrap();
        assert_eq!(registry.text("pkg/Other").unwrap(), complete);
        assert_eq!(
            registry.plan("pkg/Other").unwrap().field_names().count(),
            registry.plan("pkg/Test").unwrap().field_names().count()
        );
    }
}

#[test]
fn an_unusable_definition_changes_nothing() {
    let registry = Registry::bundled();
    let missing = registry.add("pkg/Test", "far_msgs/Thing thing\n").unwrap_err();
    assert_eq!(missing.to_string(), "type far_msgs/msg/Thing, which pkg/msg/Test uses, is unknown");
    assert!(registry.add("std_msgs/String", "string").is_err());
    assert_eq!(fields(&registry, "std_msgs/String"), ["data"]);
    assert!(registry.plan("pkg/Test").is_err());
    let idl = registry.add_encoded("pkg/Test", "omgidl", b"module pkg {};").unwrap_err();
    let why = "pkg/Test: schema encoding `omgidl` is not supported, only ros2msg and ros2idl are";
    assert_eq!(idl.to_string(), why);
    let other = registry.add_encoded("pkg/Test", "ros2idl", b"module pkg {};").unwrap_err();
    assert_eq!(other.to_string(), "type pkg/msg/Test is unknown");
    registry.add_encoded("pkg/Test", "ros2msg", b"bool ok # caf\xe9").unwrap();
    assert_eq!(fields(&registry, "pkg/Test"), ["ok"]);
}

#[test]
fn a_lone_header_is_the_one_of_std_msgs() {
    let registry = Registry::bundled();
    registry.add("pkg/Test", "Header header\n").unwrap();
    let text = registry.text("pkg/Test").unwrap();
    assert!(text.starts_with(&format!("Header header\n{RULE}\nMSG: std_msgs/Header\n")), "{text}");
    let plan = registry.plan("pkg/Test").unwrap();
    assert!(plan.has_field("header.stamp.sec") && !plan.has_field("header.seq"));
    // Unless the package has its own.
    registry.add("pkg/Own", &format!("Header header\n{RULE}\nMSG: pkg/Header\nint32 mine\n")).unwrap();
    assert!(registry.plan("pkg/Own").unwrap().has_field("header.mine"));
}

#[test]
fn installed_packages_come_before_the_bundled_set() {
    let (first, second) = (Prefix::new("first"), Prefix::new("second"));
    first.file("rover_msgs/msg/Wheel.msg", "# comment\nfloat64 speed # m/s\nstd_msgs/String label\n");
    first.file("std_msgs/msg/String.msg", "string data\nint32 extra\n");
    second.file("rover_msgs/msg/Wheel.msg", "bool wrong\n");
    second.file("rover_msgs/msg/Arm.msg", "Wheel[] wheels\n");
    second.file("rover_msgs/srv/Stop.srv", "bool now\n---\nbool done\n");
    second.file("rover_msgs/action/Drive.action", "float64 metres\n---\nbool ok\n---\nfloat64 left\n");
    second.file("idl_msgs/msg/Odd.idl", "module idl_msgs {};\n");
    let valve =
        "module idl_msgs { module msg { struct Valve { rover_msgs::msg::Arm arm; long turns; }; }; };\n";
    second.file("idl_msgs/msg/Valve.idl", valve);
    second.file("idl_msgs/msg/Valve.msg.bak", "bool wrong\n");
    second.file("rover_msgs/msg/not a name.msg", "bool x\n");
    let path = std::env::join_paths([first.0.clone(), "/nowhere/at/all".into(), second.0.clone()]).unwrap();
    let registry = Registry::with_ament(&path);

    assert_eq!(fields(&registry, "rover_msgs/Wheel"), ["speed", "label"]);
    assert_eq!(fields(&registry, "std_msgs/String"), ["data", "extra"]);
    assert!(registry.plan("rover_msgs/Arm").unwrap().has_field("wheels[0].label.extra"));
    assert_eq!(fields(&registry, "rover_msgs/srv/Stop_Response"), ["done"]);
    assert_eq!(fields(&registry, "rover_msgs/action/Drive_Feedback"), ["left"]);
    assert_eq!(fields(&registry, "std_msgs/Header"), ["stamp", "frame_id"]);
    let text = registry.text("rover_msgs/Arm").unwrap();
    assert!(text.contains("float64 speed # m/s"), "{text}");
    assert!(matches!(registry.plan("idl_msgs/Odd"), Err(SchemaError::Unknown { .. })));
    assert!(registry.plan("idl_msgs/Valve").unwrap().has_field("arm.wheels[0].label.extra"));
    assert_eq!(fields(&registry, "idl_msgs/Valve"), ["arm", "turns"]);
    let names = registry.type_names();
    for name in [
        "rover_msgs/msg/Wheel",
        "idl_msgs/msg/Valve",
        "rover_msgs/srv/Stop_Request",
        "rover_msgs/action/Drive_Goal",
        "std_msgs/msg/Bool",
    ] {
        assert!(names.iter().any(|n| n == name), "{name}");
    }
    assert!(!names.iter().any(|n| n.contains(' ')));

    registry.add("rover_msgs/Wheel", "int64 recorded\n").unwrap();
    assert_eq!(fields(&registry, "rover_msgs/Wheel"), ["recorded"]);
    assert!(registry.plan("rover_msgs/Arm").unwrap().has_field("wheels[0].label.extra"));
}

#[test]
fn clones_share_across_threads() {
    let registry = Registry::bundled();
    std::thread::scope(|scope| {
        for i in 0..4 {
            let registry = registry.clone();
            scope.spawn(move || {
                registry.add(&format!("pkg/T{i}"), "int32 x\n").unwrap();
                for name in registry.type_names() {
                    registry.plan(&name).unwrap();
                    registry.text(&name).unwrap();
                }
            });
        }
    });
    for i in 0..4 {
        assert_eq!(fields(&registry, &format!("pkg/T{i}")), ["x"]);
    }
}
