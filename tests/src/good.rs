//! A well-behaved client that listens while others misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::native::{Native, Said};
use crate::wait::eventually;

/// Listens to one `every` topic on a thread of its own.
#[derive(Debug)]
pub struct Good {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Good {
    /// Connects, subscribes, and has heard a few samples when it returns.
    pub fn listening(port: u16, topic: &'static str) -> Good {
        let (count, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let thread = std::thread::spawn({
            let (count, stop) = (count.clone(), stop.clone());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(listen(port, topic, &count, &stop))
            }
        });
        let good = Good { count, stop, thread };
        good.hears_more();
        good
    }

    /// Waits until it has heard more.
    pub fn hears_more(&self) {
        let before = self.count.load(Ordering::Relaxed);
        eventually("the good client to hear more", Duration::from_secs(10), || {
            self.count.load(Ordering::Relaxed) > before + 10 || self.thread.is_finished()
        });
    }

    /// Ends it. Panics if it missed anything; returns its longest wait between two samples.
    pub fn end(self) -> Duration {
        self.hears_more();
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(longest) => longest,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

async fn listen(port: u16, topic: &str, count: &AtomicU64, stop: &AtomicBool) -> Duration {
    let mut client = Native::subscribed(port, &[topic]).await;
    let mut previous: Option<(u64, Instant)> = None;
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        match client.next().await {
            Said::Sample(_, header, _) => {
                if let Some((seq, at)) = previous {
                    assert_eq!(header.id.seq, seq + 1, "the good client missed something");
                    longest = longest.max(at.elapsed());
                }
                previous = Some((header.id.seq, Instant::now()));
                count.fetch_add(1, Ordering::Relaxed);
            }
            Said::Closed(code) => panic!("the good client was closed with {code}"),
            Said::Text(_) | Said::Heartbeat(_) => {}
        }
    }
    longest
}
