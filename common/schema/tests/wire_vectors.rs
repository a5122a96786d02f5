//! Messages written down byte by byte, so that the wire format is pinned without external data.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod support;

use std::sync::Arc;

use roverline_schema::cdr::Writer;
use roverline_schema::{Plan, Registry, Value};
use support::message;

fn plan(definition: &str) -> Arc<Plan> {
    let registry = Registry::bundled();
    registry.add("pkg/Test", definition).unwrap();
    registry.plan("pkg/Test").unwrap()
}

/// The payload must decode to the JSON, and the JSON must encode to the payload.
fn check(definition: &str, body: &[u8], json: &str) {
    let plan = plan(definition);
    let mut cdr = vec![0, 1, 0, 0];
    cdr.extend_from_slice(body);
    let mut out = Vec::new();
    plan.write_json(&cdr, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), json);
    assert_eq!(plan.encode(&plan.decode(&cdr).unwrap()).unwrap(), cdr);
    assert_eq!(plan.encode_json(&serde_json::from_str(json).unwrap()).unwrap(), cdr);
}

#[test]
fn numbers_are_aligned_to_their_size() {
    check(
        "uint8 a\nint16 b\nuint8 c\nfloat64 d\nint8 e\nuint64 f\n",
        &[
            1, 0, 0xfe, 0xff, 3, 0, 0, 0, // a, pad, b, c, pad
            0, 0, 0, 0, 0, 0, 0xf8, 0x3f, // d
            0xff, 0, 0, 0, 0, 0, 0, 0, // e, pad
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // f
        ],
        r#"{"a":1,"b":-2,"c":3,"d":1.5,"e":-1,"f":18446744073709551615}"#,
    );
}

#[test]
fn texts_and_octets() {
    check(
        "string s\nuint8[] raw\nchar[2] pair\nbyte[] octets\nint8[] small\nbool ok\nwstring w\n",
        &[
            3, 0, 0, 0, b'h', b'i', 0, 0, // s, pad
            2, 0, 0, 0, 0xff, 0x00, // raw
            7, 8, // pair
            1, 0, 0, 0, 9, 0, 0, 0, // octets, pad
            2, 0, 0, 0, 0x80, 1, // small
            1, 0, // ok, pad
            2, 0, 0, 0, 0x3d, 0xd8, 0, 0, 0x80, 0xde, 0, 0, // w: a surrogate pair
        ],
        r#"{"s":"hi","raw":"/wA=","pair":"Bwg=","octets":[9],"small":[-128,1],"ok":true,"w":"🚀"}"#,
    );
}

#[test]
fn an_empty_sequence_is_not_aligned_for_its_elements() {
    check("float64[] none\nuint8 after\n", &[0, 0, 0, 0, 5], r#"{"none":[],"after":5}"#);
    check(
        "float64[] one\nuint8 after\n",
        &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 5],
        r#"{"one":[-2.0],"after":5}"#,
    );
}

#[test]
fn messages_without_fields_have_a_byte() {
    check(
        "std_msgs/Empty nothing\nuint8 x\nstd_msgs/Empty[2] more\n",
        &[0, 5, 0, 0],
        r#"{"nothing":{},"x":5,"more":[{},{}]}"#,
    );
    check("", &[0], "{}");
}

#[test]
fn nested_messages_in_sequences() {
    check(
        "geometry_msgs/Point32[<=4] points\nstring[] names\n",
        &[
            2, 0, 0, 0, // points
            0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0x80, // 1, 0, -0
            0xcd, 0xcc, 0xcc, 0x3d, 0, 0, 0, 0, 0, 0, 0, 0, // 0.1 as a single
            2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b'a', 0, // names
        ],
        r#"{"points":[{"x":1.0,"y":0.0,"z":-0.0},{"x":0.10000000149011612,"y":0.0,"z":0.0}],"names":["","a"]}"#,
    );
}

#[test]
fn big_endian_is_read() {
    let plan = plan("uint16 a\nfloat32 b\nstring s\n");
    let cdr = [0, 0, 0, 0, 1, 2, 0, 0, 0x3f, 0x80, 0, 0, 0, 0, 0, 2, b'x', 0];
    let want = message([("a", Value::U16(258)), ("b", Value::F32(1.0)), ("s", Value::String("x".into()))]);
    assert_eq!(plan.decode(&cdr), Ok(want));
}

