//! The smallest HTTP client: one request, the whole answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use roverline_protocol::status::{HealthDocument, StatusDocument};

/// An answer: status, head, body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, 404, ...; 0 when the connection was closed without an answer.
    pub status: u16,
    /// Status line and header fields, in lower case.
    pub head: String,
    /// What follows.
    pub body: String,
}

impl Answer {
    /// Splits an answer as it came.
    pub fn parse(bytes: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// A header field's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends these bytes to a port and reads one answer, until the other side closes, or is silent for
/// 10 s.
pub fn exchange(port: u16, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = Vec::new();
    // The other side may close before it has read everything.
    let _ = stream.write_all(request);
    let mut buffer = [0; 16 << 10];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..n]);
        let answer = Answer::parse(&bytes);
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        if length.is_some_and(|length: usize| answer.body.len() >= length) {
            return answer;
        }
    }
    Answer::parse(&bytes)
}

/// `GET path`.
pub fn get(port: u16, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    exchange(port, request.as_bytes())
}

/// `GET /health`, read as what it is.
pub fn health(port: u16) -> HealthDocument {
    serde_json::from_str(&get(port, "/health").body).unwrap()
}

/// `GET /status`, read as what it is.
pub fn status(port: u16) -> StatusDocument {
    let answer = get(port, "/status");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// A request of any method, with more header fields (each ending in a line break) and a body.
pub fn request(port: u16, method: &str, path: &str, fields: &str, body: &str) -> Answer {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let host = if fields.contains("Host:") { String::new() } else { format!("Host: 127.0.0.1:{port}\r\n") };
    let head = format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{fields}{length}\r\n");
    exchange(port, format!("{head}{body}").as_bytes())
}
