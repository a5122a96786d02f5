//! A chart of one curve in dots, with its scale at the left and its time below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line};

use crate::format;
use crate::widget::put_right;

/// Columns of the scale.
const SCALE_COLUMNS: u16 = 9;

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// Lowest and highest value of each part of the time; `None` is a gap. Two for each column look best.
    pub parts: &'a [Option<(f64, f64)>],
    /// The values at the bottom and at the top.
    pub bounds: (f64, f64),
    /// Values that are marked by a line across, with their styles.
    pub marks: &'a [(f64, Style)],
    /// Where the cursor is, from 0 (oldest) to 1 (newest).
    pub cursor: Option<f64>,
    /// Style of the curve.
    pub style: Style,
    /// Style of the scale.
    pub scale: Style,
    /// Style of the cursor.
    pub cursor_style: Style,
}

/// The columns of a chart that the curve has.
pub fn chart_columns(area: Rect) -> u16 {
    area.width.saturating_sub(SCALE_COLUMNS + 1)
}

/// Draws it.
pub fn chart(buf: &mut Buffer, area: Rect, chart: &Chart<'_>) {
    let width = chart_columns(area);
    if area.height == 0 || width == 0 || chart.parts.is_empty() {
        return;
    }
    let (low, high) = chart.bounds;
    let label_end = area.x + SCALE_COLUMNS;
    put_right(buf, label_end, area.y, SCALE_COLUMNS, &short_number(high), chart.scale);
    if area.height > 1 {
        put_right(buf, label_end, area.bottom() - 1, SCALE_COLUMNS, &short_number(low), chart.scale);
    }
    let body = Rect { x: label_end + 1, width, ..area };
    let height = |value: f64| {
        let part = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        if part.is_finite() { part } else { 0.5 }
    };
    let color = chart.style.fg.unwrap_or(Color::Reset);
    let count = chart.parts.len() as f64;
    Canvas::default()
        .marker(Marker::Braille)
        .x_bounds([0.0, count])
        .y_bounds([0.0, 1.0])
        .paint(|context| {
            for (value, style) in chart.marks {
                let y = height(*value);
                if (0.0..=1.0).contains(&y) {
                    let color = style.fg.unwrap_or(Color::Reset);
                    context.draw(&Line { x1: 0.0, y1: y, x2: count, y2: y, color });
                }
            }
            let mut before: Option<(f64, f64)> = None;
            for (n, part) in chart.parts.iter().enumerate() {
                let x = n as f64 + 0.5;
                let here = part.map(|(low, high)| (height(low), height(high)));
                if let Some((bottom, top)) = here {
                    // A step from the part before is joined to it.
                    let (bottom, top) =
                        before.map_or((bottom, top), |(low, high)| (bottom.min(high), top.max(low)));
                    let (bottom, top) = (bottom.clamp(0.0, 1.0), top.clamp(0.0, 1.0));
                    context.draw(&Line { x1: x, y1: bottom, x2: x, y2: top, color });
                }
                before = here;
            }
        })
        .render(body, buf);
    if let Some(cursor) = chart.cursor {
        let column = (cursor.clamp(0.0, 1.0) * f64::from(width.saturating_sub(1))).round() as u16;
        for y in body.y..body.bottom() {
            if let Some(cell) = buf.cell_mut((body.x + column, y)) {
                if cell.symbol() == " " || cell.symbol() == "\u{2800}" {
                    cell.set_symbol("┆");
                }
                cell.set_style(chart.cursor_style);
            }
        }
    }
}

/// A number in at most nine columns.
pub fn short_number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.2e}"),
        size if size >= 1_000.0 => format::number(value, 0, ""),
        size if size >= 10.0 => format::number(value, 1, ""),
        _ => format::number(value, 3, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(parts: &[Option<(f64, f64)>], bounds: (f64, f64)) -> String {
        let mut buf = Buffer::empty(Rect::new(0, 0, 30, 4));
        let style = Style::new();
        let (cursor, scale, cursor_style) = (Some(1.0), style, style);
        let marks: &[(f64, Style)] = &[(f64::MAX, style), (f64::NAN, style)];
        let chart_of = Chart { parts, bounds, marks, cursor, style, scale, cursor_style };
        chart(&mut buf, Rect::new(0, 0, 20, 3), &chart_of);
        assert!((20..30).all(|x| (0..4).all(|y| buf[(x, y)].symbol() == " ")), "drawn outside");
        (0..3).map(|y| (0..20).map(|x| buf[(x, y)].symbol().to_owned()).collect::<String>() + "\n").collect()
    }

    #[test]
    fn a_rising_curve_a_gap_and_the_cursor() {
        let parts: Vec<_> = (0..20).map(|n| (n != 9).then_some((f64::from(n), f64::from(n)))).collect();
        let text = drawn(&parts, (0.0, 19.0));
        assert!(text.starts_with("     19.0"), "{text}");
        assert!(text.contains('┆'), "{text}");
        assert!(text.lines().last().unwrap().starts_with("        0"), "{text}");
    }

    #[test]
    fn the_largest_numbers_and_none_are_drawn_within() {
        drawn(&[Some((f64::MIN, f64::MAX)), None, Some((f64::MAX, f64::MAX))], (f64::MIN, f64::MAX));
        drawn(&[Some((1.0, 1.0))], (1.0, 1.0));
        drawn(&[], (0.0, 1.0));
        assert_eq!(short_number(-1.5e-7), "-1.50e-7");
        assert!(short_number(f64::MIN).len() <= usize::from(SCALE_COLUMNS));
    }
}
