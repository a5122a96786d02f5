//! Repeated log lines: one call site writes a few lines of one kind a second; then one in ten seconds, and how many were
//! left out.
//!
//! A kind is a call site with its `event_type`, its message and its reason (`error`, `why`, `reason`, `kind`), digits
//! aside: failures of a hundred sessions for one reason are one kind, and another reason is not hidden by them. Messages
//! and reasons may contain what clients send, so only a few are told apart at one call site; an `event_type` is ours.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tracing::Level;
use tracing::field::{Field, Visit};

use crate::log::fields::BoundedText;

/// Lines of one kind in a second, at the levels that are on by default.
pub(super) const BURST_LINES: u32 = 10;
/// The same at `debug` and `trace`: who turns them on wants to see what happens.
pub(super) const VERBOSE_BURST_LINES: u32 = 1_000;
/// Call sites whose lines are counted; all others share one count.
const CALL_SITE_ENTRIES: usize = 512;
/// Kinds of one call site; all others share one count, so that no client makes kinds at will.
pub(super) const KIND_ENTRIES: usize = 8;
/// Bytes of a value that tell kinds from each other.
const KIND_BYTES: usize = 256;
/// Bytes of a message in the line about those that were left out.
const SAMPLE_BYTES: usize = 200;

/// The period of a kind that has not repeated much.
const BURST_PERIOD: Duration = Duration::from_secs(1);
/// The period of one that has: one line in each.
pub(super) const QUIET_PERIOD: Duration = Duration::from_secs(10);

/// The kind of an event, as far as its values make it.
#[derive(Default)]
pub(super) struct LineKind {
    hasher: DefaultHasher,
    pub(super) event_type: Option<String>,
    message: String,
}

struct HashDigitless<'a> {
    hasher: &'a mut DefaultHasher,
    left: usize,
}

impl Write for HashDigitless<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.left = self.left.checked_sub(1).ok_or(std::fmt::Error)?;
            if !byte.is_ascii_digit() {
                self.hasher.write_u8(byte);
            }
        }
        Ok(())
    }
}

impl Visit for LineKind {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let name = field.name();
        if matches!(name, "message" | "error" | "why" | "reason" | "kind") {
            name.hash(&mut self.hasher);
            // An error means that the rest makes no difference.
            let _ = write!(HashDigitless { hasher: &mut self.hasher, left: KIND_BYTES }, "{value:?}");
        }
        if name == "message" {
            let mut text = BoundedText::new(SAMPLE_BYTES);
            let _ = write!(text, "{value:?}");
            self.message = text.text;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event_type" => self.event_type = Some(value.to_owned()),
            _ => self.record_debug(field, &format_args!("{value}")),
        }
    }
}

/// How many lines of a kind were left out in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) level: Level,
    pub(super) target: &'static str,
    pub(super) event_type: Option<String>,
    pub(super) repeated: u64,
    seconds: u64,
    sample: String,
}

impl Summary {
    /// The message: `… and 1,234 like it in 10 s: client gone`.
    pub(super) fn message(&self) -> String {
        let digits = self.repeated.to_string();
        let mut count = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                count.push(',');
            }
            count.push(digit);
        }
        let colon = if self.sample.is_empty() { "" } else { ": " };
        format!("… and {count} like it in {} s{colon}{}", self.seconds.max(1), self.sample)
    }
}

/// The lines of one kind.
struct Entry {
    kind: u64,
    level: Level,
    target: &'static str,
    event_type: Option<String>,
    sample: String,
    is_limited: bool,
    period_start: Duration,
    shown: u32,
    suppressed: u64,
}

impl Entry {
    fn new(kind: u64, level: Level, target: &'static str, now: Duration) -> Entry {
        Entry {
            kind,
            level,
            target,
            event_type: None,
            sample: String::new(),
            is_limited: false,
            period_start: now,
            shown: 0,
            suppressed: 0,
        }
    }

    const fn burst(&self) -> u32 {
        if matches!(self.level, Level::DEBUG | Level::TRACE) { VERBOSE_BURST_LINES } else { BURST_LINES }
    }

    const fn period(&self) -> Duration {
        if self.is_limited { QUIET_PERIOD } else { BURST_PERIOD }
    }

    /// Begins the next period if this one is over; the summary of what it left out.
    fn roll(&mut self, now: Duration) -> Option<Summary> {
        let passed = now.saturating_sub(self.period_start);
        if passed < self.period() {
            return None;
        }
        let summary = (self.suppressed > 0).then(|| Summary {
            level: self.level,
            target: self.target,
            event_type: self.event_type.clone(),
            repeated: self.suppressed,
            seconds: passed.as_secs(),
            sample: std::mem::take(&mut self.sample),
        });
        let seen = self.suppressed + u64::from(self.shown);
        self.is_limited &= seen > u64::from(self.burst());
        (self.period_start, self.shown, self.suppressed) = (now, 0, 0);
        summary
    }

    /// Whether one more line is shown.
    fn admit(&mut self, kind: LineKind, now: Duration) -> bool {
        let allowed = if self.is_limited { 1 } else { self.burst() };
        if self.shown < allowed {
            self.shown += 1;
            return true;
        }
        if !self.is_limited {
            (self.is_limited, self.period_start, self.shown) = (true, now, 1);
        }
        if self.suppressed == 0 {
            (self.sample, self.event_type) = (kind.message, kind.event_type);
        }
        self.suppressed += 1;
        false
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.shown == 0 && self.suppressed == 0 && now.saturating_sub(self.period_start) >= self.period()
    }
}

/// The table of kinds, by call site.
pub(super) struct Repeats<K> {
    sites: HashMap<(K, Option<String>), Vec<Entry>>,
    /// The kinds of call sites that do not fit.
    others: Vec<Entry>,
}

impl<K: Hash + Eq> Repeats<K> {
    pub(super) fn new() -> Repeats<K> {
        Repeats { sites: HashMap::new(), others: Vec::new() }
    }

    /// Whether a line is shown, and a summary to be shown before it.
    pub(super) fn check(
        &mut self,
        site: K,
        (level, target): (Level, &'static str),
        kind: LineKind,
        now: Duration,
    ) -> (bool, Option<Summary>) {
        let site = (site, kind.event_type.clone());
        let has_room = self.sites.len() < CALL_SITE_ENTRIES || self.sites.contains_key(&site);
        let entries = if has_room { self.sites.entry(site).or_default() } else { &mut self.others };
        let (mut id, is_full) = (kind.hasher.finish(), entries.len() >= KIND_ENTRIES);
        if !has_room || (is_full && !entries.iter().any(|entry| entry.kind == id)) {
            // The kind of all others.
            id = 0;
        }
        let at = entries.iter().position(|entry| entry.kind == id).unwrap_or_else(|| {
            entries.push(Entry::new(id, level, target, now));
            entries.len() - 1
        });
        let Some(entry) = entries.get_mut(at) else { return (true, None) };
        let summary = entry.roll(now);
        (entry.admit(kind, now), summary)
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.sites.values().chain([&self.others]).map(Vec::len).sum()
    }

    /// The summaries of periods that are over; forgets kinds that do not repeat.
    pub(super) fn flush(&mut self, now: Duration) -> Vec<Summary> {
        let mut summaries = Vec::new();
        for entries in self.sites.values_mut().chain([&mut self.others]) {
            entries.retain_mut(|entry| {
                let is_idle = entry.is_idle(now);
                summaries.extend(entry.roll(now));
                !is_idle
            });
        }
        self.sites.retain(|_, entries| !entries.is_empty());
        summaries
    }
}
