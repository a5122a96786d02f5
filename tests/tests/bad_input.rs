//! Malformed input: the endpoint survives it and counts it, and a well-behaved client loses nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use roverline_protocol::limits;
use roverline_tests::control_client::ControlClient;
use roverline_tests::gateway::Gateway;
use roverline_tests::http::{self, exchange};
use roverline_tests::plain::PlainClient;
use roverline_tests::raw::{self, RawClient, frame};
use roverline_tests::wait::eventually;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

const TEXT: u8 = 1;
const PING: u8 = 9;
const CLOSE: u8 = 8;

/// Runs `misbehave` on an endpoint that also serves a well-behaved client, which must not be affected. `/status`
/// must count at least `counted` pieces of bad input.
fn with_control_client(counted: u64, misbehave: impl FnOnce(u16)) {
    let gateway = Gateway::serve(&["--source", "sim"]);
    let port = gateway.first_port();
    let control = ControlClient::subscribe(port, "/odom");
    misbehave(port);
    let longest = control.end();
    println!("the control client waited for at most {longest:?} for a sample of a 50 Hz topic");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    eventually("bad input to be counted", Duration::from_secs(10), || {
        http::status(port).counters.bad_input >= counted
    });
    // New clients are served; the sessions of all previous ones are gone.
    eventually("the others to be gone", Duration::from_secs(10), || http::status(port).sessions.is_empty());
    assert_eq!(http::get(port, "/health").status, 200);
    let log = gateway.stop_and_read_stderr();
    assert!(!log.contains("panicked"), "{log}");
}

fn post(path: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}")
        .into_bytes()
}

