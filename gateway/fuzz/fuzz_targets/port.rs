//! Input from clients to a port over TCP: its first bytes (TLS or not), request heads and bodies, opening
//! handshakes, WebSocket frames in every dialect. Each connection is answered with HTTP, TLS or nothing, and
//! ends soon after the client has ended it.
#![no_main]

mod fuzz_endpoint;
mod structured_json;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use roverline_gateway::config::TlsSettings;
use roverline_gateway::endpoint::Endpoint;
use roverline_gateway::server::listener::accept_loop;
use roverline_gateway::server::tls::{self, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;

/// How soon a connection ends, on a computer that has other things to do.
const END: Duration = Duration::from_secs(8);
/// How much of an answer is read.
const ANSWER_BYTES: u64 = 4 << 20;

const OPS: &[&str] = &[
    "hello",
    "auth",
    "resume",
    "subscribe",
    "unsubscribe",
    "schema",
    "time",
    "emergency_stop",
    "budget",
    "switched",
    "spans",
    "request",
    "watch",
    "unwatch",
    "advertise",
    "publish",
    "call_service",
    "fragment",
    "png",
    "getParameters",
    "setParameters",
    "fetchAsset",
    "request_telemetry",
    "ping",
];
const FIELDS: &[&str] = &[
    "op",
    "type",
    "id",
    "topics",
    "topic",
    "path",
    "method",
    "body",
    "token",
    "max_rate_hz",
    "cursors",
    "age_ms",
    "scopes",
    "type_name",
    "t0_ns",
    "engage",
    "reason",
    "traceparent",
    "spans",
    "context",
    "start_ns",
    "duration_ns",
    "bytes_per_s",
    "client",
    "heartbeat_ms",
    "msg",
    "service",
    "args",
    "data",
    "num",
    "total",
    "subscriptions",
    "channelId",
    "parameterNames",
    "parameters",
    "uri",
    "requestId",
    "from",
    "to",
    "cause",
    "tier",
    "address",
    "holder",
    "ttl_ms",
    "value",
];
const TIERS: &[&str] = &["primary", "secondary", "tertiary", "emergency", "none"];
const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"];
const PATHS: &[&str] = &[
    "/",
    "/health",
    "/status",
    "/metrics",
    "/api/v2/endpoints",
    "/api/v2/endpoints/127.0.0.1:9",
    "/api/v2/emergency-stop",
    "/api/v2/topics",
    "/api/v2/topics/odom/latest",
    "/api/v2/schemas/std_msgs/msg/Bool",
    "/api/v2/locks/arm/acquire",
    "/api/v2/locks/acquire",
    "/api/v2/locks/arm/handover",
    "/api/v2/queues/jobs/enqueue",
    "/api/v2/queues/jobs/dequeue",
    "/api/v2/kv/a%2Fb?linearizable=true",
    "/api/v2/events?limit=3",
    "/api/v2/log",
    "/api/v2/robots/rover/transition",
    "/api/v2/openapi.json",
];
const HANDSHAKES: &[(&str, &str)] = &[
    ("/", "roverline.v1"),
    ("/", "foxglove.websocket.v1"),
    ("/rosbridge", "x"),
    ("/telemetry", "x"),
    ("/", "x"),
];

struct Port {
    runtime: Runtime,
    address: SocketAddr,
    _endpoint: Arc<Endpoint>,
}

static PORT: LazyLock<Port> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("no runtime");
    let (address, endpoint) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("no port");
        let address = listener.local_addr().expect("it has an address");
        let endpoint = fuzz_endpoint::endpoint(address.port());
        let (hub, ingress) = (endpoint.hub.clone(), endpoint.ingress.clone());
        tokio::spawn(async move { hub.run(&ingress).await });
        tokio::spawn(accept_loop(endpoint.clone(), listener, Some(own_certificate())));
        (address, endpoint)
    });
    Port { runtime, address, _endpoint: endpoint }
});

