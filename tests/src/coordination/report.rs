//! What a scenario showed, for people.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::table::table;

/// What was counted and measured, and what was not as it must be.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    name: String,
    rows: Vec<Vec<String>>,
    /// What was not as it must be.
    pub violations: Vec<String>,
    /// Why it could not be played here.
    pub skipped: Option<String>,
}

impl Report {
    pub(crate) fn new(name: &str) -> Report {
        Report { name: name.to_owned(), rows: Vec::new(), violations: Vec::new(), skipped: None }
    }

    /// Cannot be played here.
    pub(crate) fn skipped(name: &str, why: &str) -> Report {
        Report { skipped: Some(why.to_owned()), ..Report::new(name) }
    }

    pub(crate) fn failed(mut self, why: &str) -> Report {
        self.violations([why.to_owned()]);
        self
    }

    pub(crate) fn note(&mut self, what: &str, value: f64) {
        let value = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") };
        self.say(what, &value);
    }

    pub(crate) fn say(&mut self, what: &str, value: &str) {
        self.rows.push(vec![what.to_owned(), value.to_owned()]);
    }

    pub(crate) fn seconds(&mut self, took: Duration) {
        self.say("seconds", &format!("{:.1}", took.as_secs_f64()));
    }

    pub(crate) fn violations(&mut self, more: impl IntoIterator<Item = String>) {
        self.violations.extend(more);
    }

    /// That this holds.
    pub(crate) fn must(&mut self, holds: bool, what: &str) {
        if !holds {
            self.violations([format!("not so: {what}")]);
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.skipped {
            return writeln!(f, "{}: skipped: {why}", self.name);
        }
        write!(f, "{}", table(&[&self.name, "value"], &self.rows))?;
        for violation in &self.violations {
            writeln!(f, "VIOLATION: {violation}")?;
        }
        let word = if self.violations.is_empty() { "as it must be" } else { "NOT AS IT MUST BE" };
        writeln!(f, "{}: {word}", self.name)
    }
}
