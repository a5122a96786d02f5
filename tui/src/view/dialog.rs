//! The box of a dialog.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use crate::theme::Theme;
use crate::widget::put;

/// Fewer lines than this leave no room for a frame.
const FRAMED_LINES: u16 = 7;

/// A box in the middle; returns its inner area. Without room for a frame, the title is its first line.
pub(super) fn dialog(
    theme: &Theme,
    title: &str,
    border: Style,
    size: (u16, u16),
    area: Rect,
    buf: &mut Buffer,
) -> Rect {
    if area.height < FRAMED_LINES {
        Clear.render(area, buf);
        buf.set_style(area, theme.screen);
        put(buf, area.x + 1, area.y, area.width.saturating_sub(2), title, theme.strong);
        return Rect {
            x: area.x + 1,
            y: area.y + 1,
            width: area.width.saturating_sub(2),
            height: area.height.saturating_sub(1),
        };
    }
    let (width, height) = (size.0.min(area.width), size.1.min(area.height));
    let outer =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(outer, buf);
    buf.set_style(outer, theme.screen);
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(border);
    let inner = block.inner(outer);
    block.title(format!(" {title} ")).title_style(theme.strong).render(outer, buf);
    Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner }
}
