//! How still the machine stood: on a machine that other work runs on, the wait for a processor is in
//! every time that is measured, and none of it is the gateway's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a sleeper sleeps; whatever it oversleeps was the machine's.
const NAP: Duration = Duration::from_millis(1);

/// Watches until it is asked.
pub(crate) struct StallWatch {
    stop: Arc<AtomicBool>,
    longest_us: Arc<AtomicU64>,
    sleepers: Vec<JoinHandle<()>>,
}

impl StallWatch {
    /// One sleeper per processor.
    pub(crate) fn start() -> StallWatch {
        let (stop, longest_us) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let sleeper = |_| {
            let (stop, longest_us) = (stop.clone(), longest_us.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    std::thread::sleep(NAP);
                    let overslept = start.elapsed().saturating_sub(NAP);
                    longest_us.fetch_max(overslept.as_micros() as u64, Ordering::Relaxed);
                }
            })
        };
        let sleepers = (0..count).map(sleeper).collect();
        StallWatch { stop, longest_us, sleepers }
    }

    /// The longest time, milliseconds, that a thread waited for a processor beyond its time.
    pub(crate) fn finish(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        for sleeper in self.sleepers {
            let _ = sleeper.join();
        }
        self.longest_us.load(Ordering::Relaxed) as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_when_it_is_asked() {
        let watch = StallWatch::start();
        std::thread::sleep(Duration::from_millis(5));
        let stalled_ms = watch.finish();
        assert!(stalled_ms > 0.0 && stalled_ms < 10_000.0, "{stalled_ms}");
    }
}
