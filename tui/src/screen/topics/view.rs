//! The list of topics, and the fields of the selected one.

pub(in crate::screen::topics) mod plot;

use crate::model::quality::Quality;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;

use crate::format;
use crate::model::{Focus, Model, Screen, Sort, TopicRow};
use crate::theme::{Theme, quality_glyph};
use crate::widget::{Align, Cell, Column, below, heading, put, put_right, table, window};

/// From this width the list shows scopes.
const WIDE: u16 = 95;
/// Below this width the list omits the type; the selected topic shows it.
const NARROW: u16 = 70;
/// Below this width it omits the bytes as well, and the quality's word.
const SLIM: u16 = 50;
/// Below this height there is room for the list or the fields.
const SPLIT_LINES: u16 = 10;

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let is_plotted = model.topics.focus == Focus::Fields && !model.screens.topics.plot.is_closed;
    if area.height < SPLIT_LINES {
        match model.topics.focus {
            Focus::List => list(model, theme, area, buf),
            Focus::Fields => fields_and_trend(model, theme, area, buf),
        }
    } else if area.width >= 118 {
        let plot_lines = if is_plotted { (area.height * 2 / 5).max(6) } else { 0 };
        let rest = Rect { height: area.height - plot_lines, ..area };
        if is_plotted {
            plot::draw(model, theme, below(area, rest.height), buf);
        }
        let area = rest;
        let [list_area, fields_area] =
            Layout::horizontal([Constraint::Fill(2), Constraint::Fill(1)]).spacing(3).areas(area);
        list(model, theme, list_area, buf);
        fields(model, theme, fields_area, buf);
    } else if is_plotted {
        // The list comes back with the cursor.
        let [fields_area, plot_area] =
            Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
        fields(model, theme, fields_area, buf);
        plot::draw(model, theme, plot_area, buf);
    } else {
        let [list_area, fields_area] =
            Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
        list(model, theme, list_area, buf);
        fields(model, theme, fields_area, buf);
    }
}

/// The fields, and one line of a trend below them.
fn fields_and_trend(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.screens.topics.plot;
    let series = state.series.as_ref().filter(|_| !state.is_closed && area.height > 3);
    let lines = u16::from(series.is_some());
    fields(model, theme, Rect { height: area.height - lines, ..area }, buf);
    if let Some(series) = series {
        let text = format!("{} {}  {}", series.field, plot::value_of(series), plot::trend_of(model, series));
        put(buf, area.x, area.bottom() - 1, area.width, &text, theme.dim);
    }
}

/// The list of topics.
pub fn list(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let topics = &model.topics;
    // The overview shows the list as well, without a cursor.
    let here = model.screen == Screen::Topics;
    let focused = topics.focus == Focus::List || !here;
    let count = match topics.filter.is_empty() {
        true => format!("TOPICS {}", topics.rows.len()),
        false => format!("TOPICS {} of {}  /{}", topics.visible.len(), topics.rows.len(), topics.filter),
    };
    heading(buf, area, &count, if focused { theme.strong } else { theme.dim }, theme.faint);
    if topics.visible.is_empty() {
        let why = if topics.rows.is_empty() { "none listed yet" } else { "none matches the filter" };
        put(buf, area.x, area.y + 1, area.width, why, theme.faint);
        return;
    }
    let body = below(area, 1);
    let height = usize::from(body.height.saturating_sub(1));
    let first = window(topics.selected_index().unwrap_or(0), topics.visible.len(), height);
    let rows = topics.visible.iter().skip(first).filter_map(|name| topics.rows.get(name));
    let rows = rows.map(|row| {
        let is_selected = here && topics.selected.as_ref() == Some(&row.info.name);
        let whole = is_selected.then_some(if focused { theme.selected } else { theme.strong });
        (cells(model, theme, row, area.width, whole), whole)
    });
    table(buf, body, &columns(model, area.width), theme.dim, rows);
}

/// The sort column carries a mark.
fn columns(model: &Model, width: u16) -> Vec<Column> {
    let sort = model.topics.sort;
    let title = |column: Sort, up: &'static str, down: &'static str, plain: &'static str| match (
        column == sort,
        model.topics.reversed,
    ) {
        (false, _) => plain,
        (true, false) => up,
        (true, true) => down,
    };
    let left = |title, width| Column { title, width, align: Align::Left };
    let right = |title, width| Column { title, width, align: Align::Right };
    let mut columns = vec![
        left(title(Sort::Name, "NAME ↓", "NAME ↑", "NAME"), 0),
        left(title(Sort::Type, "TYPE ↓", "TYPE ↑", "TYPE"), if width >= WIDE { 20 } else { 13 }),
        right(title(Sort::Rate, "HZ ↓", "HZ ↑", "HZ"), 6),
        right(title(Sort::Bandwidth, "BYTES ↓", "BYTES ↑", "BYTES"), 9),
        left("QUALITY", 9),
        right(title(Sort::Age, "AGE ↓", "AGE ↑", "AGE"), 6),
    ];
    match width {
        WIDE.. => columns.insert(2, left("SCOPES", 16)),
        NARROW.. => {}
        SLIM.. => drop(columns.remove(1)),
        _ => columns = vec![columns.remove(0), columns.remove(1), columns.remove(3)],
    }
    columns
}