#[test]
fn values_without_json_form_are_null() {
    let plan = plan("float32 a\nfloat64[3] b\n");
    let mut w = Writer::new();
    w.f32(f32::NAN).f64(f64::INFINITY).f64(f64::NEG_INFINITY).f64(0.5);
    let mut out = Vec::new();
    plan.write_json(&w.finish(), &mut out).unwrap();
    assert_eq!(out, br#"{"a":null,"b":[null,null,0.5]}"#);
    let back = plan.encode_json(&serde_json::from_slice(&out).unwrap()).unwrap();
    assert!(plan.field(&back, "a").unwrap().unwrap().as_f64().unwrap().is_nan());
}

#[test]
fn invalid_text_does_not_lose_the_message() {
    let plan = plan("string s\nwstring w\nuint8 after\n");
    let cdr = [0, 1, 0, 0, 3, 0, 0, 0, 0xff, b'a', 0, 0, 1, 0, 0, 0, 0, 0xd8, 0, 0, 9];
    let mut out = Vec::new();
    plan.write_json(&cdr, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "{\"s\":\"\u{fffd}a\",\"w\":\"\u{fffd}\",\"after\":9}");
    // Text without its terminator, and with none at all.
    let cdr = [0, 1, 0, 0, 2, 0, 0, 0, b'h', b'i', 0, 0, 0, 0, 0, 0, 9];
    assert_eq!(plan.decode(&cdr).unwrap().get("s").and_then(Value::as_str), Some("hi"));
}

#[test]
fn missing_fields_get_their_defaults() {
    let plan = plan(
        "int32 n -7\nstring s \"x\"\ngeometry_msgs/Quaternion q\nuint8[3] raw [1, 2, 3]\nfloat64[2] zero\nint16[] list [4, 5]\nwstring w\n",
    );
    let value = plan.decode(&plan.encode_json(&serde_json::json!({})).unwrap()).unwrap();
    assert_eq!(
        value.to_string(),
        "{n: -7, s: \"x\", q: {x: 0.0, y: 0.0, z: 0.0, w: 1.0}, raw: <3 bytes: 01 02 03>, zero: [0.0, 0.0], list: [4, 5], w: \"\"}"
    );
    let some = plan.encode_json(&serde_json::json!({"q": {"x": 1}, "n": 3.0})).unwrap();
    let value = plan.decode(&some).unwrap();
    assert_eq!(value.get("q").unwrap().to_string(), "{x: 1.0, y: 0.0, z: 0.0, w: 1.0}");
    assert_eq!(value.get("n"), Some(&Value::I32(3)));
}

#[test]
fn stamps_have_the_names_of_ros_1_and_of_foxglove_as_well() {
    let plan = plan(
        "builtin_interfaces/Time t\nbuiltin_interfaces/Duration d\nbuiltin_interfaces/Time[] all\nstring s\n",
    );
    let encode = |json: serde_json::Value| plan.encode_json_at(&json, 1_500_000_000_000_000_007);
    let usual = serde_json::json!({"t": {"sec": 1, "nanosec": 2}, "d": {"sec": -1, "nanosec": 3}});
    for other in [
        serde_json::json!({"t": {"secs": 1, "nsecs": 2}, "d": {"secs": -1, "nsecs": 3}}),
        serde_json::json!({"t": {"sec": 1, "nsec": 2}, "d": {"secs": -1, "nanosec": 3}}),
    ] {
        assert_eq!(encode(other.clone()), encode(usual.clone()), "{other}");
    }
    let now = serde_json::json!({"sec": 1_500_000_000, "nanosec": 7});
    let said = encode(serde_json::json!({"t": "now", "all": ["now"], "s": "now"}));
    assert_eq!(said, encode(serde_json::json!({"t": now, "all": [now], "s": "now"})));
    // A field of another type with such a name has no other names, and only "now" stands for a time.
    for (json, what) in [
        (serde_json::json!({"t": "later"}), "t: needs a message, got a string"),
        (serde_json::json!({"d": "now"}), "d: needs a message, got a string"),
        (serde_json::json!({"t": {"msecs": 1}}), "t.msecs: builtin_interfaces/msg/Time has no such field"),
        (serde_json::json!({"secs": 1}), "secs: pkg/msg/Test has no such field"),
    ] {
        assert_eq!(encode(json).unwrap_err().to_string(), what);
    }
    let error = plan.encode_json(&serde_json::json!({"t": "now"})).unwrap_err();
    assert_eq!(error.to_string(), "t: needs a message, got a string");
}

#[test]
fn a_message_without_fields_may_lack_its_placeholder() {
    let empty = plan("");
    for cdr in [&[0, 1, 0, 0][..], &[0, 0, 0, 0], &[0, 1, 0, 0, 0], &[0, 1, 0, 0, 0, 0, 0, 0]] {
        let mut json = Vec::new();
        empty.write_json(cdr, &mut json).unwrap();
        assert_eq!(json, b"{}", "{cdr:?}");
        assert_eq!(empty.decode(cdr).unwrap().to_string(), "{}");
    }
    for cdr in [&[0, 1, 0][..], &[], &[0, 1, 0, 0, 0, 0, 0, 0, 0]] {
        assert!(empty.decode(cdr).is_err(), "{cdr:?}");
    }
    assert!(plan("int32 x\n").decode(&[0, 1, 0, 0]).is_err());
    // Inside of a message it is always there.
    assert!(plan("std_msgs/Empty a\n").decode(&[0, 1, 0, 0]).is_err());
}

#[test]
fn numbers_that_json_lacks_are_strings() {
    let plan = plan("float64 a\nfloat32[] b\n");
    let json = serde_json::json!({"a": "-Infinity", "b": ["NaN", "Infinity", null, 1]});
    let cdr = plan.encode_json(&json).unwrap();
    let float = |path: &str| plan.field(&cdr, path).unwrap().unwrap().as_f64().unwrap();
    assert_eq!((float("a"), float("b[1]"), float("b[3]")), (f64::NEG_INFINITY, f64::INFINITY, 1.0));
    assert!(float("b[0]").is_nan() && float("b[2]").is_nan());
    let error = plan.encode_json(&serde_json::json!({"a": "nan"})).unwrap_err();
    assert_eq!(error.to_string(), "a: needs a number, got a string");
}

#[test]
fn mismatches_are_rejected_with_their_path() {
    let plan = plan(
        "uint8 n\nstring<=3 s\nint32[<=2] list\nuint8[2] raw\nfloat32 f\ngeometry_msgs/Point[] points\nbool b\nwstring<=1 w\n",
    );
    for (json, what) in [
        (r#"{"n": 256}"#, "n: 256 does not fit uint8"),
        (r#"{"n": -1}"#, "n: -1 does not fit uint8"),
        (r#"{"n": 1.5}"#, "n: needs an integer, got a float"),
        (r#"{"n": null}"#, "n: needs an integer, got null"),
        (r#"{"s": "four"}"#, "s: 4 bytes, at most 3 are allowed"),
        (r#"{"w": "🚀"}"#, "w: 2 UTF-16 units, at most 1 are allowed"),
        (r#"{"list": [1, 2, 3]}"#, "list: 3 elements, at most 2 are allowed"),
        (r#"{"list": [1, "x"]}"#, "list[1]: needs an integer, got a string"),
        (r#"{"raw": "AQ=="}"#, "raw: 1 elements, 2 are needed"),
        (r#"{"raw": "no base64"}"#, "raw: needs an array, got a string"),
        (r#"{"raw": [1, 300]}"#, "raw[1]: 300 does not fit uint8"),
        (r#"{"f": 1e300}"#, "f: 1e300 does not fit float32"),
        (r#"{"f": "x"}"#, "f: needs a number, got a string"),
        (r#"{"points": [{}, {"q": 1}]}"#, "points[1].q: geometry_msgs/msg/Point has no such field"),
        (r#"{"b": 1}"#, "b: needs a bool, got an integer"),
        (r#"{"zz": 1}"#, "zz: pkg/msg/Test has no such field"),
        ("[]", "needs a message, got an array"),
    ] {
        let error = plan.encode_json(&serde_json::from_str(json).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), what);
    }
    let value = message([("n", Value::String("x".into()))]);
    assert_eq!(plan.encode(&value).unwrap_err().to_string(), "n: needs an integer, got a string");
}
