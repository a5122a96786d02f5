//! Tests of the limit of repeated lines, with injected time.

use std::time::Duration;

use tracing::Level;
use tracing::field::Visit;
use tracing::subscriber::Subscriber;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use crate::log::repeats::{
    BURST_LINES, KIND_ENTRIES, LineKind, QUIET_PERIOD, Repeats, Summary, VERBOSE_BURST_LINES,
};

/// The kind of the event that `log` makes.
fn kind(log: impl FnOnce()) -> LineKind {
    struct Kinds(std::sync::mpsc::SyncSender<LineKind>);
    impl<S: Subscriber> Layer<S> for Kinds {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut kind = LineKind::default();
            event.record(&mut kind as &mut dyn Visit);
            self.0.send(kind).unwrap();
        }
    }
    let (kinds, made) = std::sync::mpsc::sync_channel(1);
    tracing::subscriber::with_default(Registry::default().with(Kinds(kinds)), log);
    made.recv().unwrap()
}

fn failed(session: u32, error: &str) -> LineKind {
    kind(|| tracing::warn!(event_type = "session.failed", session, error, "session failed"))
}

struct Log {
    table: Repeats<&'static str>,
    shown: u32,
    summaries: Vec<Summary>,
}

impl Log {
    fn new() -> Log {
        Log { table: Repeats::new(), shown: 0, summaries: Vec::new() }
    }

    fn write(&mut self, site: &'static str, level: Level, kind: LineKind, at_ms: u64) -> bool {
        let (shown, summary) = self.table.check(site, (level, "here"), kind, Duration::from_millis(at_ms));
        self.shown += u32::from(shown);
        self.summaries.extend(summary);
        shown
    }

    fn flush(&mut self, at_ms: u64) {
        self.summaries.extend(self.table.flush(Duration::from_millis(at_ms)));
    }
}

#[test]
fn ten_a_second_are_shown_and_then_one_in_ten_seconds() {
    let mut log = Log::new();
    for n in 0..1_244 {
        log.write("a", Level::WARN, failed(n, "reset"), u64::from(n % 900));
    }
    assert_eq!((log.shown, log.summaries.len()), (BURST_LINES, 0));
    // Nothing more comes, and the period ends.
    log.flush(20_000);
    let messages: Vec<_> = log.summaries.iter().map(Summary::message).collect();
    assert_eq!(messages, ["… and 1,234 like it in 19 s: session failed"]);
    assert_eq!(log.summaries[0].repeated, 1_234);
    assert_eq!(log.summaries[0].event_type.as_deref(), Some("session.failed"));
    // It comes again, too often still: one is shown.
    for n in 0..100 {
        log.write("a", Level::WARN, failed(n, "reset"), 20_100 + u64::from(n));
    }
    assert_eq!(log.shown, BURST_LINES + 1);
    // The next period begins with one, after the count of the one before.
    assert!(log.write("a", Level::WARN, failed(1, "reset"), 31_000));
    assert_eq!(log.summaries.last().unwrap().repeated, 99);
}

#[test]
fn a_call_site_that_has_become_quiet_is_free_again() {
    let mut log = Log::new();
    for _ in 0..50 {
        log.write("a", Level::WARN, failed(1, "reset"), 0);
    }
    let quiet_ms = QUIET_PERIOD.as_millis() as u64;
    log.flush(quiet_ms);
    log.flush(2 * quiet_ms);
    log.flush(3 * quiet_ms);
    let before = log.shown;
    for _ in 0..BURST_LINES {
        assert!(log.write("a", Level::WARN, failed(1, "reset"), 3 * quiet_ms + 1));
    }
    assert_eq!((log.shown, log.summaries.len()), (before + BURST_LINES, 1));
}

#[test]
fn what_is_slow_is_never_left_out() {
    let mut log = Log::new();
    for n in 0..600 {
        assert!(log.write("a", Level::INFO, failed(n, "reset"), u64::from(n) * 101));
        log.flush(u64::from(n) * 101);
    }
    assert_eq!(log.summaries, []);
}

#[test]
fn another_reason_or_event_is_not_hidden() {
    let mut log = Log::new();
    for session in 0..1_000 {
        log.write("a", Level::WARN, failed(session, &format!("reset by 10.0.0.{session}")), 0);
    }
    assert_eq!(log.shown, BURST_LINES, "numbers make no kinds");
    assert!(log.write("a", Level::WARN, failed(7, "bad frame"), 0));
    assert!(log.write("b", Level::WARN, failed(7, "reset by 10.0.0.7"), 0), "another call site");
    // Reasons that clients make up share what is left; events of another type do not.
    for n in 0..10_000_u32 {
        let letters: String = n.to_string().bytes().map(|digit| char::from(digit + 50)).collect();
        log.write("a", Level::WARN, failed(7, &letters), 0);
    }
    assert!(log.shown <= BURST_LINES * (KIND_ENTRIES as u32 + 1) + 2, "{}", log.shown);
    assert!(log.write("a", Level::WARN, kind(|| tracing::warn!(event_type = "stop", "engaged")), 0));
}

#[test]
fn who_turns_details_on_sees_them() {
    let mut log = Log::new();
    for _ in 0..2 * VERBOSE_BURST_LINES {
        log.write("a", Level::DEBUG, LineKind::default(), 0);
    }
    assert_eq!(log.shown, VERBOSE_BURST_LINES);
}

#[test]
fn the_table_is_bounded() {
    let mut log = Log::new();
    for n in 0..5_000_u32 {
        let site: &'static str = Box::leak(n.to_string().into_boxed_str());
        log.write(site, Level::WARN, failed(1, "reset"), 0);
    }
    assert!(log.table.entries() <= 513, "{}", log.table.entries());
    log.flush(60_000);
    log.flush(120_000);
    log.flush(180_000);
    assert_eq!(log.table.entries(), 0, "what does not repeat is forgotten");
    assert_eq!(log.summaries.len(), 1, "call sites without an entry of their own are counted together");
}
