//! Questions to the operator: before a release, and before quitting while a stop is unheard.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::model::{Model, Question, QuestionKind, RELEASE_WORD, StopState};
use crate::theme::Theme;
use crate::view::chrome::dialog;
use crate::widget::put;

pub(super) fn draw(model: &Model, question: &Question, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let (title, lines) = match question.asked {
        QuestionKind::Release => ("Release the emergency stop?", release(model, question, theme)),
        QuestionKind::Quit => ("Quit?", quit(theme)),
    };
    let inner = dialog(theme, title, theme.caution, (62, 7), area, buf);
    for ((text, style), y) in lines.iter().zip(inner.y..inner.bottom()) {
        put(buf, inner.x, y, inner.width, text, *style);
    }
}

fn release(model: &Model, question: &Question, theme: &Theme) -> Vec<(String, Style)> {
    let state = match model.stop_state() {
        StopState::Engaged => "■ It is engaged. The rover may move once it is released.",
        StopState::Released => "It is released already, as far as this console knows.",
        StopState::Unknown { .. } => "Its state is not known now.",
        StopState::Never => "Its state was never received.",
    };
    vec![
        (state.to_owned(), theme.screen),
        (String::new(), theme.screen),
        ("Make sure that nobody is near the rover.".to_owned(), theme.strong),
        (String::new(), theme.screen),
        (format!("Type {RELEASE_WORD}, then Enter; Esc cancels: {}▏", question.typed), theme.accent),
    ]
}

fn quit(theme: &Theme) -> Vec<(String, Style)> {
    vec![
        ("The rover has not heard the stop.".to_owned(), theme.strong),
        ("After quitting it is not sent again: use the red button.".to_owned(), theme.screen),
        (String::new(), theme.screen),
        (String::new(), theme.screen),
        ("y  quit all the same        n  stay".to_owned(), theme.accent),
    ]
}
