//! Measures stalls of the machine: on a shared machine, every measured time includes the wait for a
//! processor, which is not the gateway's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread sleeps; any longer sleep is the machine's stall.
const SLEEP: Duration = Duration::from_millis(1);

/// Measures until [`StallWatch::finish`].
#[derive(Debug)]
pub struct StallWatch {
    stop: Arc<AtomicBool>,
    longest_us: Arc<AtomicU64>,
    sleepers: Vec<JoinHandle<()>>,
}

impl StallWatch {
    /// Starts one sleeping thread per processor.
    pub fn start() -> StallWatch {
        let (stop, longest_us) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let sleeper = |_| {
            let (stop, longest_us) = (stop.clone(), longest_us.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    std::thread::sleep(SLEEP);
                    let overslept = start.elapsed().saturating_sub(SLEEP);
                    longest_us.fetch_max(overslept.as_micros() as u64, Ordering::Relaxed);
                }
            })
        };
        let sleepers = (0..count).map(sleeper).collect();
        StallWatch { stop, longest_us, sleepers }
    }

    /// The longest stall: how long a thread waited for a processor beyond its sleep.
    pub fn stop(self) -> Duration {
        Duration::from_secs_f64(self.finish() / 1e3)
    }

    /// The longest stall in milliseconds.
    pub fn finish(self) -> f64 {
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
    use crate::wait::observe_for;

    #[test]
    fn finishes_with_a_plausible_stall() {
        let watch = StallWatch::start();
        observe_for(Duration::from_millis(5), "the measurement");
        let stalled_ms = watch.finish();
        assert!(stalled_ms > 0.0 && stalled_ms < 10_000.0, "{stalled_ms}");
    }
}
