//! Plots of fields: with a cursor below the fields, and plain ones for other screens.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use roverline_protocol::alarms::rule::AlarmRule;

use crate::format;
use crate::model::Model;
use crate::model::quality::Quality;
use crate::screen::alarms::model::URGENT;
use crate::screen::topics::alarm_settings::limits_text;
use crate::screen::topics::plot::{CURSOR_STEPS, Plot, bounds};
use crate::screen::topics::series::{SPAN, Series};
use crate::theme::Theme;
use crate::widget::{Chart, below, chart, chart_columns, heading, put, put_right, short_number, trend};

/// Columns of a trend.
const TREND_COLUMNS: usize = 14;
/// The time of a trend.
const TREND_SPAN: Duration = Duration::from_secs(60);

/// The plot of the field under the cursor: heading, curve, time. In few lines it is a trend.
pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let plot = &model.screens.topics.plot;
    let Some(series) = &plot.series else {
        heading(buf, area, "PLOT: no number was under the cursor yet", theme.dim, theme.faint);
        return;
    };
    heading(buf, area, &format!("PLOT {}", series.field), theme.strong, theme.faint);
    let limits = model.screens.topics.limits_of(&series.topic, &series.field);
    let limits_shown = limits.as_ref().map(|rule| format!("limits {}  ", limits_text(rule)));
    let text = format!(" {}{}", limits_shown.unwrap_or_default(), state(plot));
    put_right(buf, area.right(), area.y, area.width * 2 / 3, &text, theme.dim);
    let now = model.now.mono;
    let end = plot.end(now);
    let start = end.saturating_sub(plot.span());
    let body = Rect { height: area.height.saturating_sub(2), ..below(area, 1) };
    let parts = series.columns(start, end, usize::from(chart_columns(body)) * 2);
    let cursor = plot.cursor.map(|before| 1.0 - f64::from(before) / f64::from(CURSOR_STEPS));
    let marks: Vec<(f64, Style)> = limits.iter().flat_map(|rule| marks(rule, theme)).collect();
    let curve = Chart {
        parts: &parts,
        bounds: plot.bounds(&parts),
        marks: &marks,
        cursor,
        style: theme.accent,
        scale: theme.dim,
        cursor_style: theme.strong,
    };
    chart(buf, body, &curve);
    let last = Rect { y: area.bottom().saturating_sub(1), height: 1, ..area };
    if area.height > 1 {
        below_it(model, theme, series, last, buf);
    }
}

/// The limits as lines.
fn marks(rule: &AlarmRule, theme: &Theme) -> Vec<(f64, Style)> {
    let style = |severity| if severity >= URGENT { theme.alarm } else { theme.caution };
    rule.above.iter().chain(&rule.below).map(|(severity, at)| (*at, style(*severity))).collect()
}

/// What has been chosen for the plot.
fn state(plot: &Plot) -> String {
    let mut words = Vec::new();
    if plot.fixed.is_some() {
        words.push("fixed scale".to_owned());
    }
    if plot.paused.is_some() {
        words.push("‖ paused".to_owned());
    }
    words.push(format::age(plot.span()));
    words.join("  ")
}

/// The value under the cursor, the newest one, and what is wrong with it.
fn below_it(model: &Model, theme: &Theme, series: &Series, area: Rect, buf: &mut Buffer) {
    let plot = &model.screens.topics.plot;
    let now = model.now.mono;
    let mut x = area.x;
    let mut add =
        |text: &str, style| x = put(buf, x, area.y, area.right().saturating_sub(x), text, style) + 2;
    if let Some(time) = plot.cursor_time(now) {
        let point = series.point_at(time);
        let value = point.map_or_else(|| "–".to_owned(), |point| short_number(point.last));
        let clock = format::clock(model.now.wall_at(time));
        add(&format!("┆ {clock} {value}"), theme.strong);
    }
    let newest = series.newest().map_or_else(|| "–".to_owned(), |point| short_number(point.last));
    let quality = model.topics.rows.get(&series.topic).map(|row| row.quality(model.now));
    let style = if quality == Some(Quality::Fresh) { theme.screen } else { theme.stale };
    match series.fault {
        Some(fault) => add(&format!("✗ {fault}"), theme.invalid),
        None if series.newest().is_none() => add("no value yet", theme.faint),
        None => add(&format!("newest {newest}"), style),
    }
}

/// A series of the last ten minutes without a cursor: name and value in the heading.
pub fn draw_series(model: &Model, theme: &Theme, series: &Series, area: Rect, buf: &mut Buffer) {
    let name = format::printable(&format!("{} {}", series.topic, series.field));
    let value = value_of(series);
    heading(buf, area, &name, theme.strong, theme.faint);
    let quality = model.topics.rows.get(&series.topic).map(|row| row.quality(model.now));
    let style = if quality == Some(Quality::Fresh) { theme.strong } else { theme.stale };
    put_right(buf, area.right(), area.y, area.width / 2, &format!(" {value}"), style);
    let body = below(area, 1);
    let now = model.now.mono;
    let parts = series.columns(now.saturating_sub(SPAN), now, usize::from(chart_columns(body)) * 2);
    let (style, scale, cursor_style) = (theme.accent, theme.dim, theme.strong);
    let curve =
        Chart { parts: &parts, bounds: bounds(&parts), marks: &[], cursor: None, style, scale, cursor_style };
    chart(buf, body, &curve);
}

/// The newest value, or why there is none.
pub(super) fn value_of(series: &Series) -> String {
    match series.fault {
        Some(fault) => format!("✗ {fault}"),
        None => series.newest().map_or_else(|| "–".to_owned(), |point| short_number(point.last)),
    }
}

/// The last minute in one line.
pub fn trend_of(model: &Model, series: &Series) -> String {
    let now = model.now.mono;
    let parts = series.columns(now.saturating_sub(TREND_SPAN), now, TREND_COLUMNS);
    let values: Vec<Option<f64>> = parts.iter().map(|part| part.map(|(_, high)| high)).collect();
    trend(&values, TREND_COLUMNS, 1e-9)
}
