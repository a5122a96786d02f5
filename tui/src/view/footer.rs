//! The last line: what is typed, the most important keys, and the time.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use crate::global_keys;
use crate::model::{Model, Overlay, Screen};
use crate::theme::Theme;
use crate::widget::{put, put_right};
use crate::{format, keymap};

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let mut x = area.x + 1;
    if model.topics.filtering && model.screen == Screen::Topics && model.overlay == Overlay::None {
        x = put(buf, x, area.y, area.width / 2, &format!("/{}▏", model.topics.filter), theme.strong) + 2;
    }
    // The stop comes first: it is the key that must be found in a hurry.
    let mut contexts = global_keys::active(model);
    contexts.rotate_right(1);
    for (key, word) in keymap::footer(&contexts) {
        let needed = (key.width() + word.width() + 1) as u16;
        if x + needed >= area.right() {
            break;
        }
        let stop = word == "STOP";
        x = put(buf, x, area.y, needed, &key, if stop { theme.alarm } else { theme.accent });
        x = put(buf, x + 1, area.y, needed, word, if stop { theme.strong } else { theme.dim }) + 2;
    }
    let clock = format!("{} UTC", format::clock(model.now.wall_ns));
    if x + clock.width() as u16 + 2 < area.right() {
        put_right(buf, area.right() - 1, area.y, 12, &clock, theme.faint);
    }
}
