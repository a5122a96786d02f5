//! Attacks by clients that have some rights, or claim to have them.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use super::wait;
use crate::binary;
use crate::gateway::{self, Gateway};
use crate::hostile::target::Target;
use crate::http::{self, Response};
use crate::temp;

fn send(target: &Target, method: &str, path: &str, body: &str) -> Response {
    let fields = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", target.token);
    target.add_operations(1);
    http::request(target.port(), method, path, &fields, body)
}

/// An endpoint with the rover's name that reports itself healthy and answers every request, but fails the challenge.
pub(super) fn impostor(target: &Target) {
    let scratch = temp::dir();
    let config = format!("[gateway]\nrover = \"{}\"\n", target.rover);
    let config = temp::write(&scratch, "roverline.toml", &config);
    let config = config.to_str().unwrap();
    let args = ["--tier", "primary", "--source", "sim", "--mdns", "on", "--config", config];
    // Another computer might run it, so its start must not disturb the measurement.
    let mut command = gateway::command_of(Path::new("nice"), &["-n", "19"]);
    command.arg(binary::bin("roverline-gateway")).args(["serve", "--port", "0"]);
    let _impostor = Gateway::start(command, &args);
    wait(target);
}

/// Registers peers at open, closed and silent ports. The directory answers the same for all of them, and the bound
/// of peers is reached soon.
pub(super) fn port_scan(target: &Target) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = silent.local_addr().unwrap().port();
    for port in (1..u16::MAX).cycle() {
        if !target.is_running() {
            return;
        }
        let address = format!("127.0.0.1:{}", if port % 2 == 0 { open } else { port });
        let body = serde_json::json!({"tier": "primary", "address": address}).to_string();
        if send(target, "POST", "/api/v2/endpoints", &body).status == 201 {
            http::get(target.port(), "/api/v2/endpoints");
            send(target, "DELETE", &format!("/api/v2/endpoints/{address}"), "");
        }
    }
}

pub(super) fn values(target: &Target) {
    let value = format!("\"{}\"", "x".repeat(900_000));
    for key in (0..u32::MAX).take_while(|_| target.is_running()) {
        send(target, "PUT", &format!("/api/v2/kv/flood/{key}"), &value);
    }
}

pub(super) fn messages(target: &Target) {
    let body = serde_json::json!({"messages": [{"message": "x".repeat(100_000)}]}).to_string();
    for queue in (0..u32::MAX).take_while(|_| target.is_running()) {
        send(target, "POST", &format!("/api/v2/queues/flood-{}/enqueue", queue % 50), &body);
    }
}

pub(super) fn events(target: &Target) {
    let body = serde_json::json!({"stream": "flood", "type": "flood.noted", "data": "x".repeat(10_000)});
    let body = body.to_string();
    while target.is_running() {
        send(target, "POST", "/api/v2/events", &body);
    }
}

pub(super) fn lock_theft(target: &Target) {
    while target.is_running() {
        let lock = "/api/v2/locks/arm";
        send(target, "POST", &format!("{lock}/release"), r#"{"client":"ada"}"#);
        send(target, "POST", &format!("{lock}/force-release"), r#"{"client":"ada","reason":"mine"}"#);
        send(
            target,
            "POST",
            &format!("{lock}/acquire"),
            r#"{"client":"ada","mode":"exclusive","ttl_ms":500}"#,
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
