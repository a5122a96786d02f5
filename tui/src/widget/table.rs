//! A table: a heading line, and cells in columns of given widths.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::widget::{put, put_right};

/// Alignment of a column; numbers are right-aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Width in columns; 0 takes the remaining width.
    pub width: u16,
    /// Alignment.
    pub align: Align,
}

/// A text and its style.
pub type Cell = (String, Style);

/// Draws heading and rows, one line each; a row's style covers its whole line.
pub fn table(
    buf: &mut Buffer,
    area: Rect,
    columns: &[Column],
    head: Style,
    rows: impl Iterator<Item = (Vec<Cell>, Option<Style>)>,
) {
    let titles: Vec<Cell> = columns.iter().map(|c| (c.title.to_owned(), head)).collect();
    line(buf, area, columns, &titles);
    for ((cells, whole), y) in rows.zip(area.y + 1..area.bottom()) {
        let area = Rect { y, height: 1, ..area };
        if let Some(style) = whole {
            buf.set_style(area, style);
        }
        line(buf, area, columns, &cells);
    }
}

/// Draws one row at the top of the area.
pub fn line(buf: &mut Buffer, area: Rect, columns: &[Column], cells: &[Cell]) {
    if area.height == 0 {
        return;
    }
    let mut x = area.x;
    for ((column, width), (text, style)) in columns.iter().zip(widths(columns, area.width)).zip(cells) {
        let width = width.min(area.right().saturating_sub(x));
        match column.align {
            Align::Left => drop(put(buf, x, area.y, width, text, *style)),
            Align::Right => put_right(buf, x + width, area.y, width, text, *style),
        }
        x = (x + width + 1).min(area.right());
    }
}

/// The widths of columns, one column between them; the remaining width goes to the flexible ones.
pub fn widths(columns: &[Column], total: u16) -> Vec<u16> {
    let fixed: u16 = columns.iter().map(|c| c.width).sum();
    let gaps = columns.len().saturating_sub(1) as u16;
    let left = total.saturating_sub(fixed + gaps);
    let flexible = columns.iter().filter(|c| c.width == 0).count().max(1) as u16;
    columns.iter().map(|c| if c.width == 0 { left / flexible } else { c.width }).collect()
}
