//! Clients behind proxies and pages of other sites: what they may do here, and the requests that a proxy and
//! a server could understand differently.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::Duration;

use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::raw;
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::eventually;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway with this `[access]` section and an operator's token.
fn with_access(section: &str) -> (Gateway, String, TempDir) {
    let scratch = temp::dir();
    let tokens = scratch.path().join("tokens");
    let tokens = tokens.to_str().unwrap();
    let (code, token, why) = gateway::run(&["token", "add", "--tokens", tokens, "ada"], PATIENCE);
    assert_eq!(code, 0, "{why}");
    let text = format!("[access]\ntokens = {tokens:?}\n{section}\n");
    let config = temp::write(&scratch, "roverline.toml", &text);
    let gateway = Gateway::serve(&["--source", "sim", "--config", config.to_str().unwrap()]);
    (gateway, token.trim().to_owned(), scratch)
}

/// Tries to change something the team shares.
fn write(port: u16, fields: &str) -> Response {
    let fields = format!("Content-Type: application/json\r\n{fields}");
    http::request(port, "POST", "/queue/enqueue", &fields, r#"{"queue_name":"q","message":1}"#)
}

/// Role and address of the newest session.
async fn session_with(port: u16, fields: &[(&'static str, &str)]) -> (String, String) {
    let _client = NativeClient::connect_with(port, fields).await;
    let newest = || http::status(port).sessions.into_iter().max_by_key(|session| session.id);
    let session = newest().unwrap();
    (session.role, session.peer)
}

#[tokio::test]
async fn behind_an_unknown_proxy_everybody_is_an_observer() {
    let (gateway, token, _scratch) = with_access("");
    let port = gateway.first_port();
    assert_eq!(write(port, "").status, 200);
    assert_eq!(session_with(port, &[]).await.0, "commander");
    for (name, value) in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 tunnel"),
        ("X-Forwarded-Proto", "http"),
    ] {
        let field = format!("{name}: {value}\r\n");
        assert_eq!(write(port, &field).status, 401, "{name}");
        assert_eq!(http::request(port, "GET", "/status", &field, "").status, 200, "{name}");
        assert_eq!(write(port, &format!("{field}Authorization: Bearer {token}\r\n")).status, 200);
        let lower: &'static str = Box::leak(name.to_lowercase().into_boxed_str());
        let (role, peer) = session_with(port, &[(lower, value)]).await;
        assert!(role == "observer" && peer.starts_with("127.0.0.1:"), "{name}: {role} {peer}");
    }
    let log = std::fs::read_dir(gateway.state().join("log")).unwrap().flatten();
    let log: String = log.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect();
    assert_eq!(log.matches("came through a proxy").count(), 1, "once a minute:\n{log}");
    assert!(log.contains("trusted_proxies"), "{log}");
    let metrics = http::get(port, "/metrics").body;
    assert!(metrics.contains("\nroverline_unknown_proxy_requests_total 20\n"), "{metrics}");
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let (gateway, token, _scratch) =
        with_access("trusted_proxies = [\"127.0.0.0/8\"]\nremote = \"operator\"");
    let port = gateway.first_port();
    // What is at the left of the proxy's word, the client wrote itself.
    for field in [
        ("x-forwarded-for", "127.0.0.1, 192.0.2.7"),
        ("x-forwarded-for", "192.0.2.66, 192.0.2.7, 127.0.0.1"),
        ("forwarded", "for=127.0.0.1,for=\"192.0.2.7\""),
        ("forwarded", "for=192.0.2.66, for=192.0.2.7, for=127.0.0.1"),
    ] {
        assert_eq!(session_with(port, &[field]).await, ("operator".to_owned(), "192.0.2.7".to_owned()));
    }
    // A tunnel before the proxy, and a field that was passed on as the client wrote it.
    assert_eq!(session_with(port, &[("x-forwarded-for", "127.0.0.1")]).await.0, "operator");
    let forged = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=127.0.0.1")];
    assert_eq!(session_with(port, &forged).await.0, "observer");
    assert_eq!(write(port, "X-Forwarded-For: 127.0.0.1\r\n").status, 401);
    // Wrong tokens count for the client, not for the proxy.
    let guess = |client: &str| {
        write(port, &format!("X-Forwarded-For: {client}\r\nAuthorization: Bearer 0123456789abcdef\r\n"))
            .status
    };
    assert!((0..20).map(|_| guess("192.0.2.8")).any(|status| status == 429));
    assert_eq!(guess("192.0.2.9"), 401);
    let fields = format!("X-Forwarded-For: 192.0.2.8\r\nAuthorization: Bearer {token}\r\n");
    assert_eq!(write(port, &fields).status, 200);
}

fn request(path: &str) -> ClientMessage {
    ClientMessage::Request { id: 1, method: "GET".to_owned(), path: path.to_owned(), body: None }
}

async fn response(native: &mut NativeClient, message: &ClientMessage) -> (u16, String) {
    native.send(message).await;
    loop {
        if let Received::Text(message) = native.next().await
            && let ServerMessage::Response { status, body, .. } = *message
        {
            return (status, body.to_string());
        }
    }
}

#[tokio::test]
async fn a_page_of_another_site_gets_telemetry_only() {
    let (gateway, token, _scratch) = with_access("origins = [\"http://team.example\"]");
    let port = gateway.first_port();
    let mut foreign = NativeClient::connect_with(port, &[("origin", "http://evil.example")]).await;
    let watch = ClientMessage::Watch { id: 1, path: "/api/v2/kv".to_owned() };
    let long = json!({"x": "x".repeat(20_000)});
    let put = ClientMessage::Request {
        id: 1,
        method: "PUT".to_owned(),
        path: "/api/v2/kv/a".to_owned(),
        body: Some(long),
    };
    for message in [request("/api/v2/kv"), request("/api/v2/events"), request("/health"), watch.clone(), put]
    {
        let (status, body) = response(&mut foreign, &message).await;
        assert!(status == 403 && body.contains("[access] origins"), "{status} {body}");
    }
    // Events are not for it, telemetry is.
    let topics = vec!["/imu/data".to_owned()];
    foreign.send(&ClientMessage::Subscribe { id: None, topics, max_rate_hz: None, scopes: None }).await;
    assert_eq!(
        http::request(
            port,
            "POST",
            "/api/v2/emergency-stop",
            "Content-Type: application/json\r\n",
            r#"{"engage":true}"#
        )
        .status,
        200
    );
    let mut samples = 0;
    while samples < 20 {
        match foreign.next().await {
            Received::Sample(..) => samples += 1,
            Received::Text(message) => assert!(!matches!(*message, ServerMessage::Event(_)), "{message:?}"),
            Received::Heartbeat(_) => {}
            Received::Closed(code) => panic!("closed with {code}"),
        }
    }
    // Its user may give it a token.
    foreign.send(&ClientMessage::Auth { token }).await;
    assert_eq!(response(&mut foreign, &request("/api/v2/kv")).await.0, 200);
    let mut listed = NativeClient::connect_with(port, &[("origin", "http://team.example")]).await;
    assert_eq!(response(&mut listed, &request("/api/v2/kv")).await.0, 200);
    assert_eq!(response(&mut listed, &watch).await.0, 200);
    let own = format!("http://127.0.0.1:{port}");
    let mut own = NativeClient::connect_with(port, &[("origin", &own)]).await;
    assert_eq!(response(&mut own, &request("/api/v2/kv")).await.0, 200);
}

#[test]
fn a_request_has_one_host_and_one_origin() {
    let gateway = Gateway::serve(&["--source", "sim"]);
    let port = gateway.first_port();
    let status = |head: &str| http::exchange(port, format!("{head}\r\n\r\n").as_bytes()).status;
    let close = "Connection: close";
    assert_eq!(status(&format!("GET /health HTTP/1.1\r\nHost: rover:8080\r\n{close}")), 200);
    assert_eq!(status("GET /health HTTP/1.0"), 200);
    for fields in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: user@a\r\n",
        "Host: a:x\r\n",
        "Host: a\r\nOrigin: http://a\r\nOrigin: http://a\r\n",
    ] {
        assert_eq!(status(&format!("GET /health HTTP/1.1\r\n{fields}{close}")), 400, "{fields:?}");
        let upgrade = raw::handshake("/").replace("Host: 127.0.0.1\r\n", fields);
        assert_eq!(http::exchange(port, upgrade.as_bytes()).status, 400, "{fields:?}");
    }
    let bad_input = || http::get(port, "/metrics").body.contains("\nroverline_bad_input_total 14\n");
    eventually("each is counted", PATIENCE, bad_input);
}
