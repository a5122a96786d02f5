//! Line 2: the stop, then what is worst. What does not fit is counted; trouble with the links that does not fit takes
//! another line where there is room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use crate::model::Model;
use crate::theme::Theme;
use crate::view::messages::{self, Line, fitting};
use crate::widget::{put, put_right};

/// Columns between two messages.
const GAP: u16 = 3;
/// Columns of the count of what does not fit.
const COUNT: u16 = 4;
/// From this height on, there may be a second line of messages.
const ROOMY_LINES: u16 = 12;

/// Draws the messages; returns how many lines they take, one or two.
pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) -> u16 {
    if let Some(past) = messages::past(model, theme) {
        // The stop is now, whatever else is shown.
        let lines: Vec<Line> = messages::stop(model, theme).into_iter().chain([past]).collect();
        let first = Rect { height: 1, ..area };
        put_line(&lines, shown(&lines, first), first, theme, buf);
        return 1;
    }
    let links = messages::links(model, theme).into_iter().chain(messages::redundancy(model, theme));
    let links: Vec<Line> = links.collect();
    let mut lines: Vec<Line> = messages::stop(model, theme).into_iter().collect();
    lines.extend(links.iter().take(1).cloned());
    lines.extend(messages::request(model, theme));
    lines.extend(messages::alarms(model, theme));
    lines.extend(messages::notification(model, theme));
    lines.extend(links.into_iter().skip(1));
    if let Some(quiet) = messages::quiet_stop(model, theme) {
        let (own, next) = (longest(&quiet), lines.first().map(longest));
        if next.is_none_or(|next| own + GAP + next + COUNT + 2 <= area.width) {
            lines.insert(0, quiet);
        }
    }
    let first = Rect { height: 1, ..area };
    let fit = shown(&lines, first);
    let has_trouble = |line: &Line| messages::links(model, theme).as_ref() == Some(line);
    if fit == lines.len() || area.height < ROOMY_LINES || !lines.iter().skip(fit).any(has_trouble) {
        put_line(&lines, fit, first, theme, buf);
        return 1;
    }
    let (above, below) = lines.split_at(fit);
    put_line(above, fit, first, theme, buf);
    let second = Rect { y: area.y + 1, ..first };
    put_line(below, shown(below, second), second, theme, buf);
    2
}

/// How many of the lines fit beside each other; at least the first one.
fn shown(lines: &[Line], area: Rect) -> usize {
    let mut left = area.width.saturating_sub(2);
    for (n, (wordings, _)) in lines.iter().enumerate() {
        let count = if n + 1 < lines.len() { COUNT } else { 0 };
        let room = left.saturating_sub(count);
        let needed = fitting(wordings, room).width() as u16;
        if n > 0 && needed > room {
            return n;
        }
        left = left.saturating_sub(needed + GAP);
    }
    lines.len()
}

fn put_line(lines: &[Line], shown: usize, area: Rect, theme: &Theme, buf: &mut Buffer) {
    let end = area.right().saturating_sub(1);
    if let Some((_, style)) = lines.first() {
        buf.set_style(area, *style);
    }
    let mut x = area.x + 1;
    for (n, (wordings, style)) in lines.iter().enumerate().take(shown) {
        let count = if n + 1 < lines.len() { COUNT } else { 0 };
        let room = end.saturating_sub(x + count);
        x = put(buf, x, area.y, room, fitting(wordings, room), *style) + GAP;
    }
    if shown < lines.len() {
        put_right(buf, end, area.y, COUNT, &format!("+{}", lines.len() - shown), theme.strong);
    }
}

fn longest((wordings, _): &Line) -> u16 {
    wordings.first().map_or(0, |text| text.width() as u16)
}
