//! The composer: targets, form, and what became of the command.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::composer::form::Field;
use crate::composer::model::{SentCommand, Stage};
use crate::format;
use crate::model::{Model, StopState};
use crate::theme::Theme;
use crate::view::dialog::dialog;
use crate::widget::{below, put};

/// Size of the box.
const SIZE: (u16, u16) = (76, 18);
/// Widest name of a field.
const PATH_COLUMNS: u16 = 26;
/// Lines of a result.
const RESULT_LINES: usize = 6;
/// Characters of a result.
const RESULT_CHARS: usize = 2_000;

type Line = (String, Style);

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.composer;
    let kind = state.target.as_ref().map_or("command", |target| target.kind().word());
    let title = match state.stage {
        Stage::Pick => state.kind.map_or("command", |kind| kind.word()),
        Stage::Fill | Stage::Sent => kind,
    };
    let size = (SIZE.0, SIZE.1.max(area.height * 2 / 3));
    let inner = dialog(theme, title, theme.accent, size, area, buf);
    match state.stage {
        Stage::Pick => pick(model, theme, inner, buf),
        Stage::Fill => fill(model, theme, inner, buf),
        Stage::Sent => {
            let lines = state.sent.as_ref().map(|sent| sent_lines(model, sent, theme)).unwrap_or_default();
            put_lines(&lines, inner, buf);
        }
    }
}

fn put_lines(lines: &[Line], area: Rect, buf: &mut Buffer) {
    for ((text, style), y) in lines.iter().zip(area.y..area.bottom()) {
        put(buf, area.x, y, area.width, text, *style);
    }
}

/// The first line that is shown of a list, so that the cursor is among them.
fn window(cursor: usize, lines: usize) -> usize {
    (cursor + 1).saturating_sub(lines)
}

fn pick(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.composer;
    put(buf, area.x, area.y, area.width, &format!("> {}▏", state.query), theme.strong);
    let found = state.found();
    let body = below(area, 1);
    if found.is_empty() {
        let text = if state.targets.is_empty() { "nothing is known yet" } else { "nothing matches" };
        put(buf, body.x, body.y, body.width, text, theme.faint);
    }
    let lines = usize::from(body.height.saturating_sub(1));
    let first = window(state.cursor, lines);
    let name_columns = body.width / 2;
    for ((n, target), y) in found.iter().enumerate().skip(first).take(lines).zip(body.y..) {
        let is_selected = n == state.cursor;
        let style = if is_selected { theme.selected } else { theme.screen };
        let mark = if is_selected { "▶ " } else { "  " };
        let x = put(buf, body.x, y, name_columns, &format!("{mark}{}", target.name), style);
        let authority = state.authority.as_ref().and_then(|list| target.authority(list));
        let needs = authority.map_or_else(String::new, |authority| format!("  needs {}", authority.name));
        let text = format!("{} {}{needs}", target.kind().word(), format::short_type(&target.type_name));
        let x = x.max(body.x + name_columns) + 1;
        put(buf, x, y, body.right().saturating_sub(x), &text, theme.dim);
    }
    if found.len() > first + lines {
        let text = format!("+{}", found.len() - first - lines);
        put(buf, body.x, body.bottom().saturating_sub(1), body.width, &text, theme.dim);
    }
}

fn fill(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.composer;
    let Some(target) = &state.target else { return };
    let heading = format!("{}  {}", target.name, target.type_name);
    put(buf, area.x, area.y, area.width, &heading, theme.strong);
    let mut footer = state_lines(model, theme);
    let room = usize::from(area.height.saturating_sub(1));
    // The fields come first where there is little room.
    footer.truncate(room.saturating_sub(2));
    let lines = room.saturating_sub(footer.len());
    let body = Rect { height: lines as u16, ..below(area, 1) };
    if let Some(problem) = &state.problem {
        put(buf, body.x, body.y, body.width, problem, theme.caution);
    } else if state.form.fields.is_empty() {
        put(buf, body.x, body.y, body.width, "it has no fields", theme.dim);
    }
    let first = window(state.field, lines);
    let shown = state.form.fields.iter().enumerate().skip(first).take(lines);
    for ((n, field), y) in shown.zip(body.y..) {
        put_field(field, n == state.field, theme, Rect { y, height: 1, ..body }, buf);
    }
    put_lines(&footer, below(area, 1 + body.height), buf);
}

