//! The overview screen.

use crate::model::quality::Quality;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::{Block, BorderType, Widget};

use crate::format;
use crate::model::Model;
use crate::overview_rows::{self, AlarmLevel, Group, Row};
use crate::theme::{Theme, quality_glyph};
use crate::view::{endpoints, topics};
use crate::widget::{below, group, put, put_right};

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let tall = area.height >= 40;
    let height = if tall { 5 } else { 3 };
    stop(model, theme, Rect { height, ..area }, buf);
    let rest = below(area, height + u16::from(tall));
    match area.width {
        118.. => wide(model, theme, rest, buf),
        78.. => two_columns(model, theme, rest, buf),
        _ => one_column(model, theme, rest, buf),
    }
}

/// The stop in large: a filled area when engaged, a quiet frame otherwise.
fn stop(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let safety = overview_rows::safety(model);
    let Some(row) = safety.rows.first() else { return };
    let engaged = row.tone == AlarmLevel::Alarm;
    // The last received state may no longer be true.
    let old = matches!(row.quality, Quality::Stale | Quality::Invalid);
    let (text, style) = match (row.quality, engaged) {
        (Quality::Never, _) => ("? Emergency stop: state never received", theme.dim),
        (_, true) if old => ("■ EMERGENCY STOP ENGAGED when last heard", theme.alarm_fill),
        (_, true) => ("■ EMERGENCY STOP ENGAGED", theme.alarm_fill),
        (_, false) if old => ("? Emergency stop was released when last heard", theme.stale),
        (_, false) => ("○ Emergency stop released", theme.screen),
    };
    let border = if engaged { theme.alarm_fill } else { theme.faint };
    if engaged {
        buf.set_style(area, theme.alarm_fill);
    }
    let kind = if engaged { BorderType::Thick } else { BorderType::Rounded };
    Block::bordered().border_type(kind).border_style(border).render(area, buf);
    let y = area.y + area.height / 2;
    let mut x = put(buf, area.x + 2, y, area.width - 4, text, style);
    if engaged {
        let since = model.rover.stop_since.map_or_else(String::new, |at| format::age(model.now.since(at)));
        x = put(buf, x + 2, y, area.width, &format!("for {since}   R releases"), style);
    }
    let quality = format!("{} {} {:>6}", quality_glyph(row.quality), row.quality.word(), age(row));
    let quality_style = if engaged { style } else { theme.quality(row.quality) };
    put_right(buf, area.right() - 2, y, area.right().saturating_sub(x + 3), &quality, quality_style);
}

fn age(row: &Row) -> String {
    row.age.map_or_else(|| "–".to_owned(), format::age)
}

fn boundary(model: &Model) -> Group {
    let mut safety = overview_rows::safety(model);
    safety.rows.remove(0);
    safety
}

/// Groups below each other, separated by blank lines while there is room.
fn column(buf: &mut Buffer, area: Rect, groups: &[Group], theme: &Theme) -> u16 {
    let needed: usize = groups.iter().map(|g| g.rows.len() + 1).sum();
    let roomy = needed + groups.len() <= usize::from(area.height) + 1;
    let mut used = 0;
    for g in groups {
        used += group(buf, below(area, used), g, theme);
        used += u16::from(roomy);
    }
    used
}

/// Diagnostics are sentences: they get the full width and the remaining lines.
fn two_columns(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(area);
    let mut motion = overview_rows::motion(model);
    motion.rows.extend(boundary(model).rows);
    let columns = Rect { height: area.height.saturating_sub(4), ..area };
    let within = |side: Rect| Rect { height: columns.height, ..side };
    let a = column(buf, within(left), &[motion, overview_rows::power(model)], theme);
    let b = column(
        buf,
        within(right),
        &[overview_rows::mission(model), overview_rows::temperatures(model)],
        theme,
    );
    let rest = below(area, a.max(b).min(columns.height));
    column(buf, rest, &[overview_rows::diagnostics(model, usize::from(rest.height))], theme);
}

/// Spare lines show the topics as well.
fn wide(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let spacing = if area.width < 140 { 2 } else { 3 };
    let [a, b, c] = Layout::horizontal([Constraint::Fill(1); 3]).spacing(spacing).areas(area);
    let used_a =
        column(buf, a, &[overview_rows::motion(model), overview_rows::power(model), boundary(model)], theme);
    let used_b = column(buf, b, &[overview_rows::mission(model), overview_rows::temperatures(model)], theme);
    let used = endpoints::summary(model, theme, c, buf) + 1;
    let used_c = used + column(buf, below(c, used), &[overview_rows::diagnostics(model, 12)], theme);
    let rest = below(area, used_a.max(used_b).max(used_c));
    if rest.height >= 6 {
        topics::list(model, theme, rest, buf);
    }
}

/// The essential values for small terminals.
fn one_column(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let hottest = |group: Group| {
        let worst = group.rows.into_iter().max_by_key(|row| row.tone)?;
        Some(Row { label: format::fit(&worst.label, 10), ..worst })
    };
    let mut rows = Vec::new();
    rows.extend(boundary(model).rows);
    let motion = overview_rows::motion(model).rows;
    rows.extend(motion.into_iter().filter(|row| !row.label.starts_with("Turn") && row.label != "Altitude"));
    rows.extend(overview_rows::power(model).rows.into_iter().take(2));
    let mission = overview_rows::mission(model).rows;
    rows.extend(mission.into_iter().filter(|row| row.label != "LED" && row.label != "Autonomy"));
    rows.extend(hottest(overview_rows::temperatures(model)));
    rows.extend(overview_rows::diagnostics(model, 2).rows);
    rows.truncate(usize::from(area.height.saturating_sub(1)));
    group(buf, area, &Group { title: "ROVER", rows }, theme);
}
