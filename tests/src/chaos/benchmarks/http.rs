//! The benchmarks over HTTP, on a real gateway with four endpoints and persistent connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Times;
use crate::gateway::Gateway;

/// A benchmark over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    LockAcquire,
    QueueCycle,
    EventAppend,
    CachePut,
    CachedRead,
}

impl Kind {
    pub(super) const ALL: [Kind; 5] =
        [Kind::LockAcquire, Kind::QueueCycle, Kind::EventAppend, Kind::CachePut, Kind::CachedRead];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::LockAcquire => "lock-acquire",
            Kind::QueueCycle => "queue-cycle (3 requests)",
            Kind::EventAppend => "event-append",
            Kind::CachePut => "value put",
            Kind::CachedRead => "cached-read",
        }
    }

    /// Performs the operation once; its latency.
    fn run(self, client: &mut Client) -> Result<Duration, String> {
        let name = client.name.clone();
        let start = Instant::now();
        match self {
            Kind::LockAcquire => {
                let body = json!({ "resource": name, "client_id": name, "lock_type": "exclusive" });
                let response = client.post("/locks/acquire", &body)?;
                let took = start.elapsed();
                if response["success"] != true {
                    return Err(format!("the lock was not given: {response}"));
                }
                client.post("/locks/release", &json!({ "resource": name, "client_id": name }))?;
                return Ok(took);
            }
            Kind::QueueCycle => {
                client.post("/queue/enqueue", &json!({ "queue_name": name, "message": "x" }))?;
                let response = client.post("/queue/dequeue", &json!({ "queue_name": name }))?;
                client.post("/queue/ack", &json!({ "message_id": response["message_id"] }))?;
            }
            Kind::EventAppend => {
                client.post("/api/v2/events", &json!({ "stream": "figure", "type": "figure.noted" }))?;
            }
            Kind::CachePut => {
                client.post("/cache", &json!({ "key": name, "value": "x" }))?;
            }
            Kind::CachedRead => {
                client.request("GET", &format!("/cache/{name}"), "")?;
            }
        }
        Ok(start.elapsed())
    }
}

/// A running gateway.
pub(super) struct Fixture(Gateway);

impl Fixture {
    /// Starts a gateway on this store, or on its own.
    pub(super) fn start(store: Option<&str>) -> Fixture {
        let store = store.map(|store| ["--store", store]);
        Fixture(Gateway::up(&[&["--source", "sim"][..], store.as_slice().as_flattened()].concat()))
    }

    /// Runs clients in parallel, spread over the endpoints.
    pub(super) fn measure(&self, kind: Kind, clients: usize, time: Duration) -> Result<Times, String> {
        let run = |n: usize, port: u16| {
            std::thread::spawn(move || {
                let mut client = Client::new(port, format!("figure-{n}"))?;
                client.post("/cache", &json!({ "key": client.name, "value": "x" }))?;
                let (start, mut times) = (Instant::now(), Vec::new());
                while start.elapsed() < time {
                    match kind.run(&mut client) {
                        Ok(took) => times.push(took.as_nanos() as u64),
                        // All that one author may append in a minute is enough for a figure.
                        Err(why) if !times.is_empty() && why.contains(": 429 ") => break,
                        Err(why) => return Err(why),
                    }
                }
                Ok::<_, String>((times, start.elapsed()))
            })
        };
        let ports = self.0.endpoints.iter().map(|(_, port)| *port).cycle().take(clients);
        let running: Vec<_> = ports.enumerate().map(|(n, port)| run(n, port)).collect();
        let (mut all, mut longest) = (Vec::new(), Duration::ZERO);
        for one in running {
            let (times, took) = one.join().map_err(|_| "a client ended".to_owned())??;
            all.extend(times);
            longest = longest.max(took);
        }
        Ok(Times::of(all, longest))
    }
}

/// A persistent connection.
struct Client {
    port: u16,
    name: String,
    stream: BufReader<TcpStream>,
}

fn connect(port: u16) -> Result<BufReader<TcpStream>, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|error| error.to_string())?;
    Ok(BufReader::new(stream))
}

impl Client {
    fn new(port: u16, name: String) -> Result<Client, String> {
        Ok(Client { port, name, stream: connect(port)? })
    }

    fn post(&mut self, path: &str, body: &Value) -> Result<Value, String> {
        self.request("POST", path, &body.to_string())
    }

    /// Sends a request; the body of a successful response.
    fn request(&mut self, method: &str, path: &str, body: &str) -> Result<Value, String> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", self.port);
        let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        let words = |error: std::io::Error| format!("{method} {path}: {error}");
        self.stream.get_mut().write_all(format!("{head}{fields}{body}").as_bytes()).map_err(words)?;
        let (mut line, mut status, mut length, mut closes) = (String::new(), 0, 0, false);
        loop {
            line.clear();
            if self.stream.read_line(&mut line).map_err(words)? == 0 {
                return Err(format!("{method} {path}: the connection was closed"));
            }
            let field = line.trim_end().to_lowercase();
            if field.is_empty() {
                break;
            } else if let Some(rest) = field.strip_prefix("http/1.1 ") {
                status = rest.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(0);
            } else if let Some(rest) = field.strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap_or(0);
            } else if field == "connection: close" {
                closes = true;
            }
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).map_err(words)?;
        if closes {
            self.stream = connect(self.port)?;
        }
        match status {
            200..300 => Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null)),
            _ => Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&bytes))),
        }
    }
}
