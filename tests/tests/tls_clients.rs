//! Clients over TLS: the authority, the first certificate, certificates as identities, and tokens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use roverline_client::{Config, Event, Link, TlsOptions};
use roverline_protocol::Tier;
use roverline_tests::certs::Certs;
use roverline_tests::clients::python;
use roverline_tests::gateway::{self, Gateway, clean_environment};
use roverline_tests::http::{self, Response, outside_address};
use roverline_tests::process::{self, Guard};
use roverline_tests::script::Script;
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::{eventually, poll_async, within};
use roverline_tests::{binary, require};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

const PATIENCE: Duration = Duration::from_secs(30);

fn serve(config: &str, more: &[&str]) -> Gateway {
    Gateway::serve(&[&["--source", "sim", "--config", config], more].concat())
}

/// Runs `roverline` with this home: its exit code and standard error.
fn roverline(home: &TempDir, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(binary::bin("roverline"));
    clean_environment(&mut command);
    command.args(args).env("HOME", home.path()).env_remove("XDG_STATE_HOME");
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = Guard(child);
    let status = process::wait(&mut child.0, PATIENCE).unwrap();
    let mut text = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (status.code().unwrap_or(-1), text)
}

#[test]
fn the_first_certificate_is_remembered_and_a_changed_one_is_refused() {
    let (certs, home) = (Certs::with_node("rover.local"), temp::dir());
    let gateway = serve(&certs.config("rover.local", ""), &[]);
    let url = format!("wss://127.0.0.1:{}", gateway.first_port());
    let status = || roverline(&home, &["status", &url]);
    let (code, stderr) = status();
    assert!(code == 0 && stderr.contains("first connection to 127.0.0.1:"), "{stderr}");
    let fingerprint =
        |text: &str| text.split(' ').find(|word| word.starts_with("SHA256:")).unwrap().to_owned();
    let first = fingerprint(&stderr);
    let shown = gateway::run(&["cert", "show", &certs.file("rover.local.crt")], PATIENCE).1;
    assert!(shown.contains(&first), "{shown} {first}");
    assert_eq!(status(), (0, String::new()), "the second time it is known");

    certs.cert(&["node", "renewed"]);
    certs.replace("rover.local", "renewed");
    let mut stderr = String::new();
    eventually("the changed certificate is refused", PATIENCE, || {
        let (code, text) = status();
        stderr = text;
        code == 1
    });
    for part in [&first, "has changed", "cert show", ".local/state/roverline/known_hosts"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    // The team's authority vouches for it.
    assert_eq!(roverline(&home, &["status", &url, "--ca", &certs.file("ca.crt")]), (0, String::new()));
    let other = Certs::default();
    let (code, stderr) = roverline(&home, &["status", &url, "--ca", &other.file("ca.crt")]);
    assert!(code == 1 && stderr.contains("not signed by the authority"), "{stderr}");
}

#[test]
fn expired_certificates_and_wrong_names_are_refused() {
    let (certs, home) = (Certs::default(), temp::dir());
    certs.node_until("expired", "localhost", 2020);
    certs.node_until("elsewhere", "elsewhere.example", 2090);
    for (file, text) in [("expired", "has expired"), ("elsewhere", "is not for the name localhost")] {
        let gateway = serve(&certs.config(file, ""), &[]);
        let url = format!("wss://localhost:{}", gateway.first_port());
        let (code, stderr) = roverline(&home, &["status", &url, "--ca", &certs.file("ca.crt")]);
        assert!(code == 1 && stderr.contains(text), "{file}: {stderr}");
    }
    let plain = Gateway::serve(&["--source", "sim"]);
    let url = format!("wss://localhost:{}", plain.first_port());
    let (code, stderr) = roverline(&home, &["status", &url]);
    assert!(code == 1 && stderr.contains("does not speak TLS"), "{stderr}");
}

#[test]
fn a_client_certificate_is_an_identity() {
    let python = require!(python());
    let (certs, home) = (Certs::with_node("rover.local"), temp::dir());
    for (name, role) in [("ada", "operator"), ("guest", "observer"), ("chief", "observer")] {
        certs.cert(&["client", name, "--role", role]);
    }
    let more = format!("client_ca = \"{}\"\n[tls.roles]\nchief = \"commander\"\n", certs.file("ca.crt"));
    let gateway = serve(&certs.config("rover.local", &more), &["--loopback-role", "observer"]);
    let (port, ca) = (gateway.first_port(), certs.file("ca.crt"));
    let url = format!("wss://localhost:{port}");
    let put = |name: Option<&str>| {
        let mut args = vec!["kv".to_owned(), "--url".into(), url.clone(), "--ca".into(), ca.clone()];
        if let Some(name) = name {
            let file = |kind: &str| certs.file(&format!("{name}.{kind}"));
            args.extend(["--cert".into(), file("crt"), "--key".into(), file("key")]);
        }
        args.extend(["put".into(), "goal".into(), "1".into()]);
        roverline(&home, &args.iter().map(String::as_str).collect::<Vec<_>>()).0
    };
    assert_eq!([None, Some("guest"), Some("ada"), Some("chief")].map(put), [1, 1, 0, 0]);
    // The same over HTTP, with Python.
    for (name, status) in [("guest", 403), ("ada", 200), ("chief", 200)] {
        let file = |kind: &str| certs.file(&format!("{name}.{kind}"));
        let args = ["try", "localhost", &port.to_string(), &ca, &file("crt"), &file("key")];
        let found = Script::start(&python, "tls_client.py", &args).finish(PATIENCE);
        assert_eq!(found, json!({"status": 200, "put": status}), "{name}");
    }
    // A certificate of another authority is no identity.
    let other = Certs::default();
    other.cert(&["client", "ada"]);
    let (cert, key) = (other.file("ada.crt"), other.file("ada.key"));
    let (code, stderr) = roverline(&home, &["status", &url, "--ca", &ca, "--cert", &cert, "--key", &key]);
    assert!(code == 1 && stderr.contains("refuses the certificate of this client"), "{stderr}");
}

/// A renewed certificate is shown on the next connection, and a revoked one ends its session. Files that cannot be
/// used are reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_clients_are_renewed_and_revoked_while_they_are_connected() {
    let certs = Certs::with_node("rover.local");
    for name in ["ada", "bob", "eve"] {
        certs.cert(&["client", name]);
    }
    certs.cert(&["revoke"]);
    let more = format!("client_ca = {:?}\nrevoked = {:?}\n", certs.file("ca.crt"), certs.file("ca.crl"));
    let gateway = serve(&certs.config("rover.local", &more), &["--loopback-role", "observer"]);
    let port = gateway.first_port();
    certs.replace("own", "ada");
    let path = |name: &str| Some(certs.path(name));
    let tls =
        TlsOptions { ca: path("ca.crt"), cert: path("own.crt"), key: path("own.key"), known_hosts: None };
    let config = Config::with_urls(&[format!("wss://localhost:{port}")]).unwrap().with_tls(tls).unwrap();
    let (link, mut events) = Link::open(config);
    let reports: Arc<Mutex<Vec<String>>> = Arc::default();
    let reported = reports.clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Certificate { text, .. } = event {
                reported.lock().unwrap().push(text);
            }
        }
    });
    let is_reported = |part: &str| reports.lock().unwrap().iter().any(|text| text.contains(part));
    let operators = || {
        let sessions = http::status(port).sessions;
        sessions.iter().filter(|session| session.role == "operator").count()
    };
    let operates = || tokio::task::block_in_place(|| operators() == 1);
    let soon = async |what: &str, condition: &dyn Fn() -> bool| {
        let found = poll_async(PATIENCE, async || condition().then_some(())).await;
        assert!(found.is_some(), "not within {PATIENCE:?}: {what}");
    };
    soon("ada is an operator", &operates).await;
    // Revoked in the middle of her session.
    certs.cert(&["revoke", "ada"]);
    soon("ada's session has ended", &|| !operates()).await;
    // Bob's certificate takes the place of hers in the files, and the program that runs shows it.
    certs.replace("own", "bob");
    soon("bob is an operator", &operates).await;
    assert!(!is_reported("cannot be used"), "{reports:?}");
    // Files that cannot be used do not end a session. They are reported with the next connection.
    std::fs::write(certs.path("own.crt"), "damaged").unwrap();
    certs.cert(&["revoke", "bob"]);
    soon("the damaged files are reported", &|| is_reported("cannot be used")).await;
    certs.replace("own", "eve");
    soon("eve is an operator", &operates).await;
    drop(link);
}

