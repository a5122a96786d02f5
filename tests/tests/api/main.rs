//! The HTTP API of a real gateway: responses, access, and malformed input.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

mod conformance;
mod cors;
mod directory;
mod disk_faults;
mod events;
mod examples;
mod kv;
mod lifecycle;
mod locks;
mod malformed_requests;
mod native_session;
mod permissions;
mod queues;
mod reading;

use roverline_tests::gateway::Gateway;
use roverline_tests::http::{self, Response};
use serde_json::Value;

/// One endpoint on the simulated rover, without peers.
fn serve(more: &[&str]) -> Gateway {
    Gateway::serve(&[&["--source", "sim", "--base-port", "0"], more].concat())
}

fn json(answer: &Response) -> Value {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// Checks a problem document (RFC 9457) and returns it.
fn problem(answer: &Response, status: u16) -> Value {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (status, Some("application/problem+json")),
        "{answer:?}"
    );
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&problem["type"], &problem["status"]), (&"about:blank".into(), &status.into()));
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 5), "{problem}");
    problem
}

/// Sends a `POST` request with a JSON body.
fn post(port: u16, path: &str, body: &str) -> Response {
    http::request(port, "POST", path, "Content-Type: application/json\r\n", body)
}

/// The body of a `POST` that must be answered with 200.
fn post_ok(port: u16, path: &str, body: &Value) -> Value {
    json(&post(port, path, &body.to_string()))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