fn cells(model: &Model, theme: &Theme, row: &TopicRow, width: u16, whole: Option<Style>) -> Vec<Cell> {
    let quality = row.quality(model.now);
    let on = |style: Style| whole.map_or(style, |whole| style.patch(Style { fg: None, ..whole }));
    let value = match quality {
        _ if row.is_unasked() => theme.faint,
        _ if !row.listed => theme.stale,
        Quality::Stale => theme.stale,
        Quality::Never => theme.faint,
        _ => theme.screen,
    };
    let value = whole.unwrap_or(value);
    let quality_style = if row.is_unasked() { theme.faint } else { theme.quality(quality) };
    // A heavy topic is throttled while selected: its true rate is unknown here.
    let bound = if row.heavy() && row.subscribed { "≥" } else { "" };
    let received = row.at.is_some();
    let or_dash = |text: String| if received { text } else { "–".to_owned() };
    let type_name = last_part(&row.info.type_name);
    let quality_text = quality_text(row, quality);
    let mut cells = vec![
        (format::printable(&row.info.name), value),
        (format::printable(&type_name), on(theme.dim)),
        (or_dash(format!("{bound}{}", format::rate(row.rate.0))), value),
        (or_dash(format::bandwidth(row.rate.1)), value),
        (quality_text, on(quality_style)),
        (row.age(model.now).map_or_else(|| "–".to_owned(), format::age), on(quality_style)),
    ];
    match width {
        WIDE.. => cells.insert(2, (row.info.scopes.to_string(), on(theme.dim))),
        NARROW.. => {}
        SLIM.. => drop(cells.remove(1)),
        _ => cells = vec![cells.remove(0), cells.remove(1), cells.remove(3)],
    }
    cells
}

/// The quality in words. What was not asked for is neither missing nor old.
fn quality_text(row: &TopicRow, quality: Quality) -> String {
    match row.is_unasked() {
        true => "not asked".to_owned(),
        false => format!("{} {}", quality_glyph(quality), quality.word()),
    }
}

fn last_part(type_name: &str) -> String {
    type_name.rsplit('/').next().unwrap_or(type_name).to_owned()
}

fn fields(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let focused = model.topics.focus == Focus::Fields;
    let Some(row) = model.topics.selected_row() else {
        heading(buf, area, "FIELDS", theme.dim, theme.faint);
        return;
    };
    let title = format::printable(&row.info.name);
    heading(buf, area, &title, if focused { theme.strong } else { theme.dim }, theme.faint);
    about(model, theme, row, below(area, 1), buf);
    let body = below(area, 2);
    if let Some(message) = &model.screens.topics.fields.message {
        put(buf, body.x, body.y, body.width, message, theme.dim);
        return;
    }
    let rows = &model.screens.topics.fields.rows;
    let first = window(model.screens.topics.fields.cursor, rows.len(), usize::from(body.height));
    for ((i, field), y) in rows.iter().enumerate().skip(first).zip(body.y..body.bottom()) {
        let here = focused && i == model.screens.topics.fields.cursor;
        let line = Rect { y, height: 1, ..body };
        if here {
            buf.set_style(line, theme.selected);
        }
        let mark = match field.open {
            Some(true) => "▾ ",
            Some(false) => "▸ ",
            None => "  ",
        };
        let indent = (field.depth * 2).min(body.width / 2);
        let label = format!("{mark}{}", field.label);
        let base = |style: Style| if here { theme.selected } else { style };
        let x = put(buf, body.x + indent, y, body.width - indent, &label, base(theme.dim)) + 1;
        let x = x.max(body.x + (indent + 18).min(body.width / 2));
        let value = if row.quality(model.now) == Quality::Stale { theme.stale } else { theme.screen };
        put(buf, x, y, body.right().saturating_sub(x), &field.text, base(value));
    }
}

/// Type, scopes, size and quality on one line.
fn about(model: &Model, theme: &Theme, row: &TopicRow, area: Rect, buf: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let quality = row.quality(model.now);
    let away = if row.listed { "" } else { "  not served by this endpoint" };
    let latched = if row.info.latched { "  latched" } else { "" };
    let expected = match model.screens.topics.rate_of(&row.info.name) {
        None => String::new(),
        Some(None) => "  not expected".to_owned(),
        Some(Some(rate)) => format!("  expected {rate} Hz"),
    };
    let text = format!("{}  [{}]{expected}{latched}{away}", row.info.type_name, row.info.scopes);
    let age = row.age(model.now).map_or_else(|| "–".to_owned(), format::age);
    let trust = format!(
        "{}  {} {} {age}",
        format::bytes(row.latest_bytes as f64),
        quality_glyph(quality),
        quality.word()
    );
    let room = area.width.saturating_sub(trust.chars().count() as u16 + 2);
    put(buf, area.x, area.y, room, &format::printable(&text), theme.dim);
    put_right(buf, area.right(), area.y, area.width, &trust, theme.quality(quality));
}
