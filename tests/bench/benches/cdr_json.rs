//! CDR to JSON: our compiled plans compared with `re_ros_msg`'s reflection plus serialization.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench is not a library")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, Throughput};
use re_cdr::{CdrReader, LittleEndian};
use re_ros_msg::MessageSchema;
use re_ros_msg::deserialize::primitive_array::PrimitiveArray;
use re_ros_msg::deserialize::{MapResolver, Value, decode_message};
use re_ros_msg::message_spec::MessageSpecification;
use roverline_schema::Registry;
use roverline_schema::cdr::Writer;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::hint::black_box;
use std::time::Instant;

/// Rounds for the ratio; the best one counts.
const ROUNDS: u32 = 200;
const MESSAGES_PER_ROUND: u32 = 200;

fn header(w: &mut Writer) -> &mut Writer {
    w.i32(1_700_000_000).u32(123_456_789).string("base_link")
}

/// Numbers with all digits, as sensors send them.
fn readings() -> impl Iterator<Item = f64> {
    std::iter::successors(Some(0.123_456_789), |x: &f64| Some((x * 1.37 + 0.011) % 3.0))
}

/// An Imu message with diagonal covariances only, as drivers fill them.
fn imu() -> Vec<u8> {
    let mut w = Writer::new();
    header(&mut w);
    let mut numbers = readings();
    for axes in [4, 3, 3] {
        numbers.by_ref().take(axes).for_each(|x| {
            w.f64(x);
        });
        (0..9).for_each(|i| {
            w.f64(if i % 4 == 0 { 0.0025 } else { 0.0 });
        });
    }
    w.finish()
}

fn joint_state() -> Vec<u8> {
    let mut w = Writer::new();
    header(&mut w);
    w.string_seq(&["shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3"]);
    let numbers: Vec<f64> = readings().take(18).collect();
    for six in numbers.chunks(6) {
        w.f64_seq(six);
    }
    w.finish()
}

fn diagnostics() -> Vec<u8> {
    let mut w = Writer::new();
    header(&mut w).len(5);
    for i in 0..5_u8 {
        w.u8(i % 3).string("motor_controller: left wheel").string("all good").string("mc-07").len(4);
        for key in ["temperature", "voltage", "current", "errors"] {
            w.string(key).string("41.25");
        }
    }
    w.finish()
}

/// The peer library, prepared as well as its interface allows.
struct Peer {
    schema: MessageSchema,
}

impl Peer {
    fn new(type_name: &str, text: &str) -> Self {
        Self { schema: MessageSchema::parse(type_name, text).unwrap() }
    }

    fn resolver(&self) -> MapResolver<'_> {
        let specs = std::iter::once(&self.schema.spec).chain(&self.schema.dependencies);
        MapResolver::new(specs.map(|s: &MessageSpecification| (s.name.clone(), s)))
    }

    fn json(&self, resolver: &MapResolver<'_>, cdr: &[u8], out: &mut Vec<u8>) {
        let mut reader = CdrReader::<LittleEndian>::new(&cdr[4..]);
        let value = decode_message(&mut reader, &self.schema.spec, resolver).unwrap();
        serde_json::to_writer(out, &Json(&value)).unwrap();
    }
}

/// Serializes the peer's values as JSON.
struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(v) => v.serialize(s),
            Value::I8(v) => v.serialize(s),
            Value::U8(v) => v.serialize(s),
            Value::I16(v) => v.serialize(s),
            Value::U16(v) => v.serialize(s),
            Value::I32(v) => v.serialize(s),
            Value::U32(v) => v.serialize(s),
            Value::I64(v) => v.serialize(s),
            Value::U64(v) => v.serialize(s),
            Value::F32(v) => f64::from(*v).serialize(s),
            Value::F64(v) => v.serialize(s),
            Value::String(v) => v.serialize(s),
            Value::Array(v) | Value::Sequence(v) => s.collect_seq(v.iter().map(Json)),
            Value::PrimitiveArray(v) | Value::PrimitiveSeq(v) => array(v, s),
            Value::Message(fields) => {
                let mut map = s.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, &Json(value))?;
                }
                map.end()
            }
        }
    }
}

fn array<S: Serializer>(v: &PrimitiveArray, s: S) -> Result<S::Ok, S::Error> {
    match v {
        PrimitiveArray::Bool(v) => v.serialize(s),
        PrimitiveArray::I8(v) => v.serialize(s),
        PrimitiveArray::U8(v) => STANDARD.encode(v).serialize(s),
        PrimitiveArray::I16(v) => v.serialize(s),
        PrimitiveArray::U16(v) => v.serialize(s),
        PrimitiveArray::I32(v) => v.serialize(s),
        PrimitiveArray::U32(v) => v.serialize(s),
        PrimitiveArray::I64(v) => v.serialize(s),
        PrimitiveArray::U64(v) => v.serialize(s),
        PrimitiveArray::F32(v) => s.collect_seq(v.iter().map(|v| f64::from(*v))),
        PrimitiveArray::F64(v) => v.serialize(s),
        PrimitiveArray::String(v) => v.serialize(s),
    }
}

/// The best time per call, in nanoseconds.
fn best(mut call: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..MESSAGES_PER_ROUND).for_each(|_| call());
            start.elapsed().as_secs_f64() * 1e9 / f64::from(MESSAGES_PER_ROUND)
        })
        .fold(f64::INFINITY, f64::min)
}

fn compare(c: &mut Criterion, type_name: &str, cdr: &[u8]) {
    let registry = Registry::bundled();
    let plan = registry.plan(type_name).unwrap();
    let peer = Peer::new(type_name, &registry.text(type_name).unwrap());
    let resolver = peer.resolver();
    let mut out = Vec::new();
    let mut ours = || {
        out.clear();
        plan.write_json(black_box(cdr), &mut out).unwrap();
        black_box(&out);
    };
    let mut theirs_out = Vec::new();
    let mut theirs = || {
        theirs_out.clear();
        peer.json(&resolver, black_box(cdr), &mut theirs_out);
        black_box(&theirs_out);
    };

    let mut group = c.benchmark_group(format!("cdr_json/{type_name}"));
    group.throughput(Throughput::Bytes(cdr.len() as u64));
    group.bench_function("roverline", |b| b.iter(&mut ours));
    group.bench_function("re_ros_msg", |b| b.iter(&mut theirs));
    group.finish();

    let (a, b) = (best(&mut ours), best(&mut theirs));
    println!("ratio {type_name}: roverline {a:.0} ns, re_ros_msg {b:.0} ns, {:.1} times as fast", b / a);
    let parse = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).unwrap();
    assert_eq!(parse(&out), parse(&theirs_out), "{type_name}: the two disagree");
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    compare(&mut c, "sensor_msgs/Imu", &imu());
    compare(&mut c, "sensor_msgs/JointState", &joint_state());
    compare(&mut c, "diagnostic_msgs/DiagnosticArray", &diagnostics());
    c.final_summary();
}
