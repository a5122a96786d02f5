//! Watches the DDS library's receiving threads. A packet can occupy such a thread for seconds or forever;
//! it then uses a whole processor and delivers nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The time over which processor use is measured.
const WINDOW: Duration = Duration::from_secs(1);

/// The processor time of the receiving threads, and whether they deliver.
pub(super) struct LibraryWatch {
    threads: Vec<(PathBuf, Option<Duration>)>,
    window_start: Instant,
    delivered: bool,
    stuck: bool,
}

impl LibraryWatch {
    /// Watches the threads of these names that exist now.
    pub(super) fn new(names: &[&str], now: Instant) -> LibraryWatch {
        let threads = receiving_threads(names).into_iter().map(|path| (path.clone(), processor_time(&path)));
        LibraryWatch { threads: threads.collect(), window_start: now, delivered: false, stuck: false }
    }

    /// Something arrived.
    pub(super) fn delivered(&mut self) {
        self.delivered = true;
        self.stuck = false;
    }

    /// Whether a receiving thread was busy and delivered nothing in the last whole window.
    pub(super) fn is_stuck(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.window_start);
        if elapsed >= WINDOW {
            let mut busy = false;
            for (path, before) in &mut self.threads {
                let used = processor_time(path);
                busy |= is_busy(*before, used, elapsed);
                *before = used;
            }
            self.close_window(busy, now);
        }
        self.stuck
    }

    fn close_window(&mut self, busy: bool, now: Instant) {
        self.stuck = busy && !self.delivered;
        (self.window_start, self.delivered) = (now, false);
    }
}

fn is_busy(before: Option<Duration>, used: Option<Duration>, elapsed: Duration) -> bool {
    before.zip(used).is_some_and(|(before, used)| used.saturating_sub(before) >= elapsed * 9 / 10)
}

fn receiving_threads(names: &[&str]) -> Vec<PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named = |path: &PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| names.contains(&name.trim_end()))
    };
    tasks.map(|task| task.path()).filter(named).collect()
}

/// The processor time that a thread has used.
fn processor_time(task: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(task.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_busy_that_uses_the_whole_time() {
        let s = Duration::from_secs;
        assert!(is_busy(Some(s(3)), Some(s(4)), s(1)));
        assert!(!is_busy(Some(s(3)), Some(Duration::from_millis(3_800)), s(1)));
        assert!(!is_busy(None, Some(s(4)), s(1)), "a thread that cannot be measured is not watched");
        assert!(!is_busy(Some(s(3)), None, s(1)), "a thread that ended is not busy");
    }

    #[test]
    fn busy_without_delivery_is_stuck_until_something_arrives() {
        let start = Instant::now();
        // Without threads to measure: the test says what is busy.
        let mut watch =
            LibraryWatch { threads: Vec::new(), window_start: start, delivered: false, stuck: false };
        watch.delivered();
        watch.close_window(true, start);
        assert!(!watch.is_stuck(start), "it delivers");
        watch.close_window(true, start);
        assert!(watch.is_stuck(start + WINDOW / 2), "within a window nothing changes");
        watch.delivered();
        assert!(!watch.is_stuck(start + WINDOW / 2));
        watch.close_window(true, start);
        assert!(!watch.is_stuck(start + WINDOW), "nothing is busy any more");
    }

    #[test]
    fn processor_time_of_a_thread_is_read() {
        let own = std::fs::read_dir("/proc/self/task").unwrap().flatten().next().unwrap().path();
        assert!(processor_time(&own).is_some());
        assert_eq!(processor_time(Path::new("/nowhere")), None);
    }
}
