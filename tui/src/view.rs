//! Draws the screen as a pure function of the model.

mod composer;
mod dialog;
mod footer;
mod header;
mod help;
mod messages;
mod palette;
mod question;
mod status_line;

use ratatui::Frame;
use ratatui::layout::Rect;

pub use crate::model::SMALLEST;
use crate::model::{Model, Overlay};
use crate::screens::entry;
use crate::theme::Theme;
use crate::widget::put;

/// Draws the whole screen; returns the number of the question on it.
pub fn view(model: &Model, theme: &Theme, frame: &mut Frame<'_>) -> Option<u64> {
    let area = frame.area();
    let buf = frame.buffer_mut();
    let replay = model.rewind.as_ref().map(|_| theme.rewound());
    let theme = replay.as_ref().unwrap_or(theme);
    let shown = model.rewind.as_ref().map_or(model, |rewind| &*rewind.past);
    buf.set_style(area, theme.screen);
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        too_small(model, theme, area, buf);
        return None;
    }
    header::draw(model, theme, Rect { height: 1, ..area }, buf);
    let lines = status_line::draw(model, theme, Rect { y: area.y + 1, height: area.height - 1, ..area }, buf);
    // No overlay covers the lines above it: the stop is there.
    let below = Rect { y: area.y + 1 + lines, height: area.height - 2 - lines, ..area };
    let body = Rect { x: below.x + 1, width: below.width - 2, ..below };
    (entry(model.screen).draw)(shown, theme, body, buf);
    match &model.overlay {
        Overlay::None => {}
        Overlay::Help { scroll } => help::draw(theme, *scroll, below, buf),
        Overlay::Composer => composer::draw(model, theme, below, buf),
        Overlay::Palette => palette::draw(model, theme, below, buf),
        Overlay::Question(question) => question::draw(model, question, theme, below, buf),
    }
    footer::draw(model, theme, Rect { y: area.bottom() - 1, height: 1, ..area }, buf);
    model.question().map(|question| question.number)
}

/// The stop is visible and its key works even here.
fn too_small(model: &Model, theme: &Theme, area: Rect, buf: &mut ratatui::buffer::Buffer) {
    let (wordings, style) = messages::short_stop(model, theme);
    let lines = [
        (messages::fitting(&wordings, area.width).to_owned(), style),
        ("terminal too small".to_owned(), theme.strong),
        (format!("{}×{}, needs {}×{}", area.width, area.height, SMALLEST.0, SMALLEST.1), theme.dim),
    ];
    for ((text, style), y) in lines.iter().zip(area.y..area.bottom()) {
        put(buf, area.x, y, area.width, text, *style);
    }
}