#[test]
fn malformed_requests_are_answered() {
    with_control_client(9, |port| {
        for path in ["/nothing", "/status/../x", "/%00"] {
            let answer = http::get(port, path);
            assert_eq!(answer.status, 404, "{answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        }
        assert_eq!(exchange(port, &post("/health")).status, 405);
        assert_eq!(exchange(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS?").status, 400);
        assert_eq!(exchange(port, b"\0\xff\xfe\x01\r\n\r\n").status, 400);

        let head = |fields: &str| format!("GET /health HTTP/1.1\r\nHost: x\r\n{fields}\r\n").into_bytes();
        let huge = exchange(port, &head(&format!("X-Long: {}\r\n", "x".repeat(64 << 10))));
        assert!(matches!(huge.status, 0 | 431), "{huge:?}");
        let many = exchange(port, &head(&"X: y\r\n".repeat(limits::HTTP_HEADERS + 10)));
        assert!(matches!(many.status, 400 | 431), "{many:?}");

        let upgrade = |from: &str, to: &str| {
            let request = raw::handshake("/").replace(from, to);
            assert_ne!(request, raw::handshake("/"));
            exchange(port, request.as_bytes())
        };
        let version = upgrade("Version: 13", "Version: 8");
        assert_eq!((version.status, version.header("sec-websocket-version")), (426, Some("13")));
        assert_eq!(upgrade("GET / ", "GET /nowhere ").status, 404);
        assert_eq!(upgrade("Sec-WebSocket-Key: dG", "Sec-WebSocket-Key: ").status, 400);
        assert_eq!(upgrade("Connection: Upgrade", "Connection: keep-alive").status, 400);
        assert_eq!(upgrade("GET", "POST").status, 400);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_survives_malformed_messages() {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        with_control_client(6, |port| {
            runtime.block_on(async {
                let mut client = PlainClient::connect(port).await;
                for message in [
                    Message::binary(vec![1, 2, 3]),
                    Message::text("what?"),
                    Message::text("{\"type\":\"self_destruct\"}"),
                    Message::text("[".repeat(100_000)),
                    Message::text("{\"type\":\"subscribe\",\"topics\":[\"/[\"]}"),
                    Message::text("{\"type\":\"subscribe\",\"topics\":[\"/odom\"],\"max_rate_hz\":-1}"),
                ] {
                    client.send_message(message).await;
                    let error = client.next_of("error").await;
                    assert!(error["message"].as_str().is_some_and(|why| why.len() > 10), "{error}");
                }
                client.send("{\"type\":\"request_telemetry\"}").await;
                client.next_of("telemetry").await;
            });
        });
    });
}

#[test]
fn broken_frames_end_their_session_with_the_right_code() {
    with_control_client(7, |port| {
        let unmasked = [0x81, 2, b'h', b'i'];
        let mut fragmented_ping = frame(PING, b"x");
        fragmented_ping[0] &= 0x7f;
        let reserved = |bit: u8| {
            let mut frame = frame(TEXT, b"x");
            frame[0] |= bit;
            frame
        };
        let mut huge = vec![0x82, 0xff];
        huge.extend_from_slice(&u64::MAX.to_be_bytes());
        huge.extend_from_slice(&[0; 4]);
        for (what, bytes, code) in [
            ("text that is not UTF-8", frame(TEXT, b"\xff\xfe"), 1007),
            ("no mask", unmasked.to_vec(), 1002),
            ("a reserved opcode", frame(3, b"x"), 1002),
            ("a fragmented ping", fragmented_ping, 1002),
            ("a continuation of nothing", frame(0, b"x"), 1002),
            ("2 MiB", frame(TEXT, &vec![b'x'; 2 << 20]), 1009),
            ("an impossible length", huge, 1009),
            ("a close code that does not exist", frame(CLOSE, &999_u16.to_be_bytes()), 1002),
            ("a reserved close code", frame(CLOSE, &1004_u16.to_be_bytes()), 1002),
            ("the code of no status", frame(CLOSE, &1005_u16.to_be_bytes()), 1002),
            ("the code of a lost connection", frame(CLOSE, &1006_u16.to_be_bytes()), 1002),
            ("the code of a TLS failure", frame(CLOSE, &1015_u16.to_be_bytes()), 1002),
            ("the largest close code", frame(CLOSE, &u16::MAX.to_be_bytes()), 1002),
            ("no close code", frame(CLOSE, &0_u16.to_be_bytes()), 1002),
            ("a close code of later versions", frame(CLOSE, &1016_u16.to_be_bytes()), 1002),
            ("the last reserved close code", frame(CLOSE, &2999_u16.to_be_bytes()), 1002),
            ("a close code beyond all ranges", frame(CLOSE, &5000_u16.to_be_bytes()), 1002),
            ("half a close code", frame(CLOSE, &[3]), 1002),
            ("a reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007),
            ("the first reserved bit", reserved(0x40), 1002),
            ("the second reserved bit", reserved(0x20), 1002),
            ("the third reserved bit", reserved(0x10), 1002),
            ("a normal close", frame(CLOSE, &1000_u16.to_be_bytes()), 1000),
        ] {
            let mut client = RawClient::open(port);
            client.send(&bytes);
            assert_eq!(client.close_code(), code, "{what}");
        }
    });
}

#[test]
fn an_unfinished_handshake_times_out() {
    with_control_client(3, |port| {
        let start = Instant::now();
        let mut slow_clients: Vec<TcpStream> = (0..3)
            .map(|_| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.write_all(&raw::handshake("/").as_bytes()[..60]).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                stream
            })
            .collect();
        for stream in &mut slow_clients {
            let mut rest = Vec::new();
            assert!(stream.read_to_end(&mut rest).is_ok(), "still open after {:?}", start.elapsed());
        }
    });
}

#[test]
fn floods_slow_down_their_sender_only() {
    with_control_client(1, |port| {
        let mut pings = RawClient::open(port);
        let mut subscribes = RawClient::open(port);
        for stream in [&pings.0, &subscribes.0] {
            stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        }
        // The endpoint stops reading a flood, so writing stops at its timeout here.
        let ping = frame(PING, &[b'p'; 100]);
        for _ in 0..20_000 {
            if pings.0.write_all(&ping).is_err() {
                break;
            }
        }
        for n in 0..10_000 {
            let request = json!({"type": "subscribe", "topics": [format!("/nowhere/{n}")]}).to_string();
            if subscribes.0.write_all(&frame(TEXT, request.as_bytes())).is_err() {
                break;
            }
        }
        // Too many topics in one request are rejected as a whole.
        let names: Vec<_> = (0..10_000).map(|n| format!("/elsewhere/{n}")).collect();
        let mut greedy = RawClient::open(port);
        greedy.send(&frame(TEXT, json!({"type": "subscribe", "topics": names}).to_string().as_bytes()));
        // Patterns beyond the limit count as bad messages, of which a session may send only so many.
        assert_eq!(subscribes.close_code(), 1008);
    });
}

#[test]
fn a_client_that_does_not_read_costs_the_others_nothing() {
    with_control_client(0, |port| {
        let mut lazy = RawClient::open(port);
        rustix::net::sockopt::set_socket_recv_buffer_size(&lazy.0, 4 << 10).unwrap();
        lazy.send(&frame(TEXT, br#"{"type":"subscribe","topics":["**"]}"#));
        eventually("the endpoint to drop its samples", Duration::from_secs(30), || {
            let status = http::status(port);
            let session = status.sessions.iter().find(|session| session.dialect == "plain").unwrap();
            assert!(session.queued_bytes < limits::OUTBOX_EVERY_BYTES * 2, "{session:?}");
            session.dropped > 0
        });
    });
}

/// Up to `most` random bytes.
fn random_bytes(rng: &mut fastrand::Rng, most: usize) -> Vec<u8> {
    (0..rng.usize(..most)).map(|_| rng.u8(..)).collect()
}

#[test]
fn random_bytes_do_no_harm() {
    with_control_client(20, |port| {
        let mut rng = fastrand::Rng::with_seed(0x5eed_0f0d_d1ce);
        for _ in 0..200 {
            match rng.usize(..3) {
                0 => {
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    let _ = stream.write_all(&random_bytes(&mut rng, 2_000));
                }
                1 => {
                    let mut request = raw::handshake("/").into_bytes();
                    for _ in 0..=rng.usize(..4) {
                        let at = rng.usize(..request.len());
                        request[at] = rng.u8(..);
                    }
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    let _ = stream.write_all(&request);
                    let _ = stream.write_all(&random_bytes(&mut rng, 200));
                }
                _ => {
                    let mut client = RawClient::open(port);
                    let opcode = rng.u8(..16);
                    client.send(&frame(opcode, &random_bytes(&mut rng, 300)));
                    client.send(&random_bytes(&mut rng, 2_000));
                }
            }
        }
    });
}
