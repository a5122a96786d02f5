//! Connections: slow ones and long polls do not make others wait.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use roverline_protocol::limits;
use roverline_tests::gateway::Gateway;
use roverline_tests::http::{self, Response};
use roverline_tests::wait::{eventually, observe_for};

use crate::{counter, gateway_with_token};

/// Keeps `count` connections open that send a byte now and then, until `stop` is set.
fn drip(port: u16, count: usize, stop: &AtomicBool) {
    let open = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nonblocking(true).unwrap();
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX: ");
        stream
    };
    let mut streams: Vec<_> = (0..count).map(|_| open()).collect();
    while !stop.load(Ordering::Relaxed) {
        for stream in &mut streams {
            let ended = stream.read(&mut [0; 256]).is_ok();
            if ended || stream.write_all(b"a").is_err() {
                *stream = open();
            }
        }
        observe_for(Duration::from_millis(200), "the pace of the bytes");
    }
}

#[test]
fn slow_heads_do_not_make_newcomers_wait() {
    let gateway = Gateway::serve(&["--source", "sim"]);
    let port = gateway.first_port();
    let stop = Arc::new(AtomicBool::new(false));
    let dripping = std::thread::spawn({
        let stop = stop.clone();
        move || drip(port, limits::PENDING_CONNECTIONS + 40, &stop)
    });
    eventually("slow connections to be closed", Duration::from_secs(20), || {
        counter(port, "roverline_evicted_connections_total") > 0
    });
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(http::get(port, "/health").status, 200);
        // They used to wait until a slow connection had used up its five seconds.
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    dripping.join().unwrap();
}

/// A revision that the store does not reach.
const REVISION: u64 = 1_000_000;

/// Sends a long poll of the list of locks.
fn long_poll(port: u16, wait_ms: u64, fields: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let path = format!("/api/v2/locks?after_revision={REVISION}&wait_ms={wait_ms}");
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> Response {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Response::parse(&bytes)
}

#[test]
fn long_polls_of_strangers_do_not_cut_an_operators() {
    let (gateway, token, _scratch) = gateway_with_token(&[]);
    let port = gateway.first_port();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let own = long_poll(port, 3_000, &bearer);
    let mut strangers: Vec<_> = (0..160).map(|_| long_poll(port, 20_000, "")).collect();
    let refused = answer(strangers.pop().unwrap());
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert!(refused.body.contains("requests of observers wait"), "{refused:?}");
    assert!(counter_of_operator(port, &bearer) > 0);
    assert_eq!(answer(own).status, 200, "it is answered in its time");
}

/// The counter as an operator reads it: all slots for observers' requests are taken.
fn counter_of_operator(port: u16, bearer: &str) -> u64 {
    let page = http::request(port, "GET", "/metrics", bearer, "").body;
    let name = "roverline_refused_requests_total ";
    page.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}
