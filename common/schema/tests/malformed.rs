//! Malformed and hostile payloads and definitions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod support;

use roverline_schema::limits::{MAX_DEPTH_LEVELS, MAX_ENCODED_BYTES, MAX_VALUES};
use roverline_schema::{Registry, SchemaError};

const RULE: &str = "================================================================================";

/// The error message for a payload of a type.
fn error(definition: &str, body: &[u8]) -> String {
    let registry = Registry::bundled();
    registry.add("pkg/Test", definition).unwrap();
    let plan = registry.plan("pkg/Test").unwrap();
    let mut cdr = vec![0, 1, 0, 0];
    cdr.extend_from_slice(body);
    let error = plan.decode(&cdr).unwrap_err().to_string();
    let mut out = b"before".to_vec();
    assert_eq!(plan.write_json(&cdr, &mut out).unwrap_err().to_string(), error);
    assert_eq!(out, b"before");
    error
}

#[test]
fn wrong_lengths_are_rejected() {
    let huge = [0, 0x94, 0x35, 0x77]; // 2,000,000,000
    let body = |before: &[u8]| [before, &huge, &[0; 12]].concat();
    assert_eq!(error("uint8[] raw", &body(&[])), "raw: needs 2000000000 bytes, 12 are left");
    assert_eq!(error("string s", &body(&[])), "s: needs 2000000000 bytes, 12 are left");
    assert_eq!(error("wstring s", &body(&[])), "s: needs 8000000000 bytes, 12 are left");
    assert_eq!(error("float64[] v", &body(&[])), "v: needs 16000000000 bytes, 12 are left");
    assert_eq!(error("std_msgs/Empty[] v", &body(&[])), "v: needs 2000000000 bytes, 12 are left");
    assert_eq!(error("std_msgs/String[] v", &body(&[])), "v: needs 8000000000 bytes, 12 are left");
    assert_eq!(
        error(
            "trajectory_msgs/JointTrajectoryPoint[] points",
            &[&[1, 0, 0, 0][..], &huge, &[0; 24]].concat()
        ),
        "points[0].positions: needs 16000000000 bytes, 24 are left"
    );
    assert_eq!(error("uint8 a\nfloat64[3] v", &[0; 20]), "v: needs 24 bytes, 19 are left");
    assert_eq!(error("geometry_msgs/Pose p", &[0; 30]), "p.orientation.x: needs 8 bytes, 6 are left");
}

#[test]
fn wrong_headers_are_rejected() {
    let plan = Registry::bundled().plan("std_msgs/Bool").unwrap();
    for (cdr, what) in [
        (&[][..], "0 bytes are too few for a CDR header"),
        (&[0, 1, 0], "3 bytes are too few for a CDR header"),
        (&[0, 3, 0, 0, 1], "encapsulation 00 03 is not plain CDR (00 00 or 00 01)"),
        (&[0, 7, 0, 0, 1], "encapsulation 00 07 is not plain CDR (00 00 or 00 01)"),
        (&[1, 1, 0, 0, 1], "encapsulation 01 01 is not plain CDR (00 00 or 00 01)"),
        (&[0, 1, 0, 0], "data: needs 1 bytes, 0 are left"),
        (
            &[0, 1, 0, 0, 1, 0, 0, 0, 0],
            "4 bytes are left over after the last field: the sender's definition differs",
        ),
    ] {
        assert_eq!(plan.decode(cdr).unwrap_err().to_string(), what);
    }
}

#[test]
fn small_elements_cannot_fill_the_memory() {
    let plan = Registry::bundled().plan("std_msgs/Int8MultiArray").unwrap();
    let count = MAX_VALUES + 1;
    let mut cdr = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    cdr.extend_from_slice(&u32::try_from(count).unwrap().to_le_bytes());
    cdr.resize(cdr.len() + count, 0xff);
    assert!(plan.decode(&cdr).unwrap_err().to_string().contains("more than 1048576 values"));
    // As JSON it is a few megabytes, which is allowed.
    let mut out = Vec::new();
    plan.write_json(&cdr, &mut out).unwrap();
    assert!(out.len() > 3 * count);
    // So is a single field of it.
    assert_eq!(plan.field(&cdr, "data[1048576]").unwrap().unwrap().as_f64(), Some(-1.0));
}

