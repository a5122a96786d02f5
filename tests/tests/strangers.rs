//! Clients behind proxies and pages of other sites: their permissions, and requests that a proxy and a server could
//! interpret differently.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::Duration;

use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http::{self, Response};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::plain::PlainClient;
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
    // The entries left of the proxy's own are written by the client.
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
    ClientMessage::Request {
        id: 1,
        method: "GET".to_owned(),
        path: path.to_owned(),
        body: None,
        traceparent: None,
    }
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
        traceparent: None,
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

/// Reads a document as a page's script does from its own host: no `Origin`, and over plain HTTP no `Sec-Fetch` fields.
fn read_as_page(port: u16, host: &str, path: &str, more: &str) -> Response {
    let fields =
        format!("Host: {host}:{port}\r\nUser-Agent: Mozilla/5.0 (X11)\r\nAccept-Language: en\r\n{more}");
    http::request(port, "GET", path, &fields, "")
}

#[tokio::test]
async fn a_page_whose_name_was_pointed_at_the_rover_gets_telemetry_only() {
    let (gateway, token, _scratch) = with_access("hosts = [\"rover.lab.example\"]");
    let port = gateway.first_port();
    for path in ["/api/v2/kv", "/api/v2/events", "/api/v2/queues", "/locks", "/status", "/metrics"] {
        let refused = read_as_page(port, "evil.example", path, "");
        assert!(refused.status == 421 && refused.body.contains("hosts under [access]"), "{path} {refused:?}");
        let bearer = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(read_as_page(port, "evil.example", path, &bearer).status, 200, "{path}");
        for own in ["127.0.0.1", "localhost", "rover", "rover.local", "rover.lab.example"] {
            assert_eq!(read_as_page(port, own, path, "").status, 200, "{own} {path}");
        }
        // A plain tool that has the name from /etc/hosts.
        let tool = "Host: crawler.lab.example\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n";
        assert_eq!(http::request(port, "GET", path, tool, "").status, 200, "{path}");
    }
    for path in ["/", "/health", "/api/v2/topics", "/api/v2/endpoints"] {
        assert_eq!(read_as_page(port, "evil.example", path, "").status, 200, "{path}");
    }
    let wrong = "Authorization: Bearer 0123456789abcdef\r\n";
    assert_eq!(read_as_page(port, "evil.example", "/api/v2/kv", wrong).status, 401);

    let page = |host: &'static str, origin: &'static str| [("host", host), ("origin", origin)];
    let mut bent = NativeClient::connect_with(port, &page("evil.example:80", "http://evil.example:80")).await;
    let (status, body) = response(&mut bent, &request("/api/v2/kv")).await;
    assert!(status == 403 && body.contains("[access] hosts"), "{status} {body}");
    let own = page("rover.lab.example:80", "http://rover.lab.example:80");
    let mut named = NativeClient::connect_with(port, &own).await;
    assert_eq!(response(&mut named, &request("/api/v2/kv")).await.0, 200);
    assert_eq!(session_with(port, &own).await.0, "commander");
    // A library for WebSockets is no browser.
    let tool = [("host", "crawler.lab.example"), ("user-agent", "Mozilla/5.0"), ("accept-language", "*")];
    let mut tool = NativeClient::connect_with(port, &tool).await;
    assert_eq!(response(&mut tool, &request("/api/v2/kv")).await.0, 200);
}

