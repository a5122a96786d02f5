//! The map, and beside it the rover, the next way-point and the start in numbers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::format::{self, number};
use crate::model::Model;
use crate::screen::drive::model::{WayPoint, bearing};
use crate::screen::drive::{course, fence, motion, position_of};
use crate::screen::map::model::{SCAN_OLD, middle, rover};
use crate::theme::Theme;
use crate::widget::{Plan, Sign, arrow, below, group, heading, plan, put};

/// Columns of the numbers.
const SIDE: u16 = 36;
/// From this width on, there are numbers beside the map.
const WIDE: u16 = 76;

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let has_side = area.width >= WIDE;
    let width = if has_side { area.width - SIDE - 2 } else { area.width };
    map(model, theme, Rect { width, ..area }, buf);
    if has_side {
        let side = Rect { x: area.x + width + 2, width: SIDE, ..area };
        let used = group(buf, side, &motion(model), theme);
        let rest = below(side, used + 1);
        let used = way_points(model, theme, rest, buf);
        marks(model, theme, below(rest, used + 1), buf);
    }
}

fn map(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.screens.map;
    let middle = middle(model);
    let follows = if state.center.is_none() { "follows" } else { "f follows" };
    let scale = number(state.scale * 10.0, 1, " m");
    heading(buf, area, &format!("MAP, north up, 10 columns = {scale}, {follows}"), theme.strong, theme.faint);
    let body = below(area, 1);
    let here = rover(model);
    if here.is_none() && state.center.is_none() {
        put(buf, body.x, body.y, body.width, "no position received", theme.faint);
        return;
    }
    let sign = |at, text: &str, style| Sign { at, text: text.to_owned(), style };
    let mut signs = vec![sign((0.0, 0.0), "⌂", theme.dim)];
    let goals = model.screens.drive.way_points();
    for (n, goal) in goals.iter().enumerate().rev() {
        let Some(at) = position_of(model, *goal) else { continue };
        let number = (n + 1).to_string();
        signs.push(sign(
            at,
            if n == 0 { "⚑" } else { &number },
            if n == 0 { theme.accent } else { theme.dim },
        ));
    }
    for mark in state.marks() {
        let Some(at) = position_of(model, mark.at) else { continue };
        let initial: String = format::printable(&mark.name).chars().take(1).collect();
        signs.push(sign(at, &format!("◆{initial}"), theme.accent));
    }
    if let Some(from) = state.measured_from {
        signs.push(sign(from, "×", theme.caution));
    }
    if state.center.is_some() {
        signs.push(sign(middle, "+", theme.accent));
    }
    if let Some(here) = here {
        signs.push(sign(here, course(model).map_or("●", arrow), theme.strong));
    }
    let track = &model.screens.drive.track;
    let scan = state.scan.as_ref().filter(|scan| model.now.since(scan.at) <= SCAN_OLD);
    let dots: (&[(f64, f64)], Style) = (scan.map_or(&[], |scan| &scan.points), theme.caution);
    let is_outside = model.rover.boundary.as_ref().is_some_and(|reading| reading.value);
    let outline = (fence(model), if is_outside { theme.alarm } else { theme.faint });
    let (center, scale) = (middle, state.scale);
    plan(buf, body, &Plan { track, style: theme.dim, dots, outline, signs, center, scale });
    if let Some(from) = state.measured_from.filter(|_| body.height > 1) {
        let (distance, course) = bearing(from, middle);
        let text = format!(" × to the middle: {}, {} ", number(distance, 1, " m"), format::compass(course));
        put(buf, body.x, body.bottom() - 1, body.width, &text, theme.caution);
    }
}

/// A distance and a course from the rover.
fn way(model: &Model, goal: WayPoint) -> String {
    match (rover(model), position_of(model, goal)) {
        (Some(here), Some(at)) => {
            let (distance, course) = bearing(here, at);
            format!("{}  {}", number(distance, 1, " m"), format::compass(course))
        }
        _ => "–".to_owned(),
    }
}

/// The marks with their notes; the notes have lines of their own where there is room.
fn marks(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let marks = model.screens.map.marks();
    if area.height < 2 {
        return;
    }
    heading(buf, area, &format!("MARKS {}", marks.len()), theme.strong, theme.faint);
    if marks.is_empty() {
        put(buf, area.x, area.y + 1, area.width, "none, M marks the middle", theme.faint);
    }
    let has_notes = usize::from(area.height) > marks.len() * 2;
    let mut y = area.y + 1;
    for (n, mark) in marks.iter().enumerate() {
        if y + 1 == area.bottom() && n + 1 < marks.len() {
            put(buf, area.x, y, area.width, &format!("+{}", marks.len() - n), theme.dim);
            return;
        }
        let text = format!("◆ {}  {}", format::fit(&mark.name, 12), way(model, mark.at));
        put(buf, area.x, y, area.width, &text, theme.screen);
        y += 1;
        if has_notes && !mark.note.is_empty() {
            put(buf, area.x + 2, y, area.width.saturating_sub(2), &mark.note, theme.dim);
            y += 1;
        }
    }
}

/// The way-points; returns the lines used.
fn way_points(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) -> u16 {
    let goals = model.screens.drive.way_points();
    heading(buf, area, &format!("WAY-POINTS {}", goals.len()), theme.strong, theme.faint);
    if goals.is_empty() && area.height > 1 {
        put(buf, area.x, area.y + 1, area.width, "none wait in the queue", theme.faint);
    }
    for ((n, goal), y) in goals.iter().enumerate().zip(area.y + 1..area.bottom()) {
        let way = way(model, *goal);
        let sign = if n == 0 { "⚑".to_owned() } else { (n + 1).to_string() };
        put(buf, area.x, y, area.width, &format!("{sign} {way}"), theme.screen);
    }
    (goals.len().max(1) as u16 + 1).min(area.height)
}