#[test]
fn long_names_cannot_fill_the_memory() {
    // Each byte of payload is a chain of messages with long names.
    let long = "n".repeat(200);
    let mut text = String::from("L0[] items\n");
    for i in 0..20 {
        text += &format!("{RULE}\nMSG: pkg/L{i}\nL{} {long}\n", i + 1);
    }
    text += &format!("{RULE}\nMSG: pkg/L20\nbool x\n");
    let registry = Registry::bundled();
    registry.add("pkg/Test", &text).unwrap();
    let mut cdr = vec![0, 1, 0, 0, 0, 0, 32, 0];
    cdr.resize(8 + (32 << 16), 1);
    let mut out = Vec::new();
    let error = registry.plan("pkg/Test").unwrap().write_json(&cdr, &mut out).unwrap_err();
    assert!(error.to_string().contains("bytes of JSON"), "{error}");
    assert!(out.is_empty());
}

#[test]
fn types_that_contain_themselves() {
    let add = |text: &str| Registry::bundled().add("pkg/Test", text);
    assert_eq!(add("Test[] t"), Err(SchemaError::Recursive("pkg/msg/Test".into())));
    let text = format!("A a\n{RULE}\nMSG: pkg/A\nB b\n{RULE}\nMSG: pkg/B\nA[] a\n");
    assert_eq!(add(&text), Err(SchemaError::Recursive("pkg/msg/A".into())));
}

#[test]
fn types_that_are_too_deep_or_too_large() {
    let chain = |levels: usize, fields: usize| {
        let body = |i: usize| (0..fields).map(|f| format!("L{i}[] f{f}\n")).collect::<String>();
        let mut text = body(1);
        for i in 1..levels {
            text += &format!("{RULE}\nMSG: pkg/L{i}\n{}", body(i + 1));
        }
        text + &format!("{RULE}\nMSG: pkg/L{levels}\nbool x\n")
    };
    // Expanding everything before checking a bound would take hours and all memory.
    let add = |text: &str| Registry::bundled().add("pkg/Test", text).map_err(|e| e.to_string());
    assert_eq!(add(&chain(MAX_DEPTH_LEVELS - 1, 1)), Ok(()));
    assert!(add(&chain(MAX_DEPTH_LEVELS, 1)).unwrap_err().contains("levels of nesting"));
    // Ten fields at each of eight levels: small as text, a hundred million when expanded.
    assert!(add(&chain(8, 10)).unwrap_err().contains("in all nested messages"));
    assert!(add("float64[4000000000] x").unwrap_err().contains("bytes of fixed size"));
    assert!(
        add(&format!("A[60000] a\n{RULE}\nMSG: pkg/A\nstring[60000] s\n"))
            .unwrap_err()
            .contains("fixed size")
    );
    // Names alone can exceed a bound as well.
    let names: String = (0..4000).map(|i| format!("A {}{i}\n", "x".repeat(240))).collect();
    let text = format!(
        "{names}{RULE}\nMSG: pkg/A\n{}",
        "bool y\nbool z\nbool w\nbool v\nbool u\nbool t\nbool s\nbool r\n"
    );
    assert!(add(&text).unwrap_err().contains("in all nested messages"));
}

#[test]
fn encoding_is_bounded() {
    let registry = Registry::bundled();
    registry.add("pkg/Test", "string[3] s \n float64[] v").unwrap();
    let plan = registry.plan("pkg/Test").unwrap();
    let half = "x".repeat(MAX_ENCODED_BYTES / 2);
    let error = plan.encode_json(&serde_json::json!({"s": [half, half, half]})).unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
}
