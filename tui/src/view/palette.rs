//! The command palette.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use crate::model::Model;
use crate::theme::Theme;
use crate::view::dialog::dialog;
use crate::widget::{put, put_right, window};

/// The size of the box.
const SIZE: (u16, u16) = (76, 20);
/// Columns of the kind, and of the keys.
const KIND: u16 = 8;
const KEYS: u16 = 12;
/// From this width on the keys are shown.
const ROOMY: u16 = 56;

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let palette = &model.palette;
    let inner = dialog(theme, ": do", theme.accent, SIZE, area, buf);
    let count = match palette.left_out {
        0 => format!("{} of {}", palette.matches.len(), palette.entries.len()),
        n => format!("{} of {}, +{n} not searched", palette.matches.len(), palette.entries.len()),
    };
    let count_width = (count.width() as u16).min(inner.width / 2);
    let room = inner.width.saturating_sub(count_width + 1);
    // The end of a long text is what is being typed.
    let mut typed: &str = &palette.typed;
    while typed.width() + 3 > usize::from(room) && !typed.is_empty() {
        typed = typed.get(typed.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
    }
    put(buf, inner.x, inner.y, room, &format!("> {typed}▏"), theme.strong);
    put_right(buf, inner.right(), inner.y, count_width, &count, theme.faint);
    let rows = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
    if palette.matches.is_empty() {
        put(buf, rows.x, rows.y, rows.width, "nothing matches", theme.faint);
        return;
    }
    // Names before keys where there is little room.
    let keys = if rows.width < ROOMY { 0 } else { KEYS };
    let first = window(palette.cursor, palette.matches.len(), usize::from(rows.height));
    let shown = palette.matches.iter().enumerate().skip(first);
    for ((at, &entry), y) in shown.zip(rows.y..rows.bottom()) {
        let Some(entry) = palette.entries.get(entry) else { continue };
        let is_selected = at == palette.cursor;
        if is_selected {
            buf.set_style(Rect { y, height: 1, ..rows }, theme.selected);
        }
        let style = |other| if is_selected { theme.selected } else { other };
        put(buf, rows.x, y, 1, if is_selected { "▶" } else { " " }, style(theme.screen));
        let label = rows.width.saturating_sub(KIND + keys + 4);
        put(buf, rows.x + 2, y, label, &entry.label, style(theme.screen));
        put(buf, rows.x + 3 + label, y, KIND, entry.kind, style(theme.dim));
        put_right(buf, rows.right(), y, keys, &entry.keys, style(theme.accent));
    }
}
