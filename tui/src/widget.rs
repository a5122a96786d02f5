//! Drawing helpers. They know styles and columns, nothing about rovers.

mod chart;
mod plan;
mod reading;
mod table;
mod trend;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::format;
pub use crate::widget::chart::{Chart, chart, chart_columns, short_number};
pub use crate::widget::plan::{Plan, Sign, arrow, fitted, plan};
pub use crate::widget::reading::group;
pub use crate::widget::table::{Align, Cell, Column, line, table, widths};
pub use crate::widget::trend::trend;

/// Draws text into `width` columns from `x`; returns the next column.
pub fn put(buf: &mut Buffer, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
    let area = buf.area;
    if y >= area.bottom() || x >= area.right() || width == 0 {
        return x;
    }
    // Control characters are escaped: no text may control the terminal.
    let fitted = format::fit(&format::printable(text), usize::from(width.min(area.right() - x)));
    buf.set_stringn(x, y, &fitted, usize::from(width), style).0
}

/// The same, ending before column `right`.
pub fn put_right(buf: &mut Buffer, right: u16, y: u16, width: u16, text: &str, style: Style) {
    let fitted = format::fit(text, usize::from(width.min(right)));
    let used = fitted.width() as u16;
    put(buf, right.saturating_sub(used), y, used, &fitted, style);
}

/// A heading with a line to the end of its area.
pub fn heading(buf: &mut Buffer, area: Rect, title: &str, strong: Style, faint: Style) {
    if area.height == 0 {
        return;
    }
    let x = put(buf, area.x, area.y, area.width, title, strong);
    rule(buf, x.saturating_add(1), area.y, area.right(), faint);
}

/// A thin line from `x` to before `right`.
pub fn rule(buf: &mut Buffer, x: u16, y: u16, right: u16, style: Style) {
    if y >= buf.area.bottom() {
        return;
    }
    for x in x..right.min(buf.area.right()) {
        buf[(x, y)].set_symbol("─").set_style(style);
    }
}

/// The rows of `area` from line `skip`.
pub fn below(area: Rect, skip: u16) -> Rect {
    let skip = skip.min(area.height);
    Rect { y: area.y + skip, height: area.height - skip, ..area }
}

/// The first line of a list so that `cursor` is visible, in the middle if possible.
pub fn window(cursor: usize, len: usize, height: usize) -> usize {
    cursor.saturating_sub(height / 2).min(len.saturating_sub(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_always_in_view() {
        for len in 0..30 {
            for height in 1..12 {
                for cursor in 0..len {
                    let first = window(cursor, len, height);
                    assert!((first..first + height).contains(&cursor));
                    assert!(first == 0 || first + height <= len);
                }
            }
        }
    }

    #[test]
    fn nothing_is_drawn_outside() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 4, 1));
        assert_eq!(put(&mut buf, 2, 0, 10, "abcdef", Style::new()), 4);
        assert_eq!(put(&mut buf, 9, 9, 10, "abc", Style::new()), 9);
        put_right(&mut buf, 1, 0, 9, "abcdef", Style::new());
        assert_eq!(buf[(2, 0)].symbol(), "a");
        assert_eq!(buf[(3, 0)].symbol(), "…");
    }
}
