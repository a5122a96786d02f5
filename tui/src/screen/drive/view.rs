//! The rover's values in groups.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::format;
use crate::model::Model;
use crate::overview_rows::{self, Group, Row};
use crate::theme::Theme;
use crate::screen::{links, topics};
use crate::widget::{below, group};

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    match area.width {
        118.. => wide(model, theme, area, buf),
        76.. if area.height >= 16 => two_columns(model, theme, area, buf),
        _ => one_column(model, theme, area, buf),
    }
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
    let used = links::summary(model, theme, c, buf) + 1;
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
    let mut motion = overview_rows::motion(model).rows;
    for label in ["Speed", "Latitude", "Longitude", "Heading"] {
        let at = motion.iter().position(|row| row.label == label);
        rows.extend(at.map(|at| motion.remove(at)));
    }
    rows.extend(overview_rows::power(model).rows.into_iter().take(2));
    rows.extend(boundary(model).rows);
    rows.extend(motion.into_iter().filter(|row| !row.label.starts_with("Turn") && row.label != "Altitude"));
    let mission = overview_rows::mission(model).rows;
    rows.extend(mission.into_iter().filter(|row| row.label != "LED" && row.label != "Autonomy"));
    rows.extend(hottest(overview_rows::temperatures(model)));
    rows.extend(overview_rows::diagnostics(model, 2).rows);
    rows.truncate(usize::from(area.height.saturating_sub(1)));
    group(buf, area, &Group { title: "ROVER", rows }, theme);
}
