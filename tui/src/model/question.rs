//! Questions to the operator, on top of the screen. An answer counts only once the question has been
//! drawn.

use crate::model::{Model, Overlay};

/// Smallest terminal with a layout, and with room for a question: below it none is asked.
pub const SMALLEST: (u16, u16) = (60, 20);
/// The word that releases the stop.
pub const RELEASE_WORD: &str = "release";
/// Most characters of a typed answer.
const TYPED_CHARS: usize = 16;

/// The subject of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionKind {
    /// Whether to release the emergency stop; answered by typing [`RELEASE_WORD`].
    Release,
    /// Whether to quit although the rover has not heard a stop yet.
    Quit,
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
        if !c.is_control() && self.typed.chars().count() < TYPED_CHARS {
            self.typed.push(c);
        }
    }

    /// Whether the typed answer is a yes.
    pub fn is_confirmed(&self) -> bool {
        self.asked == QuestionKind::Quit || self.typed == RELEASE_WORD
    }
}

impl Model {
    /// Whether a question has room on the terminal.
    pub fn has_room_for_question(&self) -> bool {
        self.size.0 >= SMALLEST.0 && self.size.1 >= SMALLEST.1
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
