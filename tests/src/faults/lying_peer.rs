//! A peer that answers `GET /health` with malformed responses.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::scenario::HealthFault;
use crate::wait::observe_for;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
/// The longest duration of one response.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running lying peer. Stops when dropped.
#[derive(Debug)]
pub(crate) struct LyingPeer {
    /// The port it listens on.
    pub(crate) port: u16,
    requests: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

impl LyingPeer {
    /// Starts a peer with this kind of response.
    pub(crate) fn start(fault: HealthFault) -> LyingPeer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, stopped) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, is_stopped) = (requests.clone(), stopped.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_stopped.load(Ordering::Relaxed) {
                    return;
                }
                let n = count.fetch_add(1, Ordering::Relaxed);
                let stopped = is_stopped.clone();
                std::thread::spawn(move || respond(stream, choose(fault, n), &stopped));
            }
        });
        LyingPeer { port, requests, stopped }
    }

    /// The number of requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for LyingPeer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn choose(fault: HealthFault, n: u64) -> HealthFault {
    match fault {
        HealthFault::All => [HealthFault::Wrong, HealthFault::Endless, HealthFault::Drip][(n % 3) as usize],
        other => other,
    }
}

fn respond(mut stream: TcpStream, fault: HealthFault, stopped: &AtomicBool) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = stream.read(&mut [0; 4096]);
    let start = Instant::now();
    let continues = || start.elapsed() < PATIENCE && !stopped.load(Ordering::Relaxed);
    match fault {
        HealthFault::Wrong | HealthFault::All => {
            let body = r#"{"tier":"primary","status":["healthy"],"port":-1,"scopes":"everything"}"#;
            let _ = write!(stream, "{HEAD}content-length: {}\r\n\r\n{body}", body.len());
        }
        HealthFault::Endless => {
            let _ = write!(stream, "{HEAD}connection: close\r\n\r\n{{\"reasons\":[\"");
            while continues() && stream.write_all(&[b'a'; 16 << 10]).is_ok() {}
        }
        HealthFault::Drip => {
            let _ = write!(stream, "{HEAD}content-length: 1000\r\n\r\n");
            while continues() && stream.write_all(b" ").is_ok() {
                observe_for(Duration::from_millis(200), "the rhythm of the bytes");
            }
        }
    }
}
