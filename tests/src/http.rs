//! A minimal HTTP/1.1 client: one request per connection, the whole response at once.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use roverline_protocol::status::{HealthDocument, StatusDocument};

use crate::skip::Missing;

/// A response: status, head and body.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code; 0 if the connection was closed without a response.
    pub status: u16,
    /// Status line and header fields, in lower case.
    pub head: String,
    /// Everything after the head.
    pub body: String,
}

impl Response {
    /// Parses a response from the bytes received.
    pub fn parse(bytes: &[u8]) -> Response {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        Response { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends `request` to a port and reads one response, until it is complete (of an upgrade: its head), the
/// server closes the connection, or nothing arrives for 40 s.
pub fn exchange(port: u16, request: &[u8]) -> Response {
    exchange_with((IpAddr::from([127, 0, 0, 1]), port).into(), request)
}

/// The same with any address.
pub fn exchange_with(server: SocketAddr, request: &[u8]) -> Response {
    exchange_over(connect(server), request)
}

/// Connects, with the time limit of an answer.
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream
}

/// The same as [`exchange`] over a connection, encrypted or not.
pub fn exchange_over(mut stream: impl Read + Write, request: &[u8]) -> Response {
    let mut bytes = Vec::new();
    // The server may close the connection before it has read everything.
    let _ = stream.write_all(request);
    let mut buffer = [0; 16 << 10];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..n]);
        let answer = Response::parse(&bytes);
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        // After the head of an upgrade a WebSocket follows, which has no end.
        let is_upgrade = answer.status == 101 && bytes.windows(4).any(|end| end == b"\r\n\r\n");
        if is_upgrade || length.is_some_and(|length: usize| answer.body.len() >= length) {
            return answer;
        }
    }
    Response::parse(&bytes)
}

/// This computer's address on its network, from which a client is not local.
pub fn outside_address() -> Result<IpAddr, Missing> {
    let find = || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
        // Nothing is sent: the kernel only looks up the route.
        socket.connect("192.0.2.1:9").ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
    };
    find().ok_or_else(|| Missing::capability("this computer has no address on a network"))
}

/// Sends `GET path`.
pub fn get(port: u16, path: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    exchange(port, request.as_bytes())
}

/// Requests and parses `/health`.
pub fn health(port: u16) -> HealthDocument {
    serde_json::from_str(&get(port, "/health").body).unwrap()
}

/// Requests and parses `/status`.
pub fn status(port: u16) -> StatusDocument {
    let answer = get(port, "/status");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// Sends a request with any method, extra header fields (each ends in CRLF) and a body.
pub fn request(port: u16, method: &str, path: &str, fields: &str, body: &str) -> Response {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let host = if fields.contains("Host:") { String::new() } else { format!("Host: 127.0.0.1:{port}\r\n") };
    let head = format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{fields}{length}\r\n");
    exchange(port, format!("{head}{body}").as_bytes())
}
