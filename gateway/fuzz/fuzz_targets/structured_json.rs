//! JSON that is nearly a message: the right keys with values of every kind, deep, long and odd.

use libfuzzer_sys::arbitrary::{Result, Unstructured};

/// Words that strings consist of, besides noise.
const WORDS: &[&str] = &[
    "/odom",
    "/cmd_vel",
    "/a/**",
    "**",
    "geometry_msgs/msg/Twist",
    "geometry_msgs/Twist",
    "std_srvs/srv/SetBool",
    "cdr",
    "json",
    "none",
    "png",
    "cbor",
    "cbor-raw",
    "package://a/../b",
    "AAEC",
    "10.0.0.7:8081",
    "/api/v2/locks",
    "/api/v2/kv/a?linearizable=true",
    "\u{0}",
    "",
];

/// A message of one of `ops` under `key`, with some of `fields`.
pub fn structured_json(input: &[u8], key: &str, ops: &[&str], fields: &[&str]) -> Option<String> {
    let mut noise = Unstructured::new(input);
    let mut object = serde_json::Map::new();
    let op = noise.choose(ops).ok()?;
    object.insert(key.to_owned(), serde_json::Value::from(*op));
    while !noise.is_empty() && object.len() < 16 {
        let field = noise.choose(fields).ok()?;
        object.insert((*field).to_owned(), value(&mut noise, fields, 0).ok()?);
    }
    serde_json::to_string(&object).ok()
}

fn value(noise: &mut Unstructured<'_>, fields: &[&str], depth: u32) -> Result<serde_json::Value> {
    let kinds = if depth < 5 { 10 } else { 7 };
    Ok(match noise.int_in_range(0..=kinds)? {
        0 => serde_json::Value::Null,
        1 => noise.arbitrary::<bool>()?.into(),
        2 => noise.arbitrary::<i8>()?.into(),
        3 => noise.arbitrary::<u64>()?.into(),
        4 => noise.arbitrary::<i64>()?.into(),
        5 => noise.arbitrary::<f64>()?.into(),
        6 => (*noise.choose(WORDS)?).into(),
        7 => noise.arbitrary::<String>()?.into(),
        8 => {
            let count = noise.int_in_range(0..=4)?;
            let items = (0..count).map(|_| value(noise, fields, depth + 1)).collect::<Result<Vec<_>>>()?;
            items.into()
        }
        _ => {
            let mut object = serde_json::Map::new();
            for _ in 0..noise.int_in_range(0..=4)? {
                let field = *noise.choose(fields)?;
                object.insert(field.to_owned(), value(noise, fields, depth + 1)?);
            }
            object.into()
        }
    })
}
