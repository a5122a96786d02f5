//! TLS on the endpoints' ports, with Python's `ssl` as the client, and the `cert` command.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use roverline_tests::certs::Certs;
use roverline_tests::clients::{browser, certutil, python};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::script::Script;
use roverline_tests::wait::observe_for;
use roverline_tests::{http, require};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(40);
const CLIENT: &str = "tls_client.py";

fn serve(config: &str) -> Gateway {
    Gateway::serve(&["--source", "sim", "--config", config])
}

fn metric(port: u16, name: &str) -> f64 {
    let page = http::get(port, "/metrics").body;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

#[test]
fn tls_and_plain_connections_share_a_port() {
    let python = require!(python());
    let certs = Certs::with_node("rover.local");
    let gateway = serve(&certs.config("rover.local", ""));
    let port = gateway.first_port();
    let args = ["checks", &port.to_string(), &certs.file("ca.crt")];
    let found = Script::start(&python, CLIENT, &args).finish(PATIENCE);
    assert_eq!(found["versions"], json!({"TLSv1.3": 200, "TLSv1.2": 200}), "{found}");
    assert_eq!(found["plain"], 200, "{found}");
    assert!(found["old"].as_str().unwrap().contains("ALERT"), "{found}");
    // Of all suites of TLS 1.2: forward secrecy and authenticated encryption only.
    let accepted: Vec<&str> =
        found["ciphers"]["accepted"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert!(found["ciphers"]["tried"].as_u64().unwrap() > 20 && !accepted.is_empty(), "{found}");
    let is_strong = |name: &&str| {
        name.starts_with("ECDHE-") && (name.contains("-GCM-") || name.contains("-CHACHA20-POLY1305"))
    };
    assert!(accepted.iter().all(is_strong), "{accepted:?}");
    for refused in ["wrong_name", "unknown_authority"] {
        assert_eq!(found[refused], "CERTIFICATE_VERIFY_FAILED", "{found}");
    }
    let completed = metric(port, r#"roverline_tls_handshakes_total{result="completed"}"#);
    assert_eq!(completed, (2 + accepted.len()) as f64, "{accepted:?}");
}

#[test]
fn a_certificate_is_renewed_without_dropping_sessions() {
    let python = require!(python());
    let certs = Certs::with_node("rover.local");
    certs.cert(&["node", "renewed"]);
    let gateway = serve(&certs.config("rover.local", ""));
    let args = ["reload", &gateway.first_port().to_string(), &certs.file("ca.crt")];
    let mut script = Script::start(&python, CLIENT, &args);
    let first = script.line();
    // A certificate that does not fit its key yet changes nothing.
    std::fs::copy(certs.path("renewed.crt"), certs.path("rover.local.crt")).unwrap();
    observe_for(Duration::from_millis(1_500), "the files are checked every second");
    certs.replace("rover.local", "renewed");
    let last = script.finish(PATIENCE);
    assert!(last["second"].is_string() && last["second"] != first["first"], "{first} {last}");
    assert_eq!(last["received"].as_array().unwrap().len(), 5, "{last}");
}

/// In a browser whose user has imported the authority, and in one without it.
#[test]
fn a_browser_that_trusts_the_authority_opens_the_page() {
    let (node, certutil) = (require!(browser()), require!(certutil()));
    let certs = Certs::with_node("rover.local");
    certs.cert(&["node", "renewed"]);
    certs.node_until("expired", "localhost", 2020);
    let gateway = Gateway::up(&["--source", "sim", "--config", &certs.config("rover.local", "")]);
    let expired = serve(&certs.config("expired", ""));
    let (port, expired_port) = (gateway.first_port().to_string(), expired.first_port().to_string());
    let args = [certutil.to_str().unwrap(), &certs.file("ca.crt"), &port, &expired_port];
    let mut script = Script::start(&node, "tls_page.mjs", &args);
    let found = script.line();
    for (refused, error) in [
        ("unknown", "ERR_CERT_AUTHORITY_INVALID"),
        ("wrongName", "ERR_CERT_COMMON_NAME_INVALID"),
        ("expired", "ERR_CERT_DATE_INVALID"),
    ] {
        assert!(found[refused].as_str().is_some_and(|why| why.contains(error)), "{refused}: {found}");
    }
    let shown = &found["shown"];
    assert_eq!((&shown["securityState"], &shown["protocol"]), (&json!("secure"), &json!("TLS 1.3")));
    let modern = ["AES_128_GCM", "AES_256_GCM", "CHACHA20_POLY1305"];
    assert!(modern.iter().any(|cipher| shown["cipher"] == *cipher), "{found}");
    assert_eq!((&shown["subjectName"], &shown["issuer"]), (&json!("rover.local"), &json!("Roverline team")));
    let sockets = found["sockets"].as_array().unwrap();
    let is_secure = |socket: &Value| socket["url"].as_str().unwrap().starts_with("wss://localhost:");
    assert!(!sockets.is_empty() && sockets.iter().all(is_secure), "{found}");

    certs.replace("rover.local", "renewed");
    observe_for(Duration::from_millis(2_500), "the files are checked every second");
    let found = script.request("renewed");
    assert_eq!(found, json!({"went_on": true, "secure": true, "renewed": "renewed"}));
}

#[test]
fn a_stalled_handshake_is_closed_in_time() {
    let certs = Certs::with_node("rover.local");
    let gateway = serve(&certs.config("rover.local", ""));
    let port = gateway.first_port();
    let start = Instant::now();
    let mut stalled = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // The beginning of a handshake record of 512 bytes.
    stalled.write_all(&[0x16, 3, 1, 2, 0]).unwrap();
    let mut garbage = TcpStream::connect(("127.0.0.1", port)).unwrap();
    garbage.write_all(&[0x16; 64]).unwrap();
    for stream in [&mut garbage, &mut stalled] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(9)).contains(&took), "{took:?}");
    assert_eq!(metric(port, r#"roverline_tls_handshakes_total{result="failed"}"#), 2.0);
    assert_eq!(http::get(port, "/health").status, 200);
}

/// A slow handshake takes of the time that the first request has.
#[test]
fn a_handshake_and_the_first_request_share_their_time() {
    let python = require!(python());
    let certs = Certs::with_node("rover.local");
    let gateway = serve(&certs.config("rover.local", ""));
    let port = gateway.first_port();
    let args = ["late", &port.to_string(), &certs.file("ca.crt")];
    let after = Script::start(&python, CLIENT, &args).finish(PATIENCE)["after"].as_f64().unwrap();
    assert!((4.5..7.5).contains(&after), "{after} s");
    assert_eq!(metric(port, r#"roverline_tls_handshakes_total{result="completed"}"#), 1.0);
}

#[test]
fn certificates_are_explained_and_mistakes_are_reported() {
    let certs = Certs::with_node("rover.local");
    let made = certs.cert(&["client", "ada", "--role", "commander"]);
    for part in ["ada, commander", "fingerprint  SHA256:", "--ca", "client_ca"] {
        assert!(made.contains(part), "{part}: {made}");
    }
    let run = |args: &[&str]| gateway::run(args, PATIENCE);
    let dir = certs.file("");
    let (code, _, why) = run(&["cert", "init", "--dir", &dir]);
    assert!(code == 1 && why.contains("nothing is overwritten"), "{why}");
    let (code, shown, _) = run(&["cert", "show", &certs.file("rover.local.crt")]);
    assert!(code == 0 && shown.contains("rover.local, localhost, 127.0.0.1, ::1"), "{shown}");

    let up = |config: &str| run(&["up", "--source", "sim", "--base-port", "0", "--config", config]);
    certs.cert(&["node", "other"]);
    std::fs::copy(certs.path("other.key"), certs.path("rover.local.key")).unwrap();
    let (code, _, why) = up(&certs.config("rover.local", ""));
    assert!(code == 2 && why.contains("rover.local.crt"), "{why}");
    let (code, _, why) = up(&certs.config("missing", ""));
    assert!(code == 2 && why.contains("missing.crt"), "{why}");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(certs.path("other.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, why) = up(&certs.config("other", ""));
    assert!(code == 2 && why.contains("chmod 600"), "{why}");
}
