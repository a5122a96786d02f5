//! Draws the screen as a pure function of the model.

mod chrome;
mod endpoints;
pub mod help;
mod overview;
mod topics;

use ratatui::Frame;
use ratatui::layout::Rect;

use crate::model::{Model, Overlay, Screen};
use crate::theme::Theme;
use crate::widget::put;

/// Smallest size with a layout.
pub const SMALLEST: (u16, u16) = (60, 20);

/// Draws the whole screen.
pub fn view(model: &Model, theme: &Theme, frame: &mut Frame<'_>) {
    let area = frame.area();
    let buf = frame.buffer_mut();
    buf.set_style(area, theme.screen);
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        too_small(model, theme, area, buf);
        return;
    }
    chrome::header(model, theme, Rect { height: 1, ..area }, buf);
    chrome::banner(model, theme, Rect { y: area.y + 1, height: 1, ..area }, buf);
    let body = Rect {
        x: area.x + 1,
        y: area.y + 2,
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(3),
    };
    match model.screen {
        Screen::Overview => overview::draw(model, theme, body, buf),
        Screen::Endpoints => endpoints::draw(model, theme, body, buf),
        Screen::Topics => topics::draw(model, theme, body, buf),
    }
    match model.overlay {
        Overlay::None => {}
        Overlay::Help { scroll } => help::draw(theme, scroll, area, buf),
        Overlay::ConfirmRelease => chrome::confirm(model, theme, area, buf),
    }
    chrome::footer(model, theme, Rect { y: area.bottom() - 1, height: 1, ..area }, buf);
}

/// The stop is visible and its key works even here.
fn too_small(model: &Model, theme: &Theme, area: Rect, buf: &mut ratatui::buffer::Buffer) {
    let stop = if model.rover.stopped() { "■ E-STOP ENGAGED" } else { "! stops the rover" };
    let lines = [
        ("terminal too small".to_owned(), theme.strong),
        (format!("{}×{}, needs {}×{}", area.width, area.height, SMALLEST.0, SMALLEST.1), theme.dim),
        (stop.to_owned(), if model.rover.stopped() { theme.alarm } else { theme.dim }),
    ];
    for ((text, style), y) in lines.iter().zip(area.y..area.bottom()) {
        put(buf, area.x, y, area.width, text, *style);
    }
}
