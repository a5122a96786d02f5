//! Golden tests: messages that a real ROS 2 serialized, both ways.

mod support;

use roverline_schema::{Registry, Value};
use serde_json::Value as Json;
use support::{Vector, same, vectors};

#[test]
fn golden_vectors() {
    let Some(vectors) = vectors() else { return };
    let registry = Registry::bundled();
    let mut wrong = Vec::new();
    for (i, v) in vectors.iter().enumerate() {
        if let Err(e) = check(&registry, v) {
            wrong.push(format!("{i} {} {}: {e}", v.type_name, v.case));
        }
    }
    println!("golden vectors: {} of {}", vectors.len() - wrong.len(), vectors.len());
    assert!(
        wrong.is_empty(),
        "{} wrong, the first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    assert!(!vectors.is_empty());
}

fn check(registry: &Registry, v: &Vector) -> Result<(), String> {
    let plan = registry.plan(&v.type_name).map_err(|e| e.to_string())?;
    let value = plan.decode(&v.cdr).map_err(|e| format!("decode: {e}"))?;
    same(&value, &v.value).map_err(|e| format!("decode: {e}"))?;

    let encoded = plan.encode(&value).map_err(|e| format!("encode: {e}"))?;
    if !same_bytes(&encoded, &v.cdr) {
        return Err(format!("encode: {:02x?}, wanted {:02x?}", encoded, v.cdr));
    }

    // Zero is accepted where theirs holds anything, so check what ours decodes to.
    let again = plan.decode(&encoded).map_err(|e| format!("decode again: {e}"))?;
    same(&again, &v.value).map_err(|e| format!("decode again: {e}"))?;

    let mut json = Vec::new();
    plan.write_json(&v.cdr, &mut json).map_err(|e| format!("json: {e}"))?;
    let json: Json = serde_json::from_slice(&json).map_err(|e| format!("json: {e}"))?;
    if let Some(want) = &v.json {
        same_json(&json, want).map_err(|e| format!("json: {e}"))?;
    }
    let from_json = plan.encode_json(&json).map_err(|e| format!("encode_json: {e}"))?;
    let again = plan.decode(&from_json).map_err(|e| format!("decode what encode_json made: {e}"))?;
    if like(&again, &value) { Ok(()) } else { Err(format!("encode_json: {again}, wanted {value}")) }
}

/// Equal after a detour through JSON, where infinities became null and then NaN.
fn like(got: &Value, want: &Value) -> bool {
    match (got, want) {
        (Value::Struct(g), Value::Struct(w)) => {
            g.len() == w.len() && g.iter().zip(w.iter()).all(|((n, g), (m, w))| n == m && like(g, w))
        }
        (Value::Array(g), Value::Array(w)) => g.len() == w.len() && g.iter().zip(w).all(|(g, w)| like(g, w)),
        (Value::F32(g), Value::F32(w)) => g.to_bits() == w.to_bits() || (g.is_nan() && !w.is_finite()),
        (Value::F64(g), Value::F64(w)) => g.to_bits() == w.to_bits() || (g.is_nan() && !w.is_finite()),
        (g, w) => g == w,
    }
}

/// Equal except for padding, which holds leftovers of the sender's memory in theirs and zero in
/// ours.
fn same_bytes(ours: &[u8], theirs: &[u8]) -> bool {
    let theirs = &theirs[..theirs.len().min(ours.len() + 3)];
    theirs.len() >= ours.len()
        && ours.iter().zip(theirs).enumerate().all(|(i, (a, b))| a == b || i == 2 || i == 3 || *a == 0)
}

/// Equal values, floats bit by bit.
fn same_json(got: &Json, want: &Json) -> Result<(), String> {
    match (got, want) {
        (Json::Object(g), Json::Object(w)) => {
            if g.len() != w.len() {
                return Err(format!("{g:?}, wanted {w:?}"));
            }
            w.iter().try_for_each(|(k, w)| {
                same_json(g.get(k).unwrap_or(&Json::Null), w).map_err(|e| format!("{k}: {e}"))
            })
        }
        (Json::Array(g), Json::Array(w)) if g.len() == w.len() => {
            g.iter().zip(w).try_for_each(|(g, w)| same_json(g, w))
        }
        (Json::Number(g), Json::Number(w)) if g.is_f64() && w.is_f64() => {
            let equal = g.as_f64().map(f64::to_bits) == w.as_f64().map(f64::to_bits);
            if equal { Ok(()) } else { Err(format!("{g}, wanted {w}")) }
        }
        (g, w) if g == w => Ok(()),
        (g, w) => Err(format!("{g}, wanted {w}")),
    }
}
