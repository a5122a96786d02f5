//! The list, a line for each check, and the verdict above it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::format;
use crate::model::Model;
use crate::preflight::{Check, Evaluation, Verdict, evaluate};
use crate::screen::preflight::update::cursor;
use crate::theme::Theme;
use crate::widget::{Align, Cell, Column, below, heading, line, window};

const fn left(width: u16) -> Column {
    Column { title: "", width, align: Align::Left }
}

/// From this width on, who has confirmed has a column of its own.
const WIDE: u16 = 110;

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if model.is_past {
        return heading(buf, area, "PREFLIGHT is of now: Esc", theme.dim, theme.faint);
    }
    let evaluation = evaluate(model);
    let verdict = evaluation.verdict();
    let style = if verdict == Verdict::Go { theme.strong } else { style(theme, verdict) };
    heading(buf, area, &title(&evaluation), style, theme.faint);
    let body = below(area, 1);
    let checks = &evaluation.checks;
    let at = checks.iter().position(|check| check.id == cursor(model)).unwrap_or(0);
    let first = window(at, checks.len(), usize::from(body.height));
    let columns = match area.width {
        WIDE.. => vec![left(7), left(11), left(0), left(40)],
        _ => vec![left(7), left(10), left(0)],
    };
    for ((n, check), y) in checks.iter().enumerate().skip(first).zip(body.y..body.bottom()) {
        let row = Rect { y, height: 1, ..body };
        let mut cells = cells(model, theme, check, area.width);
        if n == at {
            buf.set_style(row, theme.selected);
            for (_, style) in &mut cells {
                *style = if *style == theme.screen || *style == theme.dim {
                    theme.selected
                } else {
                    Style { bg: theme.selected.bg, ..*style }
                };
            }
        }
        line(buf, row, &columns, &cells);
    }
}

/// The verdict in words.
pub fn title(evaluation: &Evaluation) -> String {
    let verdict = evaluation.verdict();
    let (bad, open) = (evaluation.count(Verdict::NoGo), evaluation.count(Verdict::Caution));
    let glyph = verdict.glyph();
    match verdict {
        Verdict::Go => format!("PREFLIGHT {glyph} GO"),
        Verdict::Caution => format!("PREFLIGHT {glyph} GO, {open} to look at"),
        Verdict::NoGo => format!("PREFLIGHT {glyph} NO-GO: {bad}, {open} to look at"),
    }
}

fn style(theme: &Theme, verdict: Verdict) -> Style {
    match verdict {
        Verdict::Go => theme.screen,
        Verdict::Caution => theme.caution,
        Verdict::NoGo => theme.alarm,
    }
}

fn cells(model: &Model, theme: &Theme, check: &Check, width: u16) -> Vec<Cell> {
    let confirmed = check.confirmed.as_ref().map_or_else(String::new, |confirmation| {
        let ago = format::age(model.now.since_wall(confirmation.at_ns));
        format!("confirmed by {} {ago} ago", format::printable(&confirmation.by))
    });
    let verdict = format!("{} {}", check.verdict.glyph(), check.verdict.word());
    let text = match width {
        WIDE.. => check.text.clone(),
        _ if confirmed.is_empty() => check.text.clone(),
        _ => format!("{}  ({confirmed})", check.text),
    };
    vec![
        (verdict, style(theme, check.verdict)),
        (check.name.to_owned(), theme.dim),
        (text, theme.screen),
        (confirmed, theme.dim),
    ]
}