/// A gateway with TLS that listens on all addresses, a token, and the address beyond loopback.
fn reachable(address: IpAddr, tls: &str, access: &str) -> (Gateway, Certs, String) {
    let certs = Certs::default();
    certs.cert(&["node", "rover.local", &address.to_string()]);
    let (code, token, why) =
        gateway::run(&["token", "add", "--tokens", &certs.file("tokens"), "ada"], PATIENCE);
    assert_eq!(code, 0, "{why}");
    let config = certs.config("rover.local", &format!("{tls}\n[access]\n{access}\n"));
    let tokens = certs.file("tokens");
    let gateway = serve(&config, &["--host", "0.0.0.0", "--tokens", &tokens]);
    (gateway, certs, token.trim().to_owned())
}

fn get(address: IpAddr, port: u16, path: &str, fields: &str) -> Response {
    let mut stream = TcpStream::connect((address, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    Response::parse(&bytes)
}

/// An endpoint's answer to a token in a message over a plain connection.
async fn answer_to_message(url: &str, subprotocol: Option<&'static str>, message: &Value) -> String {
    let mut request = url.into_client_request().unwrap();
    if let Some(name) = subprotocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(name));
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    socket.send(Message::text(message.to_string())).await.unwrap();
    let answer = async {
        while let Some(Ok(message)) = socket.next().await {
            let text = message.to_text().unwrap_or_default();
            if text.contains("auth") || text.contains("insecure") || text.contains("role\":\"operator") {
                return text.to_owned();
            }
        }
        "the connection ended".to_owned()
    };
    within("an answer about the token", PATIENCE, answer).await
}

/// The texts of a link until it has a sample.
async fn texts_until_sample(config: Config) -> Vec<String> {
    let (link, mut events) = Link::open(config);
    link.subscribe("**", None);
    let mut texts = Vec::new();
    loop {
        match within("a sample", PATIENCE, events.next()).await.unwrap() {
            Event::Sample(_) => return texts,
            Event::Notice { text, .. } | Event::Certificate { text, .. } => texts.push(text),
            _ => {}
        }
    }
}

#[tokio::test]
async fn beyond_loopback_a_token_needs_tls() {
    let address = require!(outside_address());
    let (gateway, certs, token) = reachable(address, "", "");
    let port = gateway.first_port();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let refused = get(address, port, "/status", &bearer);
    assert!(refused.status == 426 && refused.body.contains("insecure = true"), "{refused:?}");
    assert_eq!(get(address, port, &format!("/?token={token}"), "Upgrade: websocket\r\n").status, 426);
    assert_eq!(get(address, port, "/status", "").status, 200);
    // The console is an observer, and shows why.
    let config = |scheme: &str| {
        let config = Config::with_urls(&[format!("{scheme}://{address}:{port}")]).unwrap();
        Config { token: Some(token.clone()), ..config }
    };
    let texts = texts_until_sample(config("ws")).await;
    assert!(texts.iter().any(|text| text.contains("wss://") && text.contains("observer")), "{texts:?}");
    let tls = TlsOptions { ca: Some(certs.path("ca.crt")), ..TlsOptions::default() };
    let texts = texts_until_sample(config("wss").with_tls(tls).unwrap()).await;
    assert!(texts.is_empty(), "{texts:?}");
    let native = Some("roverline.v1");
    for (subprotocol, key) in [(None, "type"), (None, "op"), (native, "op")] {
        let message = json!({key: "auth", "token": token});
        let answer = answer_to_message(&format!("ws://{address}:{port}/"), subprotocol, &message).await;
        assert!(answer.contains("insecure = true"), "{subprotocol:?}: {answer}");
    }
    let home = temp::dir();
    let url = format!("wss://{address}:{port}");
    let ca = certs.file("ca.crt");
    let put = ["kv", "--url", &url, "--ca", &ca, "--token", &token, "put", "goal", "1"];
    assert_eq!(roverline(&home, &put).0, 0);

    let (gateway, _certs, token) = reachable(address, "", "insecure = true");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(get(address, gateway.first_port(), "/status", &bearer).status, 200);
}

#[test]
fn tls_only_is_for_other_computers_and_not_for_health() {
    let address = require!(outside_address());
    let (gateway, certs, _) = reachable(address, "only = true", "");
    let port = gateway.first_port();
    let refused = get(address, port, "/status", "");
    assert!(refused.status == 426 && refused.body.contains("wss://"), "{refused:?}");
    assert_eq!(get(address, port, "/health", "").status, 200);
    assert_eq!(http::get(port, "/status").status, 200);
    let home = temp::dir();
    let (code, stderr) = roverline(&home, &["status", &format!("ws://{address}:{port}")]);
    assert!(code == 1 && stderr.contains("TLS only"), "{stderr}");
    let args = ["status", &format!("wss://{address}:{port}"), "--ca", &certs.file("ca.crt")];
    assert_eq!(roverline(&home, &args), (0, String::new()));
}

#[test]
fn a_relay_reads_the_rover_over_tls_with_its_own_certificate() {
    let certs = Certs::with_node("rover.local");
    certs.cert(&["client", "relay"]);
    let more = format!("client_ca = \"{}\"\n", certs.file("ca.crt"));
    let rover = Gateway::up(&["--source", "sim", "--config", &certs.config("rover.local", &more)]);
    let urls: Vec<String> =
        rover.endpoints.iter().map(|(_, port)| format!("wss://localhost:{port}")).collect();
    let (ca, cert, key) = (certs.file("ca.crt"), certs.file("relay.crt"), certs.file("relay.key"));
    let upstream = urls.join(",");
    let args = ["--upstream", &upstream, "--ca", &ca, "--cert", &cert, "--key", &key];
    let relay = Gateway::start(gateway::command(&["relay", "--base-port", "0"]), &args);
    eventually("the rover's samples", PATIENCE, || {
        http::health(relay.port(Tier::Primary)).source.topics > 20
    });
    let sessions = http::status(rover.port(Tier::Primary)).sessions;
    assert!(sessions.iter().any(|session| session.role == "operator"), "{sessions:?}");
}