/// Tries the requests that a page can send without a CORS preflight: a form, or a script with a simple content type.
#[test]
fn no_page_of_another_site_changes_anything() {
    let (gateway, token, _scratch) = with_access("origins = [\"http://team.example\"]");
    let port = gateway.first_port();
    let shown = format!("Authorization: Bearer {token}\r\n");
    let kinds =
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json"];
    let pages = [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://team.example\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ];
    let acts = [
        ("POST", "/api/v2/emergency-stop", r#"{"engage":true}"#),
        ("POST", "/queue/enqueue", r#"{"queue_name":"q","message":1}"#),
        ("POST", "/locks/acquire", r#"{"resource":"arm","client_id":"x"}"#),
        ("POST", "/detect-deadlock", ""),
        ("PUT", "/api/v2/kv/a", "1"),
        ("DELETE", "/api/v2/kv/a", ""),
    ];
    for (method, path, body) in acts {
        for page in pages {
            for kind in kinds {
                for token in ["", &shown] {
                    let fields = format!("Content-Type: {kind}\r\n{page}{token}");
                    let status = http::request(port, method, path, &fields, body).status;
                    assert_eq!(status, 403, "{method} {path} {fields}");
                }
            }
        }
        // A page whose name was pointed here, and the rover's own with what no form can have.
        let bent = "Host: evil.example\r\nOrigin: http://evil.example\r\nContent-Type: text/plain\r\n";
        assert_eq!(http::request(port, method, path, bent, body).status, 421, "{method} {path}");
    }
    let document = http::get(port, "/api/v2/emergency-stop").body;
    assert!(document.contains("\"engaged\":false"), "{document}");
    let own = format!("Origin: http://127.0.0.1:{port}\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(write(port, &own).status, 200);
    assert_eq!(http::request(port, "POST", "/queue/enqueue", &own, r#"{"queue_name":"q"}"#).status, 415);
}

#[tokio::test]
async fn a_page_of_another_site_reads_no_parameters() {
    let (gateway, token, _scratch) = with_access(
        "[[access.allow]]\nrole = \"observer\"\ncall = [\"/**\"]\nset = [\"/**\"]\npublish = [\"/**\"]",
    );
    let port = gateway.first_port();
    let evil = [("origin", "http://evil.example")];
    let mut page = PlainClient::try_connect_with(port, "/rosbridge", &evil).await.unwrap();
    let mut own = PlainClient::try_connect_at(port, "/rosbridge").await.unwrap();
    let calls = [
        ("/rosapi/get_param", json!({"name": "/navigation:max_speed"})),
        ("/rosapi/has_param", json!({"name": "/navigation:max_speed"})),
        ("/rosapi/set_param", json!({"name": "/navigation:max_speed", "value": "0.5"})),
        ("/rosapi/delete_param", json!({"name": "/navigation:max_speed"})),
        ("/rosapi/get_param_names", json!({})),
        ("/navigation/get_parameters", json!({"names": ["max_speed"]})),
        ("/navigation/list_parameters", json!({})),
        ("/rosapi/topics", json!({})),
    ];
    for (service, args) in calls {
        let call = json!({"op": "call_service", "id": "1", "service": service, "args": args}).to_string();
        for (client, may) in [(&mut own, true), (&mut page, service == "/rosapi/topics")] {
            client.send(&call).await;
            let answer = next_with(client, "op", "service_response").await;
            assert_eq!(answer["result"], may, "{service} {answer}");
            let text = answer["values"].to_string();
            assert_eq!(text.contains("telemetry only"), !may, "{service} {answer}");
        }
    }
    page.send(&json!({"op": "auth", "token": token}).to_string()).await;
    page.send(r#"{"op":"call_service","id":"2","service":"/rosapi/get_param_names"}"#).await;
    let answer = next_with(&mut page, "id", "2").await;
    assert_eq!(answer["result"], true, "{answer}");

    let foxglove = [("sec-websocket-protocol", "foxglove.websocket.v1")];
    let requests = [
        json!({"op": "getParameters", "parameterNames": [], "id": "1"}),
        json!({"op": "getParameters", "parameterNames": ["/navigation.max_speed"], "id": "1"}),
        json!({"op": "setParameters", "parameters": [{"name": "/navigation.max_speed", "value": 0.5}], "id": "1"}),
        json!({"op": "subscribeParameterUpdates", "parameterNames": ["/navigation.max_speed"]}),
    ];
    for request in requests {
        let mut page =
            PlainClient::try_connect_with(port, "/", &[&foxglove[..], &evil].concat()).await.unwrap();
        page.send(&request.to_string()).await;
        let answer = next_with(&mut page, "op", "status").await;
        assert!(answer["message"].as_str().unwrap().contains("telemetry only"), "{request} {answer}");
    }
    let mut own = PlainClient::try_connect_with(port, "/", &foxglove).await.unwrap();
    own.send(r#"{"op":"getParameters","parameterNames":["/navigation.max_speed"],"id":"1"}"#).await;
    let answer = next_with(&mut own, "op", "parameterValues").await;
    assert!(answer["parameters"][0]["value"].is_number(), "{answer}");
}

/// The next message with this value in this field.
async fn next_with(client: &mut PlainClient, field: &str, value: &str) -> serde_json::Value {
    loop {
        let message = client.next().await.unwrap();
        if message[field] == value {
            return message;
        }
    }
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
