//! A hostile load: sessions that send commands as fast as they are let, and read nothing but to go on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use roverline_tests::raw::{frame, handshake};
use roverline_tests::wait::observe_for;
use serde_json::{Value, json};

/// Commands a second, of all sessions together.
pub(crate) const RATE: u64 = 10_000;
/// Sessions at each endpoint.
const SESSIONS: usize = 8;
/// Interval of their batches.
const BATCH: Duration = Duration::from_millis(20);
const NATIVE: &str = "Sec-WebSocket-Protocol: roverline.v1\r\n\r\n";

/// The running load.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    begin: Instant,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts it at these ports.
    pub(crate) fn start(ports: &[u16]) -> Load {
        let (stop, sent): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let sessions = ports.len() * SESSIONS;
        let per_batch = RATE * BATCH.as_millis() as u64 / 1_000 / sessions as u64 + 1;
        let senders = (0..sessions).map(|n| {
            let (port, kind) = (ports[n % ports.len()], n / ports.len());
            let (stop, sent) = (stop.clone(), sent.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    send(port, kind, per_batch, &stop, &sent);
                    observe_for(BATCH, "the endpoint has closed the session");
                }
            })
        });
        let senders = senders.collect();
        Load { stop, sent, begin: Instant::now(), senders }
    }

    /// Commands a second that its sockets took so far.
    pub(crate) fn rate(&self) -> f64 {
        self.sent.load(Ordering::Relaxed) as f64 / self.begin.elapsed().as_secs_f64()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.senders.drain(..).for_each(|sender| drop(sender.join()));
    }
}

/// The `n`th command of a kind: publications without the authority, commands with new ids, calls of what there is not, and
/// publications of an unguarded topic.
fn command(kind: usize, n: u64) -> Value {
    let twist = json!({"linear": {"x": 0.1}});
    let id = format!("0198c2a4-7d3e-7000-8000-{n:012x}");
    match kind % 4 {
        0 => {
            json!({"op": "publish", "topic": "/cmd_vel", "type": "geometry_msgs/msg/Twist", "body": twist, "token": n})
        }
        1 => json!({"op": "request", "id": n, "method": "POST", "path": "/api/v2/commands",
            "body": {"id": id, "kind": "call", "target": "/no/such", "type": "std_srvs/srv/Trigger", "ttl_ms": 1_000}}),
        2 => json!({"op": "call_service", "service": "/no/such", "type": "std_srvs/srv/Trigger", "id": n}),
        _ => json!({"op": "publish", "topic": "/led", "type": "std_msgs/Bool", "msg": {"data": true}}),
    }
}

/// Sends batches over one session until it is closed.
fn send(port: u16, kind: usize, per_batch: u64, stop: &AtomicBool, sent: &AtomicU64) -> Option<()> {
    let is_native = kind % 4 < 2;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_write_timeout(Some(Duration::from_millis(500))).ok()?;
    let upgrade = handshake(if is_native { "/" } else { "/rosbridge" });
    let upgrade = if is_native { upgrade.replace("\r\n\r\n", &format!("\r\n{NATIVE}")) } else { upgrade };
    stream.write_all(upgrade.as_bytes()).ok()?;
    let mut reader = stream.try_clone().ok()?;
    reader.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    let is_closed = Arc::new(AtomicBool::new(false));
    let answers = std::thread::spawn({
        let is_closed = is_closed.clone();
        move || {
            let mut buffer = vec![0; 64 << 10];
            while !is_closed.load(Ordering::Relaxed) {
                match reader.read(&mut buffer) {
                    Ok(0) => break,
                    Err(error) if !is_timeout(&error) => break,
                    _ => {}
                }
            }
            is_closed.store(true, Ordering::Relaxed);
        }
    });
    if !is_native {
        let advertise = json!({"op": "advertise", "topic": "/led", "type": "std_msgs/Bool"});
        stream.write_all(&frame(1, advertise.to_string().as_bytes())).ok()?;
    }
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) && !is_closed.load(Ordering::Relaxed) {
        let batch: Vec<u8> = (0..per_batch)
            .flat_map(|_| frame(1, command(kind, fastrand::u64(..1 << 48)).to_string().as_bytes()))
            .collect();
        if stream.write_all(&batch).is_err() {
            break;
        }
        sent.fetch_add(per_batch, Ordering::Relaxed);
        due += BATCH;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    is_closed.store(true, Ordering::Relaxed);
    let _ = stream.shutdown(std::net::Shutdown::Both);
    answers.join().ok()
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
