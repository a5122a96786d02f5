//! Properties of every type and every message.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

mod support;

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use roverline_schema::{Plan, Registry, Value};
use support::generate::Definitions;

type Known = (Arc<Plan>, Definitions);

static ALL: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let registry = Registry::bundled();
    let names = registry.type_names();
    names.iter().map(|n| (registry.plan(n).unwrap(), Definitions::of(&registry, n))).collect()
});

/// The slow conversion to JSON, as the reference for the fast one.
fn json_of(plan: &Plan, cdr: &[u8]) -> Result<serde_json::Value, String> {
    let mut out = b"kept".to_vec();
    let written = plan.write_json(cdr, &mut out);
    assert!(out.starts_with(b"kept"));
    match written {
        Ok(()) => Ok(serde_json::from_slice(&out[4..]).unwrap()),
        Err(e) => {
            assert_eq!(out, b"kept");
            Err(e.to_string())
        }
    }
}

#[test]
fn every_type_round_trips() {
    for (i, (plan, definitions)) in ALL.iter().enumerate() {
        for seed in 1..20_u64 {
            round(plan, definitions, seed * 0x9e37_79b9 + i as u64);
        }
    }
    println!("types that go round: {}", ALL.len());
}

fn round(plan: &Plan, definitions: &Definitions, seed: u64) {
    let value = definitions.random(seed);
    let little = definitions.encode(&value, false);
    let big = definitions.encode(&value, true);
    let name = plan.type_name();
    assert_eq!(plan.decode(&little).as_ref(), Ok(&value), "{name}");
    assert_eq!(plan.decode(&big).as_ref(), Ok(&value), "{name}");
    let encoded = plan.encode(&value).unwrap();
    assert_eq!(encoded.len(), little.len(), "{name}");
    assert_eq!(plan.decode(&encoded).as_ref(), Ok(&value), "{name}");

    let json = json_of(plan, &little).unwrap();
    assert_eq!(json_of(plan, &big).as_ref(), Ok(&json), "{name}");
    let from_json = plan.encode_json(&json).unwrap();
    assert_eq!(from_json, encoded, "{name}");
    every_field(plan, &little, &value, "");
}

/// Each value can also be read alone.
fn every_field(plan: &Plan, cdr: &[u8], value: &Value, path: &str) {
    assert_eq!(plan.field(cdr, path).unwrap().as_ref(), Some(value), "{} {path}", plan.type_name());
    assert!(plan.has_field(path));
    match value {
        Value::Struct(s) => s.iter().for_each(|(n, v)| {
            let path = if path.is_empty() { n.to_owned() } else { format!("{path}.{n}") };
            every_field(plan, cdr, v, &path);
        }),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .take(3)
                .for_each(|(i, v)| every_field(plan, cdr, v, &format!("{path}[{i}]")));
            assert_eq!(plan.field(cdr, &format!("{path}[{}]", items.len())).unwrap(), None);
        }
        _ => {}
    }
}

#[test]
fn truncation_anywhere_is_an_error() {
    for (i, (plan, definitions)) in ALL.iter().enumerate() {
        let value = definitions.random(i as u64 + 7);
        let cdr = definitions.encode(&value, false);
        // The placeholder of a message without fields may be missing.
        let whole = if plan.field_names().next().is_none() { 4 } else { cdr.len() };
        for len in 0..whole {
            let cut = &cdr[..len];
            let error = plan.decode(cut).expect_err(plan.type_name());
            assert!(json_of(plan, cut).is_err());
            // Errors in the header or in an empty message have no path.
            let nowhere = len < 4 || plan.field_names().next().is_none();
            assert!(nowhere || !error.path.is_empty(), "{} at {len}: {error}", plan.type_name());
        }
        for pad in 1..=4 {
            let mut padded = cdr.clone();
            padded.resize(cdr.len() + pad, 0);
            assert_eq!(plan.decode(&padded).is_ok(), pad <= 3);
            assert_eq!(json_of(plan, &padded).is_ok(), pad <= 3);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_harmless(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), big in any::<bool>()) {
        if let Some(header) = bytes.first_chunk_mut::<2>() {
            *header = [0, u8::from(!big)];
        }
        for (plan, _) in ALL.iter() {
            both_ways(plan, &bytes);
        }
    }

    #[test]
    fn small_numbers_are_harmless(mut bytes in proptest::collection::vec(0..4_u8, 0..400)) {
        // Plausible counts let the decoder get further.
        if let Some(header) = bytes.first_chunk_mut::<2>() {
            *header = [0, 1];
        }
        for (plan, _) in ALL.iter() {
            both_ways(plan, &bytes);
        }
    }

    #[test]
    fn flipped_bytes_are_harmless(seed in any::<u64>(), at in any::<prop::sample::Index>(), to in any::<u8>(), which in any::<prop::sample::Index>()) {
        let (plan, definitions) = &ALL[which.index(ALL.len())];
        let mut cdr = definitions.encode(&definitions.random(seed), seed & 1 == 0);
        let at = at.index(cdr.len());
        cdr[at] = to;
        both_ways(plan, &cdr);
    }

    #[test]
    fn any_text_is_parsed_or_rejected(text in "[a-z0-9_/\\[\\]<= #\"'=,\n.-]{0,200}") {
        let _ = Registry::bundled().add("pkg/Test", &text);
    }

    #[test]
    fn any_path_is_found_or_not(path in "[a-z.\\[\\]0-9]{0,30}") {
        let (plan, definitions) = &ALL[0];
        let cdr = definitions.encode(&definitions.random(1), false);
        let _ = plan.field(&cdr, &path);
        let _ = plan.decode(&cdr).unwrap().get(&path);
    }
}

#[test]
fn numbers_that_padding_displaces_are_reported_alike() {
    // Three float64 in 24 bytes, of which alignment takes 4.
    let mut bytes = vec![0, 1, 0, 0, 3, 0, 0, 0];
    bytes.extend([0; 24]);
    for (plan, _) in ALL.iter() {
        both_ways(plan, &bytes);
    }
}

/// Both readers agree on whether a payload is valid.
fn both_ways(plan: &Plan, bytes: &[u8]) {
    let value = plan.decode(bytes);
    let json = json_of(plan, bytes);
    assert_eq!(value.is_ok(), json.is_ok(), "{}: {value:?} {json:?}", plan.type_name());
    if let (Err(a), Err(b)) = (&value, &json) {
        let path = |text: &str| text.split(": ").next().map(str::to_owned);
        assert_eq!(path(&a.to_string()), path(b), "{}", plan.type_name());
    }
}
