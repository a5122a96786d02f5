//! Malformed and oversized requests, and clients that send requests without reading the responses.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use roverline_protocol::limits;
use roverline_tests::http::{self, Response, exchange};
use roverline_tests::wait::eventually;

use super::{problem, serve};

const ENDPOINTS: &str = "/api/v2/endpoints";
const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn malformed_requests_have_explained_errors() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    for path in
        ["//", "/..", "/api", "/api/v2", "/api/v1/topics", "/api/v2/topicsx", "/%00", "/api/v2/;x", "/\u{7f}"]
    {
        let answer = http::get(port, path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
    }
    for path in [
        "/api/v2/topics/%",
        "/api/v2/topics/%zz",
        "/api/v2/topics/%ff",
        "/api/v2/robots/%f",
        "/api/v2/schemas/%e9",
    ] {
        problem(&http::get(port, path), 400);
    }
    let long = format!("/api/v2/topics/{}", "x/".repeat(2_000));
    let refused = problem(&http::get(port, &long), 400);
    assert!(refused.get("instance").is_none(), "what is too long is not repeated: {refused}");
    let longer = http::get(port, &"/x".repeat(limits::HTTP_HEAD_BYTES));
    assert!(matches!(longer.status, 414 | 431), "{longer:?}");
    let many = http::request(port, "GET", "/health", &"X: y\r\n".repeat(limits::HTTP_HEADERS + 1), "");
    assert_eq!(many.status, 431, "{many:?}");
    for method in ["BREW", "CONNECT", "TRACE", "get"] {
        let answer = http::request(port, method, "/health", "", "");
        assert!(matches!(answer.status, 400 | 404 | 405), "{method}: {answer:?}");
    }
    let twice = http::request(port, "POST", ENDPOINTS, "Content-Length: 3\r\nContent-Length: 4\r\n", "");
    assert_eq!(twice.status, 400, "{twice:?}");
    assert_eq!(http::get(port, "/health").status, 200);
}

#[test]
fn bodies_are_bounded_in_size_and_time() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    // Too long by its declared length, and too long in chunks.
    let head = |more: &str| format!("POST {ENDPOINTS} HTTP/1.1\r\nHost: x\r\n{JSON}{more}\r\n");
    problem(&exchange(port, head("Content-Length: 99999999999\r\n").as_bytes()), 413);
    let chunks = format!(
        "{}{}",
        head("Transfer-Encoding: chunked\r\n"),
        "400\r\n".to_owned() + &"x".repeat(1_024) + "\r\n"
    );
    let endless = format!("{chunks}{}", ("400\r\n".to_owned() + &"x".repeat(1_024) + "\r\n").repeat(16));
    problem(&exchange(port, endless.as_bytes()), 413);
    // A body that never arrives.
    let start = Instant::now();
    problem(&exchange(port, format!("{}{{", head("Content-Length: 10\r\n")).as_bytes()), 408);
    let took = start.elapsed();
    let timeout = Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS);
    assert!(took >= timeout && took < timeout * 2, "{took:?}");
    // A body of a request that takes none is skipped.
    let useless = http::request(port, "GET", "/health", "", &"x".repeat(100_000));
    assert_eq!(useless.status, 200);
    for (body, status) in
        [("{", 400), ("[]", 422), ("\u{0}", 400), ("{\"tier\":\"primary\"}", 422), ("null", 422)]
    {
        problem(&http::request(port, "POST", ENDPOINTS, JSON, body), status);
    }
    assert_eq!(
        problem(&http::request(port, "POST", ENDPOINTS, JSON, &"[".repeat(8_000)), 400)["status"],
        400
    );
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let paths = ["/health", "/nothing", "/api/v2/robots/nobody", "/status"];
    let requests: String =
        paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    stream.write_all(requests.as_bytes()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let statuses: Vec<_> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "404", "404", "200", "200"]);
}

#[test]
fn clients_that_do_not_read_block_no_others() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let resident = || {
        let metrics: serde_json::Value =
            serde_json::from_str(&http::get(port, "/api/v2/metrics").body).unwrap();
        metrics["resident_bytes"].as_u64().unwrap()
    };
    let before = resident();
    // As many as may be pending: while they hold their slots, no other connection is accepted.
    let deaf: Vec<TcpStream> = (0..limits::PENDING_CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 4 << 10).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
            let _ = stream.write_all(&b"GET /api/v2/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100));
            stream
        })
        .collect();
    let start = Instant::now();
    let mut answer = Response::parse(b"");
    eventually("somebody else to be served", Duration::from_secs(30), || {
        answer = http::get(port, "/health");
        answer.status == 200
    });
    println!("served {:?} after {} deaf clients", start.elapsed(), deaf.len());
    assert!(start.elapsed() < Duration::from_millis(limits::HTTP_STALL_MS));
    let grown = resident().saturating_sub(before);
    println!("{} KiB more in use", grown >> 10);
    assert!(grown < (limits::HTTP_RESPONSES_BYTES as u64), "{grown}");
}

#[test]
fn silent_connections_block_no_others() {
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let silent: Vec<_> =
        (0..limits::PENDING_CONNECTIONS).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let start = Instant::now();
    assert_eq!(http::get(port, "/health").status, 200);
    println!("served {:?} after {} silent clients", start.elapsed(), silent.len());
    assert!(start.elapsed() < Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS));
}

#[test]
fn a_silent_connection_is_closed() {
    let gateway = serve(&[]);
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.first_port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let start = Instant::now();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 200") && start.elapsed() < Duration::from_secs(15));
}
