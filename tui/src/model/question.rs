//! Questions to the operator, on top of the screen. An answer counts only once the question has been
//! drawn.

use roverline_protocol::printable::is_unprintable;

use crate::effect::Effect;
use crate::model::{Model, Overlay};

/// Smallest terminal with a layout, and with room for a question: below it none is asked.
pub const SMALLEST: (u16, u16) = (40, 8);
/// The word that releases the stop.
pub const RELEASE_WORD: &str = "release";
/// Most characters of the typed word.
const WORD_CHARS: usize = 16;

/// A question of a screen.
#[derive(Clone, Debug)]
pub struct Form {
    /// Its title.
    pub title: String,
    /// What is at stake; blank lines are left out where there is no room.
    pub lines: Vec<String>,
    /// What is typed; `None` for a question that takes yes or no.
    pub label: Option<&'static str>,
    /// Whether the text may be empty.
    pub may_be_empty: bool,
    /// Most characters of the text.
    pub max_chars: usize,
    /// What it is about, for `confirmed`.
    pub subject: Vec<String>,
    /// What a yes does, or the typed text.
    pub confirmed: fn(&mut Model, &Form, &str) -> Vec<Effect>,
}

impl Form {
    /// A question that takes yes or no.
    pub fn yes_or_no(
        title: &str,
        lines: Vec<String>,
        subject: Vec<String>,
        confirmed: fn(&mut Model, &Form, &str) -> Vec<Effect>,
    ) -> Form {
        let (title, label) = (title.to_owned(), None);
        Form { title, lines, label, may_be_empty: true, max_chars: 0, subject, confirmed }
    }

    /// A question that takes a text.
    pub fn text(
        title: &str,
        lines: Vec<String>,
        label: &'static str,
        subject: Vec<String>,
        confirmed: fn(&mut Model, &Form, &str) -> Vec<Effect>,
    ) -> Form {
        let (title, label) = (title.to_owned(), Some(label));
        Form { title, lines, label, may_be_empty: false, max_chars: REASON_CHARS, subject, confirmed }
    }
}

/// Most characters of a reason or a message; the gateway takes no more.
const REASON_CHARS: usize = 200;

impl PartialEq for Form {
    fn eq(&self, other: &Form) -> bool {
        (&self.title, &self.subject) == (&other.title, &other.subject)
    }
}

impl Eq for Form {}

/// The subject of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuestionKind {
    /// Whether to release the emergency stop; answered by typing [`RELEASE_WORD`].
    Release,
    /// Whether to quit although the rover has not heard a stop yet.
    Quit,
    /// A question of a screen.
    Other(Form),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The subject of a question.
    pub asked: QuestionKind,
    /// Its number: each question has its own.
    pub number: u64,
    /// Whether the terminal has taken a frame with it. Keys that came before do not answer it.
    pub drawn: bool,
    /// The answer as typed so far.
    pub typed: String,
}

impl Question {
    /// Adds a typed character.
    pub fn push(&mut self, c: char) {
        let most = match &self.asked {
            QuestionKind::Other(form) => form.max_chars,
            _ => WORD_CHARS,
        };
        if !is_unprintable(c) && self.typed.chars().count() < most {
            self.typed.push(c);
        }
    }

    /// Whether the typed answer is a yes.
    pub fn is_confirmed(&self) -> bool {
        match &self.asked {
            QuestionKind::Quit => true,
            QuestionKind::Release => self.typed == RELEASE_WORD,
            QuestionKind::Other(form) => form.may_be_empty || !self.typed.trim().is_empty(),
        }
    }
}

impl Model {
    /// Whether a question has room on the terminal.
    pub fn has_room_for_question(&self) -> bool {
        self.size.0 >= SMALLEST.0 && self.size.1 >= SMALLEST.1
    }

    /// Whether the size of the terminal is known.
    pub fn is_sized(&self) -> bool {
        self.size != (0, 0)
    }

    /// Asks a question. Returns false if the terminal is too small for it.
    pub fn open_question(&mut self, asked: QuestionKind) -> bool {
        if self.has_room_for_question() {
            self.questions += 1;
            let number = self.questions;
            self.overlay = Overlay::Question(Question { asked, number, drawn: false, typed: String::new() });
        }
        self.has_room_for_question()
    }

    /// The open question.
    pub fn question(&self) -> Option<&Question> {
        match &self.overlay {
            Overlay::Question(question) => Some(question),
            _ => None,
        }
    }

    /// The open question, if it has been drawn and may be answered.
    pub fn drawn_question(&mut self) -> Option<&mut Question> {
        match &mut self.overlay {
            Overlay::Question(question) if question.drawn => Some(question),
            _ => None,
        }
    }
}
