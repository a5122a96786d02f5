//! The go or no-go list before a run: one evaluation for the screen and for `roverline preflight`. Pure.

mod checks;

use crate::model::Model;
pub use crate::screen::preflight::model::Confirmation;
use crate::screen::preflight::model::MANUAL;

/// What a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Go,
    /// Somebody should look at it: it may be confirmed by hand.
    Caution,
    /// The run must not begin.
    NoGo,
}

impl Verdict {
    /// Its sign.
    pub const fn glyph(self) -> &'static str {
        match self {
            Verdict::Go => "✓",
            Verdict::Caution => "▲",
            Verdict::NoGo => "■",
        }
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Go => "go",
            Verdict::Caution => "check",
            Verdict::NoGo => "no-go",
        }
    }
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name in keys and documents: `battery`.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// The verdict; a confirmed caution is a go.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// Who confirmed it by hand.
    pub confirmed: Option<Confirmation>,
}

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// In the order of the list.
    pub checks: Vec<Check>,
}

impl Evaluation {
    /// The worst verdict.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::NoGo)
    }

    /// How many checks have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }
}

/// Evaluates everything that the model knows now.
pub fn evaluate(model: &Model) -> Evaluation {
    let mut checks = checks::all(model);
    for (id, name, text) in MANUAL {
        checks.push(Check { id, name, verdict: Verdict::Caution, text: text.to_owned(), confirmed: None });
    }
    for check in &mut checks {
        check.confirmed = model.screens.preflight.confirmation(check.id);
        if check.confirmed.is_some() && check.verdict == Verdict::Caution {
            check.verdict = Verdict::Go;
        }
    }
    Evaluation { checks }
}
