//! Questions to the operator: before a release, before quitting while a stop is unheard, and those of screens.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::format;
use crate::model::{Form, Model, Question, QuestionKind, RELEASE_WORD, StopState};
use crate::theme::Theme;
use crate::view::dialog::dialog;
use crate::widget::put;

/// Columns of the box.
const WIDTH: u16 = 70;

pub(super) fn draw(model: &Model, question: &Question, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let (title, lines) = match &question.asked {
        QuestionKind::Release => ("Release the emergency stop?".to_owned(), release(model, question, theme)),
        QuestionKind::Quit => ("Quit?".to_owned(), quit(theme)),
        QuestionKind::Other(form) => (format::printable(&form.title), other(form, question, area, theme)),
    };
    let height = lines.len() as u16 + 2;
    let inner = dialog(theme, &title, theme.caution, (WIDTH, height), area, buf);
    // The answer is always visible: blank lines go first, then the others from the top.
    let mut lines = lines;
    while lines.len() > usize::from(inner.height) {
        let gone = lines.iter().position(|(text, _)| text.is_empty()).unwrap_or(0);
        lines.remove(gone);
    }
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
        (format!("Type {RELEASE_WORD}: {}▏", question.typed), theme.accent),
        ("Enter releases, Esc cancels".to_owned(), theme.dim),
    ]
}

fn quit(theme: &Theme) -> Vec<(String, Style)> {
    vec![
        ("The rover has not heard the stop.".to_owned(), theme.strong),
        ("After quitting it is not sent again: use the red button.".to_owned(), theme.screen),
        (String::new(), theme.screen),
        ("y  quit all the same        n  stay".to_owned(), theme.accent),
    ]
}

fn other(form: &Form, question: &Question, area: Rect, theme: &Theme) -> Vec<(String, Style)> {
    let mut lines: Vec<_> = form.lines.iter().map(|line| (line.clone(), theme.screen)).collect();
    lines.push((String::new(), theme.screen));
    let Some(label) = form.label else {
        lines.push(("y  yes        n  no".to_owned(), theme.accent));
        return lines;
    };
    // The end of a long text is what is being typed.
    let room = usize::from(WIDTH.min(area.width)).saturating_sub(label.width() + 8);
    let mut typed: &str = &question.typed;
    while typed.width() > room {
        typed = typed.get(typed.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
    }
    lines.push((format!("{label}: {typed}▏"), theme.accent));
    lines.push(("Enter sends, Esc cancels".to_owned(), theme.dim));
    lines
}
