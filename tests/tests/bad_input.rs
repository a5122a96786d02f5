//! Whatever a client sends or fails to do, the endpoint goes on, counts it, and the client beside it
//! misses nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use roverline_protocol::limits;
use roverline_tests::gateway::Gateway;
use roverline_tests::good::Good;
use roverline_tests::http::{self, exchange};
use roverline_tests::plain::Plain;
use roverline_tests::raw::{self, Raw, frame};
use roverline_tests::wait::eventually;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

const TEXT: u8 = 1;
const PING: u8 = 9;

/// Does harm to an endpoint that serves a good client, which must not notice. At least `counted`
/// pieces of bad input must show in `/status`.
fn beside_a_good_client(counted: u64, harm: impl FnOnce(u16)) {
    let gateway = Gateway::serve(&["--source", "sim"]);
    let port = gateway.first_port();
    let good = Good::listening(port, "/odom");
    harm(port);
    let longest = good.end();
    println!("the good client waited for at most {longest:?} for a sample of a 50 Hz topic");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    eventually("bad input to be counted", Duration::from_secs(10), || {
        http::status(port).counters.bad_input >= counted
    });
    // Whoever comes now is served; nobody of those before is still there.
    eventually("the others to be gone", Duration::from_secs(10), || http::status(port).sessions.is_empty());
    assert_eq!(http::get(port, "/health").status, 200);
    let log = gateway.end();
    assert!(!log.contains("panicked"), "{log}");
}

fn post(path: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}")
        .into_bytes()
}

#[test]
fn requests_that_are_not_understood_are_answered() {
    beside_a_good_client(9, |port| {
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
async fn a_session_survives_what_it_does_not_understand() {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        beside_a_good_client(6, |port| {
            runtime.block_on(async {
                let mut client = Plain::connect(port).await;
                for message in [
                    Message::binary(vec![1, 2, 3]),
                    Message::text("what?"),
                    Message::text("{\"type\":\"self_destruct\"}"),
                    Message::text("[".repeat(100_000)),
                    Message::text("{\"type\":\"subscribe\",\"topics\":[\"/[\"]}"),
                    Message::text("{\"type\":\"subscribe\",\"topics\":[\"/odom\"],\"max_rate_hz\":-1}"),
                ] {
                    client.message(message).await;
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
    beside_a_good_client(7, |port| {
        let unmasked = [0x81, 2, b'h', b'i'];
        let mut fragmented_ping = frame(PING, b"x");
        fragmented_ping[0] &= 0x7f;
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
        ] {
            let mut client = Raw::open(port);
            client.send(&bytes);
            assert_eq!(client.close_code(), code, "{what}");
        }
    });
}

#[test]
fn whoever_dawdles_in_the_handshake_is_dropped() {
    beside_a_good_client(3, |port| {
        let start = Instant::now();
        let mut dawdlers: Vec<TcpStream> = (0..3)
            .map(|_| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.write_all(&raw::handshake("/").as_bytes()[..60]).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                stream
            })
            .collect();
        for stream in &mut dawdlers {
            let mut rest = Vec::new();
            assert!(stream.read_to_end(&mut rest).is_ok(), "still open after {:?}", start.elapsed());
        }
    });
}

#[test]
fn floods_slow_down_their_sender_only() {
    beside_a_good_client(1, |port| {
        let mut pings = Raw::open(port);
        let mut subscribes = Raw::open(port);
        for stream in [&pings.0, &subscribes.0] {
            stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        }
        // The endpoint stops reading a flood: writing stops, here at its time limit.
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
        // All at once is refused as a whole.
        let names: Vec<_> = (0..10_000).map(|n| format!("/elsewhere/{n}")).collect();
        let mut greedy = Raw::open(port);
        greedy.send(&frame(TEXT, json!({"type": "subscribe", "topics": names}).to_string().as_bytes()));
        // More patterns than a session may have are bad messages, of which it may have so many.
        assert_eq!(subscribes.close_code(), 1008);
    });
}

#[test]
fn a_client_that_does_not_read_costs_the_others_nothing() {
    beside_a_good_client(0, |port| {
        let mut lazy = Raw::open(port);
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

/// A generator of equal numbers for equal seeds (xorshift).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.throw(most)).map(|_| self.throw(256) as u8).collect()
    }
}

#[test]
fn random_bytes_do_no_harm() {
    beside_a_good_client(20, |port| {
        let mut dice = Dice(0x5eed_0f0d_d1ce);
        for _ in 0..200 {
            match dice.throw(3) {
                0 => {
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    let _ = stream.write_all(&dice.bytes(2_000));
                }
                1 => {
                    let mut request = raw::handshake("/").into_bytes();
                    for _ in 0..=dice.throw(4) {
                        let at = dice.throw(request.len());
                        request[at] = dice.throw(256) as u8;
                    }
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    let _ = stream.write_all(&request);
                    let _ = stream.write_all(&dice.bytes(200));
                }
                _ => {
                    let mut client = Raw::open(port);
                    let opcode = dice.throw(16) as u8;
                    client.send(&frame(opcode, &dice.bytes(300)));
                    client.send(&dice.bytes(2_000));
                }
            }
        }
    });
}
