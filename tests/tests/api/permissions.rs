//! Permissions for changing shared state: every route that writes, with every role.

use roverline_tests::gateway::Gateway;
use roverline_tests::http::outside_address;
use roverline_tests::http::{self, Response};
use roverline_tests::require;
use roverline_tests::temp;
use serde_json::{Value, json};

use super::directory::{TokenOnlyGateway, token_only};
use super::{json as body, problem, serve};

const COMMANDERS: [&str; 4] =
    ["/api/v2/locks/x/force-release", "/api/v2/queues/x/purge", "/api/v2/robots/x/fail", "/api/v2/log"];

/// Every operation that writes, from the OpenAPI document, with parameters filled in.
fn writing_operations(port: u16) -> Vec<(String, String)> {
    let document = body(&http::get(port, "/api/v2/openapi.json"));
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = match path.split_once('{') {
            Some((before, rest)) => format!("{before}x{}", rest.split_once('}').unwrap().1),
            None => path.clone(),
        };
        let writes = methods.as_object().unwrap().keys().filter(|method| *method != "get");
        all.extend(writes.map(|method| (method.to_uppercase(), path.clone())));
    }
    assert!(all.len() > 20, "{all:?}");
    all
}

fn send(port: u16, (method, path): &(String, String), fields: &str) -> Response {
    http::request(port, method, path, &format!("Content-Type: application/json\r\n{fields}"), "{}")
}

#[test]
fn writing_needs_permission() {
    let TokenOnlyGateway { gateway, observer, operator, commander, .. } = &token_only();
    let port = gateway.first_port();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for (n, one) in writing_operations(port).iter().enumerate() {
        problem(&send(port, one, ""), 401);
        // An address may show a few wrong tokens, and then has to wait.
        let guessed = send(port, one, &bearer("guess"));
        assert!(guessed.status == 401 || (n > 5 && guessed.status == 429), "{n} {guessed:?}");
        problem(&guessed, guessed.status);
        problem(&send(port, one, &bearer(observer)), 403);
        let foreign = format!("{}Origin: http://evil.example\r\n", bearer(commander));
        problem(&send(port, one, &foreign), 403);
    }
    assert_eq!(body(&http::get(port, "/locks")), json!({"locks": []}));
    assert_eq!(body(&http::get(port, "/queue/all")), json!({"queues": []}));
    for one in writing_operations(port) {
        let allowed = send(port, &one, &bearer(operator)).status;
        assert_ne!(allowed, 401, "{one:?}");
        assert_eq!(allowed == 403, COMMANDERS.contains(&one.1.as_str()), "{one:?} {allowed}");
        let allowed = send(port, &one, &bearer(commander)).status;
        assert!(allowed != 401 && allowed != 403, "{one:?} {allowed}");
    }
}

#[test]
fn from_beyond_loopback_writing_needs_a_token() {
    let address = require!(outside_address());
    let scratch = temp::dir();
    let config = temp::write(&scratch, "roverline.toml", "[gateway]\nhost = \"0.0.0.0\"\nmdns = \"off\"\n");
    let gateway = serve(&["--config", config.to_str().unwrap()]);
    let port = gateway.first_port();
    let request = |method: &str, path: &str, fields: &str| {
        use std::io::{Read, Write};
        let body = r#"{"resource":"arm","client_id":"ada","lock_type":"shared"}"#;
        let mut stream = std::net::TcpStream::connect((address, port)).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}");
        let rest = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(format!("{head}{rest}").as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Response::parse(&bytes)
    };
    problem(&request("POST", "/locks/acquire", ""), 401);
    // Headers about the client's address are not trusted.
    for claim in ["X-Forwarded-For: 127.0.0.1\r\n", "Forwarded: for=127.0.0.1\r\n", "X-Real-IP: ::1\r\n"] {
        problem(&request("POST", "/locks/acquire", claim), 401);
    }
    assert_eq!(body(&request("GET", "/locks", "")), json!({"locks": []}));
    let held: Value = super::post_ok(
        port,
        "/locks/acquire",
        &json!({"resource": "arm", "client_id": "ada", "lock_type": "shared"}),
    );
    assert_eq!(held["success"], true);
}

#[test]
fn state_files_are_private_to_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let gateway: Gateway = serve(&[]);
    let port = gateway.first_port();
    super::post_ok(port, "/queue/enqueue", &json!({"queue_name": "q", "message": "a secret"}));
    super::post_ok(port, "/api/v2/events", &json!({"stream": "s", "type": "t"}));
    let mut folders = vec![gateway.state().join("store"), gateway.state().join("keys")];
    assert!(folders.iter().any(|folder| folder.exists()));
    let mut seen = 0;
    while let Some(folder) = folders.pop().filter(|folder| folder.exists()) {
        let mode = |path: &std::path::Path| path.symlink_metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|kind| kind != "pub") && path.is_file() {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 3, "the store, its log and a key: {seen}");
}
