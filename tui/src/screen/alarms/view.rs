//! The list of alarms, and the selected one in full.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use roverline_protocol::api::alarms::{AlarmDocument, AlarmQuality, AlarmState};

use crate::format;
use crate::model::Model;
use crate::screen::alarms::model::URGENT;
use crate::theme::Theme;
use crate::widget::{Align, Cell, Column, below, heading, line, put, put_right, window};

/// From this height on, the selected alarm is shown in full.
const DETAIL_LINES: u16 = 14;
/// Lines of the selected alarm, its heading included.
const DETAIL: u16 = 6;

const fn left(width: u16) -> Column {
    Column { title: "", width, align: Align::Left }
}

const WIDE: [Column; 6] = [left(10), left(13), left(26), left(0), left(6), left(22)];
const MIDDLE: [Column; 5] = [left(1), left(22), left(0), left(6), left(13)];
const NARROW: [Column; 3] = [left(1), left(0), left(6)];

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.screens.alarms;
    let mut title = "ALARMS".to_owned();
    if let Some(list) = &state.list.value {
        let totals = &list.totals;
        title += &format!(" {} open", totals.open);
        for (n, word) in [
            (totals.unacknowledged, "not acknowledged"),
            (totals.shelved, "shelved"),
            (list.dropped, "left out"),
        ] {
            if n > 0 {
                title += &format!("  {n} {word}");
            }
        }
    }
    heading(buf, area, &title, theme.strong, theme.faint);
    if let Some(doubt) = doubt(model) {
        put_right(buf, area.right(), area.y, area.width / 2 + 8, &format!(" {doubt}"), theme.caution);
    }
    let detail = if area.height >= DETAIL_LINES { DETAIL } else { 0 };
    let list = below(Rect { height: area.height.saturating_sub(detail), ..area }, 1);
    let alarms = state.listed();
    if alarms.is_empty() {
        let text = match (&state.list.value, &state.list.fault) {
            (Some(_), _) => "none",
            (None, Some(_)) => "",
            (None, None) => "not received yet",
        };
        put(buf, list.x, list.y, list.width, text, theme.faint);
        return;
    }
    let columns: &[Column] = match area.width {
        110.. => &WIDE,
        60.. => &MIDDLE,
        _ => &NARROW,
    };
    let cursor = state.cursor_index();
    let first = window(cursor, alarms.len(), usize::from(list.height));
    for ((index, alarm), y) in alarms.iter().enumerate().skip(first).zip(list.y..list.bottom()) {
        let area = Rect { y, height: 1, ..list };
        let mut cells = cells(model, theme, alarm, columns.len());
        if index == cursor {
            buf.set_style(area, theme.selected);
            for (_, style) in &mut cells {
                *style = Style { bg: theme.selected.bg, ..*style };
            }
        }
        line(buf, area, columns, &cells);
    }
    if let Some(alarm) = state.selected().filter(|_| detail > 0) {
        selected(model, theme, alarm, Rect { y: list.bottom(), height: detail, ..area }, buf);
    }
}

/// Why the list may not be true now.
fn doubt(model: &Model) -> Option<String> {
    let list = &model.screens.alarms.list;
    if let Some((since, why)) = &list.fault {
        return Some(format!("▲ for {}: {why}", format::age(model.now.since(*since))));
    }
    if let Some(since) = model.network.all_down_since.filter(|_| !model.network.is_connected()) {
        return Some(format!("▲ as of {} ago", format::age(model.now.since(since))));
    }
    let why = list.value.as_ref()?.unshared.as_ref()?;
    Some(format!("▲ not shared: {}", format::printable(why)))
}

/// Sign and style: by severity while it is open, quiet once it is cleared or shelved.
fn mark(alarm: &AlarmDocument, theme: &Theme) -> (&'static str, Style) {
    match alarm.severity {
        _ if alarm.state == AlarmState::Cleared || alarm.shelved.is_some() => ("○", theme.dim),
        severity if severity >= URGENT => ("■", theme.alarm),
        _ => ("▲", theme.caution),
    }
}

fn state(alarm: &AlarmDocument) -> &'static str {
    match alarm.state {
        _ if alarm.shelved.is_some() => "shelved",
        AlarmState::Raised if alarm.latched => "over, latched",
        AlarmState::Raised => "not acked",
        AlarmState::Acknowledged => "✓ acked",
        AlarmState::Cleared => "cleared",
    }
}

fn cells(model: &Model, theme: &Theme, alarm: &AlarmDocument, columns: usize) -> Vec<Cell> {
    let (sign, style) = mark(alarm, theme);
    let age = format::age(model.now.since_wall(alarm.raised_ns));
    let (name, text) = (format::printable(&alarm.name), format::printable(&alarm.text));
    let about = alarm.topic.as_deref().map(format::printable).unwrap_or_default();
    match columns {
        6 => vec![
            (format!("{sign} {}", alarm.severity.name()), style),
            (state(alarm).to_owned(), style),
            (name, theme.screen),
            (format!("{text}  {about}"), theme.screen),
            (age, theme.dim),
            (who(alarm), theme.dim),
        ],
        5 => vec![
            (sign.to_owned(), style),
            (name, style),
            (text, theme.screen),
            (age, theme.dim),
            (state(alarm).to_owned(), style),
        ],
        _ => vec![(sign.to_owned(), style), (format!("{name} {text}"), style), (age, theme.dim)],
    }
}

/// Who acknowledged or shelved it.
fn who(alarm: &AlarmDocument) -> String {
    let name = |by: &str, client: Option<&str>| format::printable(client.unwrap_or(by));
    match (&alarm.shelved, &alarm.acknowledgement) {
        (Some(shelf), _) => name(&shelf.by, shelf.client.as_deref()),
        (None, Some(acknowledged)) => name(&acknowledged.by, acknowledged.client.as_deref()),
        _ => String::new(),
    }
}

fn selected(model: &Model, theme: &Theme, alarm: &AlarmDocument, area: Rect, buf: &mut Buffer) {
    heading(buf, area, &format::printable(&alarm.id), theme.strong, theme.faint);
    let quality = match alarm.quality {
        AlarmQuality::Good | AlarmQuality::Remote => "",
        AlarmQuality::Invalid => ", its value is invalid now",
        AlarmQuality::Stale => ", its value is stale",
    };
    let mut lines = vec![
        format!("{}: {}{quality}", format::printable(&alarm.name), format::printable(&alarm.text)),
        format!(
            "{} since {} UTC, worst {}, {} times in this occurrence",
            alarm.severity.name(),
            format::date(alarm.raised_ns),
            alarm.worst.name(),
            alarm.triggers
        ),
    ];
    if let Some(shelf) = &alarm.shelved {
        let left = format::age(std::time::Duration::from_secs_f64(shelf.remaining_s.clamp(0.0, 1e9)));
        lines.push(format!(
            "shelved by {} for another {left}: {}",
            who(alarm),
            format::printable(&shelf.reason)
        ));
    } else if let Some(acknowledged) = &alarm.acknowledgement {
        let ago = format::age(model.now.since_wall(acknowledged.at_ns));
        let comment = format::printable(&acknowledged.comment);
        lines.push(format!("acknowledged by {} {ago} ago  {comment}", who(alarm)));
    }
    if alarm.trace_id.is_some() {
        lines.push("o shows the trace of the sample that raised it".to_owned());
    }
    for (text, y) in lines.iter().zip(area.y + 1..area.bottom()) {
        put(buf, area.x, y, area.width, text, theme.screen);
    }
}
