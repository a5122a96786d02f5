//! The log of the library: rate-limited, because a foreign participant can cause a warning with every packet.

use std::sync::OnceLock;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lines per second that are passed on.
const LINES_PER_SECOND: u32 = 10;

/// How serious a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something is odd, for example a malformed packet.
    Warning,
    /// Anything else.
    Info,
}

/// Passes lines on to a sink, and finds the error that a call of the library is about.
pub(crate) struct Log {
    sink: OnceLock<fn(LogLevel, &str)>,
    /// One capture at a time.
    capturing: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    limit: RateLimit,
    /// The thread whose errors are captured, and its last one.
    captured: Option<(ThreadId, Option<String>)>,
}

impl Log {
    pub(crate) fn new() -> Log {
        let state = State { limit: RateLimit::new(Instant::now()), captured: None };
        Log { sink: OnceLock::new(), capturing: Mutex::new(()), state: Mutex::new(state) }
    }

    /// The first sink stays.
    pub(crate) fn set_sink(&self, sink: fn(LogLevel, &str)) {
        let _ = self.sink.set(sink);
    }

    pub(crate) fn write(&self, level: LogLevel, line: &str) {
        let line = line.trim_end();
        let admitted = {
            let mut state = self.state.lock();
            if level == LogLevel::Error {
                state.capture(line);
            }
            state.limit.admit(Instant::now())
        };
        let Some(sink) = self.sink.get() else { return };
        match admitted {
            Some(0) => sink(level, line),
            Some(suppressed) => sink(level, &format!("{line} ({suppressed} lines before it were left out)")),
            None => {}
        }
    }

    /// Calls the library, and returns the last error that it logs meanwhile on this thread.
    pub(crate) fn capture<T>(&self, call: impl FnOnce() -> T) -> (T, Option<String>) {
        let _capturing = self.capturing.lock();
        self.state.lock().captured = Some((std::thread::current().id(), None));
        let result = call();
        let captured = self.state.lock().captured.take();
        (result, captured.and_then(|(_, line)| line))
    }
}

impl State {
    fn capture(&mut self, line: &str) {
        if let Some((thread, last)) = &mut self.captured
            && *thread == std::thread::current().id()
        {
            *last = Some(line.to_owned());
        }
    }
}

/// Admits [`LINES_PER_SECOND`] and counts the others.
struct RateLimit {
    second: Instant,
    admitted: u32,
    suppressed: u64,
}

impl RateLimit {
    fn new(now: Instant) -> RateLimit {
        RateLimit { second: now, admitted: 0, suppressed: 0 }
    }

    /// Returns how many lines were suppressed before this one, or nothing if it is suppressed itself.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.admitted = 0;
        }
        if self.admitted >= LINES_PER_SECOND {
            self.suppressed += 1;
            return None;
        }
        self.admitted += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_per_second_are_admitted_and_the_others_counted() {
        let start = Instant::now();
        let mut limit = RateLimit::new(start);
        assert!((0..10).all(|_| limit.admit(start) == Some(0)));
        assert!((0..1000).all(|_| limit.admit(start + Duration::from_millis(999)).is_none()));
        let next = start + Duration::from_secs(1);
        assert_eq!(limit.admit(next), Some(1000));
        assert!((0..9).all(|_| limit.admit(next) == Some(0)));
        assert_eq!(limit.admit(next), None);
        assert_eq!(limit.admit(start), None, "a clock that jumps back admits no more");
    }

    #[test]
    fn the_error_of_a_call_is_found() {
        let log = Log::new();
        log.write(LogLevel::Error, "of an earlier call");
        let (result, error) = log.capture(|| {
            log.write(LogLevel::Error, "no such interface\n");
            log.write(LogLevel::Warning, "something else");
            std::thread::scope(|scope| {
                scope.spawn(|| log.write(LogLevel::Error, "of another thread"));
            });
            7
        });
        assert_eq!((result, error.as_deref()), (7, Some("no such interface")));
        assert_eq!(log.capture(|| ()).1, None);
    }
}
