//! What the command palette offers, and what is typed into it.

use crate::fuzzy;
use crate::model::Screen;
use crate::screen::team::model::RowName;

/// Most characters of what is typed.
const TYPED_CHARS: usize = 64;

/// What an entry leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A screen.
    Screen(Screen),
    /// An action of a context that is active beneath the palette.
    Action {
        /// The title of its context.
        context: &'static str,
        /// Its description.
        description: &'static str,
    },
    /// A topic.
    Topic(String),
    /// A row of the Team screen.
    Row(RowName),
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub label: String,
    /// What kind of thing it is.
    pub kind: &'static str,
    /// Its keys; empty without.
    pub keys: String,
    /// What it leads to.
    pub target: Target,
}

/// The palette. Its entries are those of the moment at which it was opened: none moves under the cursor.
#[derive(Clone, Debug, Default)]
pub struct Palette {
    /// What is typed.
    pub typed: String,
    /// All entries.
    pub entries: Vec<Entry>,
    /// Indexes of the entries that match, the best first.
    pub matches: Vec<usize>,
    /// Index of the selected match.
    pub cursor: usize,
    /// Entries that were left out because there are too many.
    pub left_out: usize,
}

impl Palette {
    /// A palette with nothing typed.
    pub fn new(entries: Vec<Entry>, left_out: usize) -> Palette {
        let mut palette = Palette { entries, left_out, ..Palette::default() };
        palette.search();
        palette
    }

    /// Changes what is typed.
    pub fn push(&mut self, c: char) {
        if self.typed.chars().count() < TYPED_CHARS {
            self.typed.push(c);
            self.search();
        }
    }

    /// Erases a character; returns false if there is none.
    pub fn pop(&mut self) -> bool {
        let is_erased = self.typed.pop().is_some();
        self.search();
        is_erased
    }

    /// Moves the cursor.
    pub fn scroll(&mut self, by: isize) {
        self.cursor = self.cursor.saturating_add_signed(by).min(self.matches.len().saturating_sub(1));
    }

    /// The selected entry.
    pub fn selected(&self) -> Option<&Entry> {
        self.entries.get(*self.matches.get(self.cursor)?)
    }

    fn search(&mut self) {
        let score = |entry: &Entry| {
            let by_name = fuzzy::score(&self.typed, &entry.label);
            // A name that matches goes before a kind that does.
            by_name
                .map(|score| score + 8)
                .max(fuzzy::score(&self.typed, &format!("{} {}", entry.label, entry.kind)))
        };
        let mut found: Vec<(i32, usize)> = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            if let Some(score) = score(entry) {
                found.push((if self.typed.is_empty() { 0 } else { -score }, at));
            }
        }
        found.sort_unstable();
        self.matches = found.into_iter().map(|(_, at)| at).collect();
        self.cursor = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(label: &str, kind: &'static str) -> Entry {
        Entry { label: label.to_owned(), kind, keys: String::new(), target: Target::Topic(label.to_owned()) }
    }

    #[test]
    fn typing_ranks_and_erasing_brings_all_back() {
        let entries = vec![entry("Topics", "screen"), entry("/odom", "topic"), entry("drive", "lock")];
        let mut palette = Palette::new(entries, 0);
        assert_eq!(palette.matches, [0, 1, 2], "in their order");
        palette.scroll(9);
        assert_eq!(palette.selected().map(|entry| &*entry.label), Some("drive"));
        "lock".chars().for_each(|c| palette.push(c));
        assert_eq!((palette.matches.as_slice(), palette.cursor), ([2].as_slice(), 0));
        "zz".chars().for_each(|c| palette.push(c));
        assert!(palette.selected().is_none());
        while palette.pop() {}
        assert_eq!(palette.matches.len(), 3);
        (0..200).for_each(|_| palette.push('x'));
        assert_eq!(palette.typed.chars().count(), TYPED_CHARS);
    }
}
