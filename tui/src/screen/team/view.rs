//! Draws the parts of the Team screen below each other, or in two columns.

mod rows;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;

use crate::format;
use crate::model::{Document, Model};
use crate::screen::team::model::{Pane, RowName};
use crate::screen::team::view::rows::{columns, row, title};
use crate::theme::Theme;
use crate::widget::{Cell, heading, line, put, put_right};

/// From this width on, people and robots are beside locks and queues.
const TWO_COLUMNS: u16 = 130;

/// A line of the screen.
enum Line {
    Heading(Pane),
    Row(RowName),
    /// Indented below a row.
    Detail(String, Style),
    Blank,
}

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let panes = match area.width {
        TWO_COLUMNS.. => {
            let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(3).areas(area);
            vec![(left, &Pane::ALL[..2]), (right, &Pane::ALL[2..])]
        }
        _ => vec![(area, &Pane::ALL[..])],
    };
    for (area, panes) in panes {
        column(model, theme, panes, area, buf);
    }
}

/// The panes below each other; the lines around the cursor if not all of them fit.
fn column(model: &Model, theme: &Theme, panes: &[Pane], area: Rect, buf: &mut Buffer) {
    let selected = model.screens.team.selected();
    let lines = lines(model, theme, panes);
    let height = usize::from(area.height);
    let cursor = lines.iter().position(|line| matches!(line, Line::Row(name) if *name == selected));
    let first = crate::widget::window(cursor.unwrap_or(0), lines.len(), height);
    // The heading of the first rows is shown in any case.
    let first = if cursor.is_some_and(|at| at < height) { 0 } else { first };
    for (line, y) in lines.iter().skip(first).zip(area.y..area.bottom()) {
        let area = Rect { y, height: 1, ..area };
        match line {
            Line::Heading(pane) => head(model, theme, *pane, area, buf),
            Line::Row(name) => draw_row(model, theme, name, *name == selected, area, buf),
            Line::Detail(text, style) => {
                put(buf, area.x + 2, y, area.width.saturating_sub(2), text, *style);
            }
            Line::Blank => {}
        }
    }
    let below = lines.len().saturating_sub(first + height);
    if below > 0 && area.height > 0 {
        put_right(buf, area.right(), area.bottom() - 1, 8, &format!(" +{below}"), theme.dim);
    }
}

fn lines(model: &Model, theme: &Theme, panes: &[Pane]) -> Vec<Line> {
    let state = &model.screens.team;
    let rows = state.rows();
    let mut lines = Vec::new();
    for &pane in panes {
        if !lines.is_empty() {
            lines.push(Line::Blank);
        }
        lines.push(Line::Heading(pane));
        let own: Vec<&RowName> = rows.iter().filter(|row| row.pane == pane).collect();
        if own.is_empty() {
            lines.push(Line::Detail(rows::empty(model, pane).to_owned(), theme.faint));
        }
        for name in own {
            lines.push(Line::Row(name.clone()));
            lines.extend(
                rows::details(model, theme, name).into_iter().map(|(text, style)| Line::Detail(text, style)),
            );
        }
    }
    lines
}

fn head(model: &Model, theme: &Theme, pane: Pane, area: Rect, buf: &mut Buffer) {
    let (title, fault) = title(model, pane);
    heading(buf, area, &title, theme.strong, theme.faint);
    match fault {
        Some(fault) => {
            put_right(buf, area.right(), area.y, area.width / 2 + 8, &format!(" {fault}"), theme.caution)
        }
        None => {
            // Headings of the columns stand in the line.
            let columns = columns(pane, area.width);
            let mut x = area.x;
            for (column, width) in columns.iter().zip(crate::widget::widths(&columns, area.width)) {
                if column.title.is_empty() {
                    x += width + 1;
                    continue;
                }
                let text = format!(" {} ", column.title);
                let start = match column.align {
                    crate::widget::Align::Left => x.saturating_sub(1),
                    crate::widget::Align::Right => (x + width).saturating_sub(text.len() as u16 - 1),
                };
                put(buf, start, area.y, text.len() as u16, &text, theme.dim);
                x += width + 1;
            }
        }
    }
}

fn draw_row(model: &Model, theme: &Theme, name: &RowName, is_selected: bool, area: Rect, buf: &mut Buffer) {
    let mut cells: Vec<Cell> = row(model, theme, name, area.width);
    if is_selected {
        buf.set_style(area, theme.selected);
        for (_, style) in &mut cells {
            *style = if *style == theme.screen || *style == theme.dim || *style == theme.faint {
                theme.selected
            } else {
                Style { bg: theme.selected.bg, ..*style }
            };
        }
    }
    line(buf, area, &columns(name.pane, area.width), &cells);
}

/// Why a document may not be true now, if it may not.
fn doubt<T>(model: &Model, document: &Document<T>) -> Option<String> {
    if let Some((since, why)) = &document.fault {
        return Some(format!("▲ store away for {}: {why}", format::age(model.now.since(*since))));
    }
    if !model.network.is_connected() {
        let since = model.network.all_down_since.map(|since| format::age(model.now.since(since)));
        return Some(
            since.map_or_else(|| "not connected".to_owned(), |since| format!("▲ as of {since} ago")),
        );
    }
    None
}
