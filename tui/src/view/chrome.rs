//! Frame of every screen: header, footer, and the box of a dialog.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, BorderType, Clear, Widget};
use roverline_client::LinkState;
use unicode_width::UnicodeWidthStr;

use crate::model::{Model, Screen, Serving, StopState};
use crate::theme::Theme;
use crate::widget::{put, put_right};
use crate::{format, keymap};

pub(super) fn header(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let mut x = put(buf, area.x + 1, area.y, area.width, "Roverline", theme.strong) + 1;
    for (i, screen) in Screen::ALL.into_iter().enumerate() {
        let style = if screen == model.screen { theme.selected } else { theme.dim };
        x = put(buf, x, area.y, area.width, &format!(" {} {} ", i + 1, screen.title()), style);
    }
    match model.stop_state() {
        StopState::Engaged => x = put(buf, x + 1, area.y, 10, " ■ E-STOP ", theme.alarm_fill),
        StopState::Unknown { engaged: true, .. } => {
            x = put(buf, x + 1, area.y, 11, " ■ E-STOP? ", theme.alarm_fill);
        }
        _ => {}
    }
    let room = area.right().saturating_sub(x + 2);
    let (texts, style) = serving(model, theme);
    let text = texts.iter().find(|text| text.width() <= usize::from(room)).or(texts.last());
    put_right(buf, area.right() - 1, area.y, room, text.map_or("", String::as_str), style);
}

/// The serving endpoint, from the longest to the shortest text.
fn serving(model: &Model, theme: &Theme) -> ([String; 3], Style) {
    match model.network.serving(model.now) {
        Serving::By(endpoint) => {
            let name = model.network.name_of(&endpoint.url);
            let tier = endpoint.tier.map_or("active", |tier| tier.name());
            let rtt = endpoint.rtt.map_or_else(String::new, |rtt| format!("  {}", format::millis(rtt)));
            let (glyph, style) = match endpoint.state {
                LinkState::Suspect => ("◐ silent", theme.caution),
                _ => ("▶", theme.screen),
            };
            ([format!("{glyph} {name}{rtt}"), format!("{glyph} {name}"), format!("{glyph} {tier}")], style)
        }
        Serving::Connecting => (same("◌ connecting"), theme.dim),
        Serving::NeverReached => (same("✗ not connected"), theme.caution),
        Serving::AllDown(_) => (same("✗ all down"), theme.alarm),
    }
}

fn same(text: &str) -> [String; 3] {
    [text, text, text].map(str::to_owned)
}

pub(super) fn footer(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let mut x = area.x + 1;
    if model.topics.filtering && model.screen == Screen::Topics {
        x = put(buf, x, area.y, area.width / 2, &format!("/{}▏", model.topics.filter), theme.strong) + 2;
    }
    for (key, word) in keymap::footer(model.contexts()) {
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

/// A box in the middle; returns its inner area.
pub(super) fn dialog(
    theme: &Theme,
    title: &str,
    border: Style,
    size: (u16, u16),
    area: Rect,
    buf: &mut Buffer,
) -> Rect {
    let (width, height) = (size.0.min(area.width), size.1.min(area.height));
    let outer =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(outer, buf);
    buf.set_style(outer, theme.screen);
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(border);
    let inner = block.inner(outer);
    block.title(format!(" {title} ")).title_style(theme.strong).render(outer, buf);
    Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner }
}
