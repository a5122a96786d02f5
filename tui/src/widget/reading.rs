//! A group of values: label, value, quality and age.

use crate::model::quality::Quality;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::format;
use crate::overview_rows::{AlarmLevel, Group, Row};
use crate::theme::{Theme, quality_glyph};
use crate::widget::{heading, put, put_right};

/// Widest label; less if all labels of the group are shorter.
const LABEL_MAX: u16 = 14;
/// Glyph, word, age: `● fresh   <1s`; a longer one takes columns from the value.
const QUALITY: usize = 13;
const GAUGE_MAX: u16 = 20;

/// Draws heading and rows; returns the lines used.
pub fn group(buf: &mut Buffer, area: Rect, group: &Group, theme: &Theme) -> u16 {
    heading(buf, area, group.title, theme.strong, theme.faint);
    let rows = usize::from(area.height.saturating_sub(1));
    let label = group.rows.iter().map(|row| row.label.width() as u16 + 1).max().unwrap_or(0).min(LABEL_MAX);
    for (row, y) in group.rows.iter().take(rows).zip(area.y + 1..) {
        draw(buf, Rect { y, height: 1, ..area }, row, label, theme);
    }
    (group.rows.len().min(rows) as u16).saturating_add(1).min(area.height)
}

fn draw(buf: &mut Buffer, area: Rect, row: &Row, label: u16, theme: &Theme) {
    put(buf, area.x, area.y, label.saturating_sub(1), &row.label, theme.dim);
    let x = area.x + label;
    let quality = quality_text(row);
    let quality_x = area.right().saturating_sub(quality.width() as u16);
    let width = quality_x.saturating_sub(x).saturating_sub(1);
    let style = value_style(row, theme);
    let text = format!("{}{}", row.tone.mark(), row.value);
    match row.gauge {
        Some(part) if width >= 12 => {
            let gauge_width = (width - 8).min(GAUGE_MAX);
            let end = gauge(buf, x, area.y, gauge_width, part, style, theme.faint);
            put(buf, end + 1, area.y, width.saturating_sub(gauge_width + 1), &text, style);
        }
        _ => {
            let end = put(buf, x, area.y, width, &text, style);
            // A trend of what is not current would look current.
            if let Some(trend) = row.trend.as_ref().filter(|_| quality.is_empty()) {
                put_right(buf, area.right(), area.y, area.right().saturating_sub(end + 1), trend, theme.dim);
            }
        }
    }
    put_right(buf, area.right(), area.y, area.width, &quality, theme.quality(row.quality));
}

/// Stale values are grey in every case, because they are no reason to act now.
fn value_style(row: &Row, theme: &Theme) -> Style {
    match (row.quality, row.tone) {
        (Quality::Never, _) => theme.faint,
        (Quality::Stale | Quality::Invalid, _) => theme.stale,
        (_, AlarmLevel::Normal) => theme.screen,
        (_, AlarmLevel::Caution) => theme.caution,
        (_, AlarmLevel::Alarm) => theme.alarm,
    }
}

/// A fresh value needs no word.
fn quality_text(row: &Row) -> String {
    if row.quality == Quality::Fresh {
        return String::new();
    }
    let word = format!("{} {}", quality_glyph(row.quality), row.quality.word());
    let age = row.age.map_or_else(|| "–".to_owned(), format::age);
    let gap = QUALITY.saturating_sub(word.width() + age.width()).max(1);
    format!("{word}{}{age}", " ".repeat(gap))
}

/// A bar in eighths of a column; returns the next column.
fn gauge(buf: &mut Buffer, x: u16, y: u16, width: u16, part: f64, style: Style, rest: Style) -> u16 {
    const EIGHTHS: [&str; 8] = [" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let filled = (part.clamp(0.0, 1.0) * f64::from(width) * 8.0).round() as usize;
    for (i, x) in (x..x + width).enumerate() {
        let eighths = filled.saturating_sub(i * 8);
        match eighths {
            0 => put(buf, x, y, 1, "·", rest),
            1..8 => put(buf, x, y, 1, EIGHTHS[eighths], style),
            _ => put(buf, x, y, 1, "█", style),
        };
    }
    x + width
}