fn put_field(field: &Field, is_selected: bool, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let columns = PATH_COLUMNS.min(area.width / 3);
    // The end of a path says more than its beginning.
    let mut path = field.path.as_str();
    while path.width() > usize::from(columns.saturating_sub(1)) {
        path = path.get(path.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
    }
    put(buf, area.x, area.y, columns, path, if is_selected { theme.accent } else { theme.dim });
    let (text, style) = match (field.typed.is_empty(), is_selected) {
        (true, false) => (field.default.clone(), theme.faint),
        (true, true) => ("▏".to_owned(), theme.strong),
        (false, true) => (format!("{}▏", field.typed), theme.strong),
        (false, false) => (field.typed.clone(), theme.screen),
    };
    let x = area.x + columns;
    let room = area.right().saturating_sub(x);
    let x = put(buf, x, area.y, room * 2 / 5, &text, style).max(x + room * 2 / 5) + 1;
    let problem = field.problem();
    let choices = field.choices.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ");
    let (note, style) = match problem {
        Some(problem) => (format!("▲ {problem}"), theme.caution),
        None if is_selected && !choices.is_empty() => (format!("{}: {choices}", field.type_text), theme.dim),
        None => (field.type_text.clone(), theme.faint),
    };
    put(buf, x, area.y, area.right().saturating_sub(x), &note, style);
}

/// Whether it can be sent, who has the authority, and what came before.
fn state_lines(model: &Model, theme: &Theme) -> Vec<Line> {
    let state = &model.composer;
    let mut lines = vec![(String::new(), theme.screen)];
    let wrong = state.form.fields.iter().find_map(|field| Some((field, field.problem()?)));
    lines.push(match wrong {
        Some((field, problem)) => (format!("▲ {}: {problem}", field.path), theme.caution),
        None if state.form.left_out > 0 => {
            (format!("✓ fits its type; {} more fields have their defaults", state.form.left_out), theme.dim)
        }
        None => ("✓ each field fits its type".to_owned(), theme.dim),
    });
    let Some(target) = &state.target else { return lines };
    lines.push(authority(model, target, theme));
    match model.stop_state() {
        StopState::Engaged => lines.push(("■ the emergency stop is engaged".to_owned(), theme.alarm)),
        _ => lines.push(("▲ the rover may move: the stop is not engaged".to_owned(), theme.caution)),
    }
    if let Some(last) = state.saved.of(target.kind(), &target.name).next() {
        lines.push((format!("PgUp  {}", last.body), theme.dim));
    }
    lines
}

fn authority(model: &Model, target: &crate::composer::catalogue::Target, theme: &Theme) -> Line {
    let Some(list) = &model.composer.authority else {
        return ("who may command it is not known".to_owned(), theme.dim);
    };
    let Some(authority) = target.authority(list) else {
        return ("✓ nobody has to hold anything for it".to_owned(), theme.dim);
    };
    let name = &authority.name;
    let lock = model.screens.team.lock(name);
    let is_own = lock.is_some_and(|lock| model.own().holds(lock));
    match lock.and_then(|lock| lock.holders.first()) {
        Some(_) if is_own => (format!("✓ you hold {name}"), theme.dim),
        Some(holder) => (format!("▲ {name} is held by {}: it will be refused", holder.client), theme.caution),
        None => (format!("✓ {name} is free: the command takes it"), theme.dim),
    }
}

fn sent_lines(model: &Model, sent: &SentCommand, theme: &Theme) -> Vec<Line> {
    let mut lines = vec![
        (format!("{}  {}", sent.request.target, sent.request.body), theme.strong),
        (format!("id     {}", sent.request.id), theme.dim),
    ];
    let states = sent.states.iter().map(|(state, at)| {
        let after = at.saturating_sub(sent.at);
        format!("{} {}", state.word(), format::millis(after).trim())
    });
    let states: Vec<String> = states.collect();
    let waiting = format!("sent {} ago, no answer yet", format::age(model.now.since(sent.at)).trim());
    let text = if states.is_empty() { waiting } else { states.join(" → ") };
    lines.push((format!("state  {text}"), theme.accent));
    if let Some(problem) = &sent.problem {
        lines.push((format!("▲ {problem}"), theme.caution));
        lines.push(("Enter sends it again under the same id: it is done once".to_owned(), theme.dim));
    }
    let Some(document) = &sent.document else { return lines };
    if let Some(reason) = &document.reason {
        lines.push((format!("▲ {reason}"), theme.caution));
    }
    if let Some(by) = &document.verified_by {
        lines.push((format!("✓ by    {by}"), theme.screen));
    }
    if let Some(trace) = &document.trace_id {
        lines.push((format!("trace  {trace}"), theme.dim));
    }
    if let Some(result) = &document.result {
        let text: String = result.to_string().chars().take(RESULT_CHARS).collect();
        let letters: Vec<char> = text.chars().collect();
        let columns = usize::from(SIZE.0.saturating_sub(6));
        let parts = letters.chunks(columns).take(RESULT_LINES).map(|part| part.iter().collect::<String>());
        lines.extend(parts.map(|part| (part, theme.screen)));
    }
    lines
}
