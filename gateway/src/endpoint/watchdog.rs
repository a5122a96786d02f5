//! The watchdog of the runtime's thread: what held it for long, in the log and in `/metrics`. All clients
//! wait meanwhile, and a supervisor kills a process that is held for too long.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::api::metrics::RuntimeDocument;
use roverline_source::clock::monotonic;

use crate::endpoint::metrics::exposition::Exposition;
use crate::histogram::{Histogram, LATENCY_BOUNDS_S};

/// Work that takes longer without a pause is reported.
const HELD_MS: u64 = 20;
/// Interval at which it is logged.
const LOG_MS: u64 = 1_000;
/// The longest stall is that of as many of these periods: the last minute.
const RECENT_PERIOD_MS: u64 = 10_000;
const RECENT_PERIODS: usize = 6;

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

/// How often the thread was held for long, and by what; how late its timers were, whatever held it.
pub struct Watchdog {
    counts: [AtomicU64; WORK.len()],
    longest_ns: AtomicU64,
    stalls: Histogram,
    recent: Mutex<RecentStalls>,
    /// When it was logged last, in milliseconds (monotonic) plus one.
    logged_ms: AtomicU64,
}

impl Default for Watchdog {
    fn default() -> Watchdog {
        Watchdog {
            counts: Default::default(),
            longest_ns: AtomicU64::new(0),
            stalls: Histogram::new(LATENCY_BOUNDS_S),
            recent: Mutex::default(),
            logged_ms: AtomicU64::new(0),
        }
    }
}

/// The longest stall of each of the last periods, by the period's number.
#[derive(Default)]
struct RecentStalls([(u64, Duration); RECENT_PERIODS]);

impl RecentStalls {
    fn add(&mut self, stall: Duration, now: Duration) {
        let period = now.as_millis() as u64 / RECENT_PERIOD_MS;
        let longest = &mut self.0[period as usize % RECENT_PERIODS];
        *longest = if longest.0 == period { (period, longest.1.max(stall)) } else { (period, stall) };
    }

    fn longest(&self, now: Duration) -> Duration {
        let period = now.as_millis() as u64 / RECENT_PERIOD_MS;
        let is_recent = |(at, _): &&(u64, Duration)| period.saturating_sub(*at) < RECENT_PERIODS as u64;
        self.0.iter().filter(is_recent).map(|(_, stall)| *stall).max().unwrap_or_default()
    }
}

impl Watchdog {
    /// Records that a periodic timer of the thread was so late. `now` is monotonic.
    pub fn record_stall(&self, late: Duration, now: Duration) {
        self.stalls.add(late);
        self.note_longest(late, now);
    }

    fn note_longest(&self, stall: Duration, now: Duration) {
        self.longest_ns.fetch_max(stall.as_nanos() as u64, Ordering::Relaxed);
        self.recent.lock().add(stall, now);
    }

    /// The longest stalls: of the last minute, and ever.
    pub(crate) fn document(&self) -> RuntimeDocument {
        RuntimeDocument {
            recent_stall_s: self.recent.lock().longest(monotonic()).as_secs_f64(),
            longest_stall_s: self.longest_ns.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }

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
        self.note_longest(took, now);
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
        let RuntimeDocument { recent_stall_s, longest_stall_s } = self.document();
        let what = "The longest time that the thread of all clients was not free.";
        page.one("gauge", "roverline_runtime_held_max_seconds", what, longest_stall_s);
        let what = "The longest time of the last minute that the thread of all clients was not free.";
        page.one("gauge", "roverline_runtime_held_recent_max_seconds", what, recent_stall_s);
        let name = "roverline_runtime_stall_seconds";
        page.family("histogram", name, "How late a timer of the thread of all clients was; one every 20 ms.");
        page.histogram(name, &[], &self.stalls.snapshot());
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

    #[test]
    fn the_longest_stall_is_that_of_the_last_minute() {
        let (watchdog, ms, s) = (Watchdog::default(), Duration::from_millis, Duration::from_secs);
        let recent = |now| watchdog.recent.lock().longest(now);
        assert_eq!(recent(s(5)), Duration::ZERO);
        watchdog.record_stall(ms(300), s(5));
        watchdog.record_stall(ms(2), s(9));
        watchdog.record(Work::Samples, &"slow", ms(70), s(30));
        assert_eq!((recent(s(30)), recent(s(59)), recent(s(60))), (ms(300), ms(300), ms(70)));
        // A process that was suspended for hours.
        assert_eq!(recent(s(9_000)), Duration::ZERO);
        assert_eq!((watchdog.stalls.snapshot().count, watchdog.document().longest_stall_s), (2, 0.3));
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
