//! The list, the newest entry at the bottom, and the selected entry in full.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::format;
use crate::model::Model;
use crate::screen::log::model::{Entry, Level, Origin};
use crate::theme::Theme;
use crate::widget::{Align, Cell, Column, below, heading, line, put, put_right};

/// From this height on, the selected entry is shown in full below the list.
const DETAIL_LINES: u16 = 14;

const fn left(width: u16) -> Column {
    Column { title: "", width, align: Align::Left }
}

const WIDE: [Column; 6] = [left(8), left(1), left(22), left(22), left(16), left(0)];
const MIDDLE: [Column; 5] = [left(8), left(1), left(16), left(14), left(0)];
const NARROW: [Column; 3] = [left(8), left(1), left(0)];

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.screens.log;
    let mut title = format!("LOG {}", state.shown().count());
    if state.level != Level::Info {
        title += &format!("  {}", state.level.word());
    }
    if let Some(origin) = state.origin {
        title += &format!("  only {}", origin.word());
    }
    if !state.filter.is_empty() || state.is_filtering {
        title += &format!("  /{}{}", state.filter, if state.is_filtering { "▏" } else { "" });
    }
    heading(buf, area, &title, theme.strong, theme.faint);
    let follow = if state.cursor == 0 { "follows".to_owned() } else { format!("{} newer", state.cursor) };
    let right = match &state.fault {
        Some(fault) => (format!(" ▲ events: {fault}"), theme.caution),
        None => (format!(" {follow}"), theme.dim),
    };
    put_right(buf, area.right(), area.y, area.width / 2, &right.0, right.1);
    let detail = if area.height >= DETAIL_LINES { 4 } else { 0 };
    let list = below(Rect { height: area.height.saturating_sub(detail), ..area }, 1);
    entries(model, theme, list, buf);
    if let Some(entry) = state.selected().filter(|_| detail > 0) {
        let area = Rect { y: list.bottom(), height: detail, ..area };
        selected(entry, theme, area, buf);
    }
}

fn entries(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.screens.log;
    let height = usize::from(area.height);
    let total = state.shown().count();
    if total == 0 {
        put(buf, area.x, area.y, area.width, "nothing yet", theme.faint);
        return;
    }
    // The newest one is at the bottom; the cursor in the middle once it has left it.
    let first = crate::widget::window(state.cursor, total, height);
    let columns: &[Column] = match area.width {
        110.. => &WIDE,
        66.. => &MIDDLE,
        _ => &NARROW,
    };
    let shown: Vec<_> = state.shown().enumerate().skip(first).take(height).collect();
    for ((index, entry), y) in shown.iter().rev().zip(area.y..area.bottom()) {
        let area = Rect { y, height: 1, ..area };
        let mut cells = cells(entry, theme, columns.len());
        if *index == state.cursor {
            buf.set_style(area, theme.selected);
            for (_, style) in &mut cells {
                *style = theme.selected;
            }
        }
        line(buf, area, columns, &cells);
    }
}

fn cells(entry: &Entry, theme: &Theme, columns: usize) -> Vec<Cell> {
    let (mark, style) = mark(entry, theme);
    let time = (format::clock(entry.at_ns), theme.dim);
    let mark = (mark.to_owned(), style);
    let (kind, subject) = ((entry.kind.clone(), style), (entry.subject.clone(), theme.screen));
    match columns {
        6 => {
            vec![time, mark, kind, subject, (entry.by.clone(), theme.dim), (entry.text.clone(), theme.screen)]
        }
        5 => {
            let text = if entry.origin == Origin::Event && entry.by != entry.subject {
                format!("{}  {}", entry.by, entry.text)
            } else {
                entry.text.clone()
            };
            vec![time, mark, kind, subject, (text, theme.screen)]
        }
        _ => vec![time, mark, (format!("{} {} {}", entry.kind, entry.subject, entry.text), style)],
    }
}

fn mark(entry: &Entry, theme: &Theme) -> (&'static str, Style) {
    match (entry.level, entry.origin) {
        (Level::Error, _) => ("■", theme.alarm),
        (Level::Warning, _) => ("▲", theme.caution),
        (_, Origin::Note) => ("✎", theme.strong),
        _ => (" ", theme.screen),
    }
}

fn selected(entry: &Entry, theme: &Theme, area: Rect, buf: &mut Buffer) {
    heading(buf, area, "SELECTED", theme.dim, theme.faint);
    let trace = if entry.trace.is_some() { "   Enter opens its trace" } else { "" };
    let seq = if entry.seq > 0 { format!("  #{}", entry.seq) } else { String::new() };
    let head = format!(
        "{} UTC  {}{seq}  {}  {}  by {}{trace}",
        format::date(entry.at_ns),
        entry.origin.word(),
        entry.kind,
        entry.subject,
        entry.by
    );
    put(buf, area.x, area.y + 1, area.width, &head, theme.dim);
    let mut rest = entry.text.as_str();
    for y in area.y + 2..area.bottom() {
        let cut = rest.char_indices().nth(usize::from(area.width)).map_or(rest.len(), |(at, _)| at);
        let (now, later) = rest.split_at(cut);
        put(buf, area.x, y, area.width, now, theme.screen);
        rest = later;
    }
}
