//! The clients, and the server processes that they connect to.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::ROLE;

/// A server process; killed when dropped.
pub(super) struct Server {
    pub(super) child: Child,
    pub(super) input: ChildStdin,
    pub(super) output: BufReader<ChildStdout>,
}

impl Server {
    pub(super) fn start(role: &str) -> Server {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Server { child, input, output }
    }

    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    pub(super) fn rss_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The dialect of a client.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClientDialect {
    /// The native protocol.
    Native,
    /// The Foxglove protocol.
    Foxglove,
    /// rosbridge with this compression.
    Rosbridge(&'static str),
    /// The plain dialect, as a script uses it.
    Plain,
    /// No subscription at all.
    Nothing,
}

/// A connection that implements just enough of RFC 6455.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) buffer: Box<[u8]>,
    pub(super) filled: usize,
}

impl Client {
    pub(super) fn connect(address: SocketAddr, dialect: ClientDialect, channel: u64) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut client = Client { stream, buffer: vec![0; 256 << 10].into(), filled: 0 };
        let (path, protocol) = match dialect {
            ClientDialect::Native => ("/", "Sec-WebSocket-Protocol: roverline.v1\r\n"),
            ClientDialect::Foxglove => ("/", "Sec-WebSocket-Protocol: foxglove.sdk.v1\r\n"),
            ClientDialect::Rosbridge(_) => ("/rosbridge", ""),
            ClientDialect::Plain => ("/telemetry", ""),
            ClientDialect::Nothing => ("/", ""),
        };
        write!(
            client.stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
        )
        .unwrap();
        client.read_head();
        client.subscribe(dialect, channel);
        client.stream.set_nonblocking(true).unwrap();
        client
    }

    fn subscribe(&mut self, dialect: ClientDialect, channel: u64) {
        let client = self;
        match dialect {
            ClientDialect::Native => {
                client.send(r#"{"op":"subscribe","topics":["/bench"]}"#);
                client.wait_for("\"subscribed\"");
            }
            ClientDialect::Foxglove => {
                client.wait_for("\"advertise\"");
                client.send(&format!(
                    r#"{{"op":"subscribe","subscriptions":[{{"id":1,"channelId":{channel}}}]}}"#
                ));
            }
            ClientDialect::Rosbridge(compression) => client.send(&format!(
                r#"{{"op":"subscribe","topic":"/bench","type":"std_msgs/msg/String","compression":"{compression}"}}"#
            )),
            ClientDialect::Plain => {
                client.send(r#"{"type":"subscribe","topics":["/bench"]}"#);
                client.wait_for("\"subscribed\"");
            }
            ClientDialect::Nothing => {}
        }
    }

    pub(super) fn read_head(&mut self) {
        loop {
            self.fill().unwrap();
            let head = &self.buffer[..self.filled];
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(head));
                self.consume(end + 4);
                return;
            }
        }
    }

    /// Sends a text frame, masked with zeros.
    pub(super) fn send(&mut self, text: &str) {
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&(text.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).unwrap();
    }

    pub(super) fn wait_for(&mut self, word: &str) {
        let mut found = false;
        while !found {
            self.frames(|_, body| found |= String::from_utf8_lossy(body).contains(word));
            if !found {
                self.fill().unwrap();
            }
        }
    }

    pub(super) fn fill(&mut self) -> std::io::Result<usize> {
        let read = self.stream.read(&mut self.buffer[self.filled..])?;
        self.filled += read;
        if read == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.buffer.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    /// Calls `each` with the first byte and the body of every complete frame.
    pub(super) fn frames(&mut self, mut each: impl FnMut(u8, &[u8])) {
        let mut at = 0;
        loop {
            let rest = &self.buffer[at..self.filled];
            let (head, length) = match *rest {
                [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
                [_, 127, _, _, _, _, a, b, c, d, ..] => (10, u32::from_be_bytes([a, b, c, d]) as usize),
                [_, 126..=255, ..] => break,
                [_, length, ..] => (2, usize::from(length)),
                _ => break,
            };
            if rest.len() < head + length {
                break;
            }
            each(rest[0], &rest[head..head + length]);
            at += head + length;
        }
        if at > 0 {
            self.consume(at);
        }
    }
}
