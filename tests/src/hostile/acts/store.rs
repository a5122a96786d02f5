//! Sessions that keep the store busy.

use super::{NATIVE, repeat, text};
use crate::hostile::target::Target;

fn request_all(target: &Target, fields: &str, path: &str) {
    let request = |id| text(&serde_json::json!({"op": "request", "id": id, "path": path}));
    repeat(target, "/", &format!("{NATIVE}{fields}"), &(0..32).flat_map(request).collect::<Vec<_>>());
}

pub(super) fn values(target: &Target) {
    request_all(target, "", "/api/v2/kv?limit=1000");
}

pub(super) fn events(target: &Target) {
    request_all(target, "", "/api/v2/events?limit=500");
}

pub(super) fn locks(target: &Target) {
    request_all(target, "", "/api/v2/locks");
}

pub(super) fn foreign_pages(target: &Target) {
    request_all(target, "Origin: https://evil.example\r\n", "/api/v2/kv?limit=1000");
}

pub(super) fn watches(target: &Target) {
    let watch = |id: u32| text(&serde_json::json!({"op": "watch", "id": id, "path": "/api/v2/locks"}));
    let unwatch = |id: u32| text(&serde_json::json!({"op": "unwatch", "id": id}));
    let all: Vec<u8> = (0..32).flat_map(|id| [watch(id), unwatch(id), watch(id)].concat()).collect();
    repeat(target, "/", NATIVE, &all);
}
