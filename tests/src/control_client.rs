//! A well-behaved control client: it must not lose a sample while other clients misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::native::{NativeClient, Received};
use crate::wait::eventually;

/// Receives one topic with `every` delivery on a thread of its own.
#[derive(Debug)]
pub struct ControlClient {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl ControlClient {
    /// Connects and subscribes; returns after the first samples have arrived.
    pub fn subscribe(port: u16, topic: &'static str) -> ControlClient {
        let (count, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let thread = std::thread::spawn({
            let (count, stop) = (count.clone(), stop.clone());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(receive(port, topic, &count, &stop))
            }
        });
        let client = ControlClient { count, stop, thread };
        client.wait_for_samples();
        client
    }

    /// Waits until more samples have arrived.
    pub fn wait_for_samples(&self) {
        let before = self.count.load(Ordering::Relaxed);
        eventually("the control client to hear more", Duration::from_secs(10), || {
            self.count.load(Ordering::Relaxed) > before + 10 || self.thread.is_finished()
        });
    }

    /// Stops the client and returns the longest gap between two samples. Panics if a sample was lost.
    pub fn end(self) -> Duration {
        self.wait_for_samples();
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(longest) => longest,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

async fn receive(port: u16, topic: &str, count: &AtomicU64, stop: &AtomicBool) -> Duration {
    let mut client = NativeClient::subscribed(port, &[topic]).await;
    let mut previous: Option<(u64, Instant)> = None;
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        match client.next().await {
            Received::Sample(_, header, _) => {
                if let Some((seq, at)) = previous {
                    assert_eq!(header.id.seq, seq + 1, "the control client missed something");
                    longest = longest.max(at.elapsed());
                }
                previous = Some((header.id.seq, Instant::now()));
                count.fetch_add(1, Ordering::Relaxed);
            }
            Received::Closed(code) => panic!("the control client was closed with {code}"),
            Received::Text(_) | Received::Heartbeat(_) => {}
        }
    }
    longest
}
