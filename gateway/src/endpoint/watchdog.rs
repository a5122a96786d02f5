//! The watchdog of the runtime's thread: what held it for long, in the log and in `/metrics`. All clients
//! wait meanwhile, and a supervisor kills a process that is held for too long.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use roverline_source::clock::monotonic;

use crate::endpoint::metrics::exposition::Exposition;

/// Work that takes longer without a pause is reported.
const HELD_MS: u64 = 20;
/// Interval at which it is logged.
const LOG_MS: u64 = 1_000;

/// The kind of work that held the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A session: a client's messages.
    Session,
    /// A request of the HTTP API.
    Request,
    /// Samples on their way from the source to the sessions.
    Samples,
}

/// All kinds of work.
const WORK: [Work; 3] = [Work::Session, Work::Request, Work::Samples];

impl Work {
    const fn name(self) -> &'static str {
        match self {
            Work::Session => "session",
            Work::Request => "request",
            Work::Samples => "samples",
        }
    }
}

/// How often the thread was held for long, and by what.
#[derive(Default)]
pub struct Watchdog {
    counts: [AtomicU64; WORK.len()],
    longest_ns: AtomicU64,
    /// When it was logged last, in milliseconds (monotonic) plus one.
    logged_ms: AtomicU64,
}

impl Watchdog {
    /// Runs a future and reports each of its steps that held the thread.
    pub async fn watch<F: Future>(&self, work: Work, name: impl Display, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let begun = monotonic();
            let polled = future.as_mut().poll(context);
            let ended = monotonic();
            self.record(work, &name, ended.saturating_sub(begun), ended);
            polled
        })
        .await
    }

    /// Records that a step took so long; returns whether it was logged. `now` is monotonic.
    fn record(&self, work: Work, name: &impl Display, took: Duration, now: Duration) -> bool {
        if took <= Duration::from_millis(HELD_MS) {
            return false;
        }
        self.counts[work as usize].fetch_add(1, Ordering::Relaxed);
        self.longest_ns.fetch_max(took.as_nanos() as u64, Ordering::Relaxed);
        let (now, logged) = (now.as_millis() as u64 + 1, self.logged_ms.load(Ordering::Relaxed));
        if logged != 0 && now.saturating_sub(logged) < LOG_MS {
            return false;
        }
        self.logged_ms.store(now, Ordering::Relaxed);
        tracing::warn!(work = work.name(), %name, ms = took.as_millis() as u64, "held the thread that serves all clients");
        true
    }

    /// Adds the counters to the page.
    pub(super) fn render(&self, page: &mut Exposition) {
        let name = "roverline_runtime_held_total";
        page.family("counter", name, "How often work held the thread of all clients for more than 20 ms.");
        for work in WORK {
            let count = self.counts[work as usize].load(Ordering::Relaxed);
            page.sample(name, &[("work", work.name())], count as f64);
        }
        page.one(
            "gauge",
            "roverline_runtime_held_max_seconds",
            "The longest time that work held the thread of all clients; 0 if never for more than 20 ms.",
            self.longest_ns.load(Ordering::Relaxed) as f64 / 1e9,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_steps_are_counted_and_logged_at_a_limited_rate() {
        let (watchdog, ms) = (Watchdog::default(), Duration::from_millis);
        assert!(!watchdog.record(Work::Session, &"quick", ms(HELD_MS), ms(10)));
        assert!(watchdog.record(Work::Session, &"slow", ms(HELD_MS + 1), ms(10)));
        assert!(!watchdog.record(Work::Request, &"slow", ms(HELD_MS + 9), ms(500)));
        assert!(watchdog.record(Work::Session, &"slow", ms(HELD_MS + 2), ms(10 + LOG_MS)));
        let counts: Vec<_> = watchdog.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!((counts, watchdog.longest_ns.load(Ordering::Relaxed)), (vec![2, 1, 0], 29_000_000));
    }

    #[tokio::test]
    async fn a_step_that_holds_the_thread_is_seen_and_waiting_is_not() {
        let watchdog = Watchdog::default();
        let held = async {
            // A wait, which holds nothing.
            tokio::time::sleep(Duration::from_millis(HELD_MS * 2)).await;
            let begun = monotonic();
            while monotonic().saturating_sub(begun) <= Duration::from_millis(HELD_MS) {}
        };
        watchdog.watch(Work::Request, "GET /", held).await;
        assert!(watchdog.counts[Work::Request as usize].load(Ordering::Relaxed) >= 1);
    }
}
