//! The help overlay, generated from the keymap.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::global_keys;
use crate::keymap::{HelpLine, help};
use crate::theme::Theme;
use crate::view::dialog::dialog;
use crate::widget::put;

const WIDTH: u16 = 76;
const KEYS: u16 = 16;
/// A software stop does not replace a wired one (ISO 13850).
const WARNING: &str = "! is a software stop. It is not a replacement for the red button.";

pub(super) fn draw(theme: &Theme, scroll: usize, area: Rect, buf: &mut Buffer) {
    let lines = help(&global_keys::all());
    let height = (lines.len() as u16 + 4).min(area.height.saturating_sub(2));
    let inner = dialog(theme, "Keys", theme.faint, (WIDTH, height), area, buf);
    put(buf, inner.x, inner.y, inner.width, WARNING, theme.caution);
    let visible = usize::from(inner.height.saturating_sub(2));
    let scroll = scroll.min(lines.len().saturating_sub(visible));
    for (line, y) in lines.iter().skip(scroll).zip(inner.y + 2..inner.bottom()) {
        match line {
            HelpLine::Title(title) => drop(put(buf, inner.x, y, inner.width, title, theme.strong)),
            HelpLine::Entry(keys, what) => {
                put(buf, inner.x + 2, y, KEYS, keys, theme.accent);
                put(buf, inner.x + 3 + KEYS, y, inner.width.saturating_sub(KEYS + 3), what, theme.screen);
            }
        }
    }
}
