//! The report of a scenario: counts, measurements and violations.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::table::table;

/// Counts and measurements of a scenario, and its violations.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    name: String,
    rows: Vec<Vec<String>>,
    /// Broken guarantees.
    pub violations: Vec<String>,
    /// The reason why the scenario could not run here.
    pub skipped: Option<String>,
}

impl Report {
    pub(crate) fn new(name: &str) -> Report {
        Report { name: name.to_owned(), rows: Vec::new(), violations: Vec::new(), skipped: None }
    }

    /// A scenario that cannot run here.
    pub(crate) fn skipped(name: &str, why: &str) -> Report {
        Report { skipped: Some(why.to_owned()), ..Report::new(name) }
    }

    pub(crate) fn failed(mut self, why: &str) -> Report {
        self.violations([why.to_owned()]);
        self
    }

    pub(crate) fn number(&mut self, what: &str, value: f64) {
        let value = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") };
        self.text(what, &value);
    }

    pub(crate) fn text(&mut self, what: &str, value: &str) {
        self.rows.push(vec![what.to_owned(), value.to_owned()]);
    }

    pub(crate) fn seconds(&mut self, took: Duration) {
        self.text("seconds", &format!("{:.1}", took.as_secs_f64()));
    }

    pub(crate) fn violations(&mut self, more: impl IntoIterator<Item = String>) {
        self.violations.extend(more);
    }

    /// Records a violation if the condition does not hold.
    pub(crate) fn check(&mut self, holds: bool, what: &str) {
        if !holds {
            self.violations([format!("violated: {what}")]);
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
        let summary = if self.violations.is_empty() { "ok" } else { "FAILED" };
        writeln!(f, "{}: {summary}", self.name)
    }
}
