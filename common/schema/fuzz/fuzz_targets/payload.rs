//! Fuzz target: any bytes as a message of any bundled type; both readers must agree and the JSON
//! must be valid.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use roverline_schema::{Plan, Registry};

static PLANS: LazyLock<Vec<Arc<Plan>>> = LazyLock::new(|| {
    let registry = Registry::bundled();
    registry.type_names().iter().filter_map(|n| registry.plan(n).ok()).collect()
});

fuzz_target!(|input: (u16, bool, &[u8])| {
    let (which, big_endian, body) = input;
    let plan = &PLANS[usize::from(which) % PLANS.len()];
    let mut cdr = vec![0, u8::from(!big_endian), 0, 0];
    cdr.extend_from_slice(body);
    let mut json = Vec::new();
    let written = plan.write_json(&cdr, &mut json);
    match plan.decode(&cdr) {
        Ok(value) => {
            written.expect("the JSON writer refuses what the decoder takes");
            let json = serde_json::from_slice(&json).expect("not JSON");
            let from_json = plan.encode_json(&json);
            match plan.encode(&value) {
                Ok(again) => {
                    from_json.expect("our own JSON is refused");
                    // Compared as text, since NaN is not equal to itself.
                    let again = plan.decode(&again).expect("our own message is refused");
                    assert_eq!(again.to_string(), value.to_string());
                }
                // Bounds are tolerated when reading and enforced when writing.
                Err(e) => assert!(e.what.contains("at most") && from_json.is_err(), "{e}"),
            }
        }
        Err(_) => {
            assert!(written.is_err() && json.is_empty());
        }
    }
});
