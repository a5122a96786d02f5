//! The emergency stop's latch file: nothing but a whole document that says so reads as released, and no damage
//! to an engaged one releases the stop.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use roverline_gateway::emergency_stop::stored_state;
use serde_json::{Value, json};

static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("roverline-fuzz-latch-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("no directory for the latch");
    dir
});

/// Damage that disks and power cuts cause.
#[derive(Debug, Arbitrary)]
enum Damage {
    Cut { at: u16 },
    Zeros { at: u16, bytes: u16 },
    Lost { at: u16, bytes: u8 },
    Twice { at: u16, bytes: u8 },
    Changed { at: u16, to: [u8; 3] },
    Longer { with: u8, bytes: u16 },
}

#[derive(Debug, Arbitrary)]
enum Content<'a> {
    Any(&'a [u8]),
    Engaged { id: &'a str, by: &'a str, reason: &'a str, done: Vec<(u8, bool)>, damage: Option<Damage> },
}

fuzz_target!(|content: Content<'_>| match content {
    Content::Any(bytes) => {
        if !is_engaged(bytes) {
            assert!(is_released(bytes), "{}", bytes.escape_ascii());
        }
    }
    Content::Engaged { id, by, reason, done, damage } => {
        let done: Vec<_> = done
            .iter()
            .take(64)
            .map(|(id, engage)| json!({"id": id.to_string(), "engage": engage}))
            .collect();
        // In the order in which it is written.
        let mut bytes = format!(
            r#"{{"engaged":true,"id":{},"by":{},"reason":{},"at_ns":1,"done":{}}}"#,
            json!(id),
            json!(by),
            json!(reason),
            json!(done)
        )
        .into_bytes();
        if let Some(damage) = damage {
            damage.apply(&mut bytes);
        }
        assert!(is_engaged(&bytes), "{}", bytes.escape_ascii());
    }
});

fn is_engaged(bytes: &[u8]) -> bool {
    fs::write(DIR.join("emergency_stop.json"), bytes).expect("the latch is not written");
    let state = stored_state(&DIR);
    assert!(state.stored || (state.engaged && state.problem.is_some()), "{state:?}");
    state.engaged
}

/// Read without the latch's own code.
fn is_released(bytes: &[u8]) -> bool {
    let Ok(latch) = serde_json::from_slice::<Value>(bytes) else { return false };
    match latch.as_array() {
        None => {
            let texts = ["id", "reason"].iter().all(|key| latch[key].is_string());
            latch["engaged"] == false && latch["at_ns"].is_i64() && texts
        }
        Some(_) => false,
    }
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let range = |at: u16, count: usize| {
            let at = usize::from(at) % length;
            at..(at + count).min(length)
        };
        match self {
            Damage::Cut { at } => bytes.truncate(usize::from(at) % bytes.len()),
            Damage::Zeros { at, bytes: count } => {
                let range = range(at, count.into());
                bytes[range].fill(0);
            }
            Damage::Lost { at, bytes: count } => drop(bytes.drain(range(at, count.into()))),
            Damage::Twice { at, bytes: count } => {
                let range = range(at, count.into());
                let copied = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, copied);
            }
            Damage::Changed { at, to } => {
                let range = range(at, to.len());
                let count = range.len();
                bytes[range].copy_from_slice(&to[..count]);
            }
            Damage::Longer { with, bytes: count } => bytes.resize(bytes.len() + usize::from(count), with),
        }
    }
}
