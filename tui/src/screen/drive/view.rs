//! The rover at a glance: motion and power with trends, the track, the mission, who drives, and what happened last.

mod driving;
mod values;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::format;
use crate::model::Model;
use crate::overview_rows::{self, Group, Row};
use crate::screen::drive::view::values::{control, pinned, power};
pub use crate::screen::drive::view::values::{course, motion, position_of};
use crate::screen::{links, topics};
use crate::theme::Theme;
use crate::widget::{Plan, Sign, arrow, below, fitted, group, heading, plan, put, put_right};

/// Lines of the last events.
const EVENTS: u16 = 4;
/// Smallest scale of the track, metres for each column.
const LEAST_SCALE: f64 = 0.25;

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if let Some(mode) = &model.screens.drive.driving {
        return driving::draw(model, mode, theme, area, buf);
    }
    match area.width {
        118.. => wide(model, theme, area, buf),
        76.. if area.height >= 16 => two_columns(model, theme, area, buf),
        _ => one_column(model, theme, area, buf),
    }
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

fn two_columns(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas(area);
    let events = EVENTS.min(area.height / 6);
    let columns = Rect { height: area.height - events, ..area };
    let within = |side: Rect| Rect { height: columns.height, ..side };
    let groups: Vec<Group> = [motion(model), power(model)]
        .into_iter()
        .chain(pinned(model))
        .chain([overview_rows::diagnostics(model, 3)])
        .collect();
    column(buf, within(left), &groups, theme);
    let groups = [overview_rows::mission(model), control(model)];
    let needed: u16 = groups.iter().map(|group| group.rows.len() as u16 + 1).sum();
    let map = Rect { height: columns.height.saturating_sub(needed), ..right };
    track(model, theme, map, buf);
    column(buf, below(within(right), map.height), &groups, theme);
    happened(model, theme, below(area, columns.height), buf);
}

/// Spare lines show the topics as well.
fn wide(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let spacing = if area.width < 140 { 2 } else { 3 };
    let [a, b, c] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(4), Constraint::Fill(3)])
        .spacing(spacing)
        .areas(area);
    let used_a = column(buf, a, &[motion(model), power(model), overview_rows::temperatures(model)], theme);
    let used_c = links::summary(model, theme, c, buf) + 1;
    let rest = [control(model), overview_rows::mission(model), overview_rows::diagnostics(model, 6)];
    let used_c = used_c + column(buf, below(c, used_c), &rest, theme);
    let used = used_a.max(used_c).min(area.height.saturating_sub(EVENTS + 1));
    track(model, theme, Rect { height: used.saturating_sub(1), ..b }, buf);
    let rest = below(area, used);
    let events = if rest.height >= 14 { rest.height / 2 } else { rest.height };
    happened(model, theme, Rect { height: events, ..rest }, buf);
    let rest = below(rest, events);
    if rest.height < 6 {
        return;
    }
    match model.screens.topics.pins.is_empty() {
        true => topics::list(model, theme, rest, buf),
        false => pins(model, theme, rest, buf),
    }
}

/// The pinned fields beside each other.
fn pins(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let pins = &model.screens.topics.pins;
    let areas = Layout::horizontal(pins.iter().map(|_| Constraint::Fill(1))).spacing(2).split(area);
    for (series, area) in pins.iter().zip(areas.iter()) {
        topics::draw_series(model, theme, series, *area, buf);
    }
}

/// The essential values for small terminals.
fn one_column(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let hottest = |group: Group| {
        let worst = group.rows.into_iter().max_by_key(|row| row.tone)?;
        Some(Row { label: format::fit(&worst.label, 10), ..worst })
    };
    let mut rows = Vec::new();
    let mut motion = motion(model).rows;
    for label in ["Speed", "Latitude", "Longitude", "Heading"] {
        let at = motion.iter().position(|row| row.label == label);
        rows.extend(at.map(|at| motion.remove(at)));
    }
    rows.extend(overview_rows::power(model).rows.into_iter().take(2));
    rows.extend(pinned(model).into_iter().flat_map(|group| group.rows));
    rows.extend(control(model).rows);
    rows.extend(motion.into_iter().filter(|row| !row.label.starts_with("Turn") && row.label != "Altitude"));
    let mission = overview_rows::mission(model).rows;
    rows.extend(mission.into_iter().filter(|row| row.label != "LED" && row.label != "Autonomy"));
    rows.extend(hottest(overview_rows::temperatures(model)));
    rows.extend(overview_rows::diagnostics(model, 2).rows);
    rows.truncate(usize::from(area.height.saturating_sub(1)));
    group(buf, area, &Group { title: "ROVER", rows }, theme);
}

/// Where the rover was, is, and goes: north up.
fn track(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if area.height < 3 {
        return;
    }
    let state = &model.screens.drive;
    let odometry = model.rover.odometry.as_ref().map(|reading| reading.value);
    let here = odometry.map(|odometry| (odometry.x, odometry.y));
    let goals: Vec<(f64, f64)> =
        state.way_points().iter().filter_map(|goal| position_of(model, *goal)).collect();
    let body = below(area, 1);
    let start = (0.0, 0.0);
    let places = state.track.iter().copied().chain(here).chain(goals.iter().copied()).chain([start]);
    let (center, scale) = fitted(places, body, LEAST_SCALE);
    let title = format!("TRACK, north up, 1 column = {}", format::number(scale, 1, " m"));
    heading(buf, area, &title, theme.strong, theme.faint);
    let Some(here) = here else {
        put(buf, body.x, body.y, body.width, "no position received", theme.faint);
        return;
    };
    let sign = |at, text: String, style| Sign { at, text, style };
    let mut signs = vec![sign(start, "⌂".to_owned(), theme.dim)];
    let numbered = goals.iter().enumerate().rev();
    signs.extend(numbered.map(|(n, goal)| {
        let (text, style) =
            if n == 0 { ("⚑".to_owned(), theme.accent) } else { ((n + 1).to_string(), theme.dim) };
        sign(*goal, text, style)
    }));
    let rover = course(model).map_or("●", arrow);
    signs.push(sign(here, rover.to_owned(), theme.strong));
    let (dots, outline): (&[(f64, f64)], _) = (&[], fence(model));
    let track = &state.track;
    let (dots, outline) = ((dots, theme.dim), (outline, theme.faint));
    plan(buf, body, &Plan { track, style: theme.dim, dots, outline, signs, center, scale });
}

/// The corners of the boundary, if they were received.
pub fn fence(model: &Model) -> &[(f64, f64)] {
    model.rover.fence.as_ref().map_or(&[], |reading| &reading.value)
}

/// The last entries of the log.
fn happened(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if area.height < 2 {
        return;
    }
    heading(buf, area, "LAST", theme.strong, theme.faint);
    let entries = model.screens.log.entries().rev();
    let shown: Vec<_> = entries.take(usize::from(area.height - 1)).collect();
    if shown.is_empty() {
        put(buf, area.x, area.y + 1, area.width, "nothing yet", theme.faint);
    }
    for (entry, y) in shown.iter().zip(area.y + 1..area.bottom()) {
        put(buf, area.x, y, 8, &format::clock(entry.at_ns), theme.dim);
        let text = format!("{}  {}  {}", entry.kind, entry.by, entry.text);
        put(buf, area.x + 10, y, area.width.saturating_sub(10), &text, theme.screen);
    }
    put_right(
        buf,
        area.right(),
        area.y,
        14,
        &format!(" {} UTC", format::clock(model.now.wall_ns)),
        theme.faint,
    );
}