fn own_certificate() -> Arc<Tls> {
    let dir = scratch();
    let made = rcgen::generate_simple_self_signed(vec!["rover".to_owned()]).expect("no certificate");
    let (cert, key) = (dir.join("rover.crt"), dir.join("rover.key"));
    std::fs::write(&cert, made.cert.pem()).expect("the certificate is not written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("the key is not written");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("the key is public");
    let settings = TlsSettings {
        client_ca: Some(cert.clone()),
        cert: Some(cert),
        key: Some(key),
        ..TlsSettings::default()
    };
    tls::check(&settings).expect("the certificate is right");
    let tls = Tls::new(&settings).expect("these are settings of TLS");
    // It is read already.
    let _ = std::fs::remove_dir_all(dir);
    tls
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let bytes = match kind % 6 {
        0 => rest.to_vec(),
        1 => [&[0x16, 3, 1][..], rest].concat(),
        2 => request(rest),
        3 => [head("GET", "/health", &String::from_utf8_lossy(rest)).as_bytes(), b"\r\n"].concat(),
        4 => session(rest, |rest| rest.to_vec()),
        _ => session(rest, |rest| rest.chunks(rest.len() / 4 + 1).flat_map(message).collect()),
    };
    let answer = PORT.exchange(&bytes);
    let is_tls = matches!(answer.first(), Some(0x15 | 0x16));
    assert!(answer.is_empty() || is_tls || is_http(&answer), "{}", answer.escape_ascii());
});

/// A request with a body that is nearly right.
fn request(noise: &[u8]) -> Vec<u8> {
    let Some(([method, path], rest)) = noise.split_first_chunk() else { return Vec::new() };
    let body = structured_json::structured_json(rest, "tier", TIERS, FIELDS).unwrap_or_default();
    let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let (method, path) = (METHODS[*method as usize % METHODS.len()], PATHS[*path as usize % PATHS.len()]);
    format!("{}\r\n{body}", head(method, path, &fields)).into_bytes()
}

/// A WebSocket of any dialect, and what is sent over it.
fn session(noise: &[u8], frames: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let Some((which, rest)) = noise.split_first() else { return Vec::new() };
    let (path, subprotocol) = HANDSHAKES[*which as usize % HANDSHAKES.len()];
    let fields = format!(
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {subprotocol}\r\n"
    );
    let mut bytes = format!("{}\r\n", head("GET", path, &fields)).into_bytes();
    bytes.extend(frames(rest));
    bytes
}

fn head(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: rover:8080\r\n{fields}")
}

/// A text frame with a message that is nearly right.
fn message(noise: &[u8]) -> Vec<u8> {
    let key = if noise.first().is_some_and(|byte| byte % 5 == 0) { "type" } else { "op" };
    let text = structured_json::structured_json(noise, key, OPS, FIELDS).unwrap_or_default();
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend((text.len().min(0xffff) as u16).to_be_bytes());
    // Masked with zeros.
    frame.extend([0; 4]);
    frame.extend(text.bytes().take(0xffff));
    frame
}

fn is_http(answer: &[u8]) -> bool {
    let Some(rest) = answer.strip_prefix(b"HTTP/1.") else { return false };
    matches!(rest, [b'0' | b'1', b' ', b'1'..=b'5', a, b, b' ', ..] if a.is_ascii_digit() && b.is_ascii_digit())
}

impl Port {
    /// Sends the bytes and returns the answer.
    fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("no socket");
            let mut stream = socket.connect(self.address).await.expect("no connection");
            // The endpoint may close first.
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let mut bounded = stream.take(ANSWER_BYTES);
            let ended = tokio::time::timeout(END, bounded.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "the connection stays open: {}", bytes.escape_ascii());
            answer
        })
    }
}

/// A directory of this process for files.
fn scratch() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("roverline-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("no directory for temporary files");
    dir
}
