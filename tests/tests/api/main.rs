//! The HTTP API of the real gateway: what it answers, to whom, and what it makes of bad input.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

mod browsers;
mod conformance;
mod disks;
mod events;
mod examples;
mod hostile;
mod kv;
mod lives;
mod locks;
mod queues;
mod reading;
mod rights;
mod session;
mod writing;

use roverline_tests::gateway::Gateway;
use roverline_tests::http::{self, Answer};
use serde_json::Value;

/// One endpoint on the built-in rover, with nobody else around.
fn serve(more: &[&str]) -> Gateway {
    Gateway::serve(&[&["--source", "sim", "--base-port", "0"], more].concat())
}

fn json(answer: &Answer) -> Value {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// Checks a problem (RFC 9457); what it says.
fn problem(answer: &Answer, status: u16) -> Value {
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

/// `POST` of JSON.
fn post(port: u16, path: &str, body: &str) -> Answer {
    http::request(port, "POST", path, "Content-Type: application/json\r\n", body)
}

/// What a request for something of the team's is answered with 200.
fn done(port: u16, path: &str, body: &Value) -> Value {
    json(&post(port, path, &body.to_string()))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
