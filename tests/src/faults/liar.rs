//! A peer that answers `GET /health` with nonsense.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::scenario::Lie;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
/// The longest that one answer is spun out.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Liar {
    /// Where it listens.
    pub(crate) port: u16,
    asked: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Liar {
    /// One that lies like this.
    pub(crate) fn telling(lie: Lie) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, is_over) = (asked.clone(), over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let n = count.fetch_add(1, Ordering::Relaxed);
                let over = is_over.clone();
                std::thread::spawn(move || answer(stream, pick(lie, n), &over));
            }
        });
        Liar { port, asked, over }
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pick(lie: Lie, n: u64) -> Lie {
    match lie {
        Lie::All => [Lie::Wrong, Lie::Endless, Lie::Drip][(n % 3) as usize],
        one => one,
    }
}

fn answer(mut stream: TcpStream, lie: Lie, over: &AtomicBool) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = stream.read(&mut [0; 4096]);
    let start = Instant::now();
    let goes_on = || start.elapsed() < PATIENCE && !over.load(Ordering::Relaxed);
    match lie {
        Lie::Wrong | Lie::All => {
            let body = r#"{"tier":"primary","status":["healthy"],"port":-1,"scopes":"everything"}"#;
            let _ = write!(stream, "{HEAD}content-length: {}\r\n\r\n{body}", body.len());
        }
        Lie::Endless => {
            let _ = write!(stream, "{HEAD}connection: close\r\n\r\n{{\"reasons\":[\"");
            while goes_on() && stream.write_all(&[b'a'; 16 << 10]).is_ok() {}
        }
        Lie::Drip => {
            let _ = write!(stream, "{HEAD}content-length: 1000\r\n\r\n");
            while goes_on() && stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}
