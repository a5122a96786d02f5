//! State of the Log screen: what happened, from all sources in one list.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::format;

/// Most entries kept.
const MAX_ENTRIES: usize = 4_000;
/// Most characters of an entry's text.
const TEXT_CHARS: usize = 400;
/// Most characters of its other fields.
const FIELD_CHARS: usize = 80;
/// Most characters of a filter.
pub const FILTER_CHARS: usize = 64;

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The team's event log.
    Event,
    /// `/rosout`.
    Rosout,
    /// This console's own notifications.
    Notification,
    /// A note of a person, in the event log.
    Note,
}

impl Origin {
    /// The word in the list.
    pub const fn word(self) -> &'static str {
        match self {
            Origin::Event => "event",
            Origin::Rosout => "rosout",
            Origin::Notification => "console",
            Origin::Note => "note",
        }
    }
}

/// How bad an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For information.
    #[default]
    Info,
    /// Worth attention.
    Warning,
    /// An error or an alarm.
    Error,
}

impl Level {
    /// The next narrower filter; after the narrowest, everything.
    #[must_use]
    pub const fn next(self) -> Level {
        match self {
            Level::Info => Level::Warning,
            Level::Warning => Level::Error,
            Level::Error => Level::Info,
        }
    }

    /// The word of the filter.
    pub const fn word(self) -> &'static str {
        match self {
            Level::Info => "all",
            Level::Warning => "warnings",
            Level::Error => "errors",
        }
    }
}

/// One entry; all texts are printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it happened, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// Its source.
    pub origin: Origin,
    /// Its severity.
    pub level: Level,
    /// What happened: the event's type, or the node's level.
    pub kind: String,
    /// What it is about: the stream, or the node.
    pub subject: String,
    /// Who caused it.
    pub by: String,
    /// The text.
    pub text: String,
    /// Id of its trace, 32 hexadecimal digits.
    pub trace: Option<String>,
    /// Position in the event log; 0 for other sources.
    pub seq: u64,
}

impl Entry {
    /// An entry with texts made printable and bounded.
    pub fn new(at_ns: i64, origin: Origin, level: Level, [kind, subject, by, text]: [&str; 4]) -> Entry {
        let field = |text: &str| format::printable(&format::fit(text, FIELD_CHARS));
        let (kind, subject, by) = (field(kind), field(subject), field(by));
        let text = format::printable(&text.chars().take(TEXT_CHARS).collect::<String>());
        Entry { at_ns, origin, level, kind, subject, by, text, trace: None, seq: 0 }
    }

    fn has(&self, needle: &str) -> bool {
        [&self.kind, &self.subject, &self.by, &self.text]
            .iter()
            .any(|text| text.to_lowercase().contains(needle))
    }
}

/// The state.
#[derive(Debug, Default)]
pub struct State {
    /// Oldest first, by time.
    entries: VecDeque<Arc<Entry>>,
    /// Least severity shown.
    pub level: Level,
    /// The only source shown.
    pub origin: Option<Origin>,
    /// Only entries with this in one of their texts.
    pub filter: String,
    /// Whether the filter is being typed.
    pub is_filtering: bool,
    /// The selected entry, counted from the newest one shown; 0 follows the newest.
    pub cursor: usize,
    /// Position behind the newest event read.
    pub next_seq: u64,
    /// Position of the newest event there is.
    pub wanted_seq: u64,
    /// Whether a page of events is being read.
    pub is_reading: bool,
    /// Why the event log cannot be read.
    pub fault: Option<String>,
    /// Entries that gave way to newer ones.
    pub evicted: u64,
}

impl State {
    /// Adds an entry at its time. The cursor stays on its entry, unless it follows the newest.
    pub fn push(&mut self, entry: Entry) {
        let is_shown = self.shows(&entry);
        let at = self.entries.partition_point(|other| other.at_ns <= entry.at_ns);
        let newer = self.entries.len() - at;
        self.entries.insert(at, Arc::new(entry));
        if is_shown && self.cursor > 0 && newer <= self.cursor {
            self.cursor += 1;
        }
        if self.entries.len() > MAX_ENTRIES {
            self.entries.pop_front();
            self.evicted += 1;
        }
    }

    fn shows(&self, entry: &Entry) -> bool {
        entry.level >= self.level
            && self.origin.is_none_or(|origin| origin == entry.origin)
            && (self.filter.is_empty() || entry.has(&self.filter.to_lowercase()))
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.entries.iter()
    }

    /// Those that pass the filters, newest first.
    pub fn shown(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().rev().filter(|entry| self.shows(entry))
    }

    /// The selected entry.
    pub fn selected(&self) -> Option<&Arc<Entry>> {
        self.shown().nth(self.cursor)
    }

    /// Moves the cursor down by this many entries, which is towards newer ones.
    pub fn select(&mut self, by: isize) {
        let last = self.shown().count().saturating_sub(1);
        let by = by.checked_neg().unwrap_or(isize::MAX);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
    }

    /// After a filter has changed: the newest entry.
    pub fn follow(&mut self) {
        self.cursor = 0;
    }

    /// The entries until a moment, as they were shown then.
    pub fn until(&self, wall_ns: i64) -> State {
        let entries = self.entries.iter().filter(|entry| entry.at_ns <= wall_ns).cloned().collect();
        let (level, origin, filter) = (self.level, self.origin, self.filter.clone());
        State { entries, level, origin, filter, ..State::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(at_ns: i64, level: Level, text: &str) -> Entry {
        Entry::new(at_ns, Origin::Event, level, ["kind", "subject", "ann", text])
    }

    #[test]
    fn filters_narrow_the_list_and_hostile_text_is_made_printable() {
        let mut state = State::default();
        state.push(entry(1, Level::Info, "one"));
        state.push(entry(3, Level::Error, "three\u{1b}[2J\u{202e}"));
        state.push(entry(2, Level::Warning, "two"));
        let texts = |state: &State| state.shown().map(|entry| entry.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&state), ["three·[2J·", "two", "one"], "newest first, by time");
        state.level = Level::Warning;
        assert_eq!(texts(&state).len(), 2);
        state.filter = "TW".to_owned();
        assert_eq!(texts(&state), ["two"]);
        state.origin = Some(Origin::Rosout);
        assert!(texts(&state).is_empty());
    }

    proptest! {
        #[test]
        fn the_cursor_stays_on_its_entry(times in proptest::collection::vec(0i64..50, 1..80), up in 1isize..20) {
            let mut state = State::default();
            for at in 0..30 {
                state.push(entry(at, Level::Info, "x"));
            }
            state.select(-up);
            let selected = state.selected().cloned();
            for at in times {
                state.push(entry(at, Level::Info, "y"));
            }
            prop_assert_eq!(state.selected().cloned(), selected);
        }
    }

    #[test]
    fn the_oldest_entries_give_way() {
        let mut state = State::default();
        for at in 0..(MAX_ENTRIES as i64 + 10) {
            state.push(entry(at, Level::Info, "x"));
        }
        assert_eq!((state.entries.len(), state.evicted), (MAX_ENTRIES, 10));
        assert_eq!(state.entries.front().map(|entry| entry.at_ns), Some(10));
    }
}
