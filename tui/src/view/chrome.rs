//! Frame of every screen: header, banner, footer, and the question before a release.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, BorderType, Clear, Widget};
use roverline_client::LinkState;
use unicode_width::UnicodeWidthStr;

use crate::model::{Model, Screen, Serving};
use crate::theme::Theme;
use crate::widget::{put, put_right, rule};
use crate::{format, keymap};

pub(super) fn header(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let mut x = put(buf, area.x + 1, area.y, area.width, "Roverline", theme.strong) + 1;
    for (i, screen) in Screen::ALL.into_iter().enumerate() {
        let style = if screen == model.screen { theme.selected } else { theme.dim };
        x = put(buf, x, area.y, area.width, &format!(" {} {} ", i + 1, screen.title()), style);
    }
    if model.rover.stopped() {
        x = put(buf, x + 1, area.y, 10, " ■ E-STOP ", theme.alarm_fill);
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

/// One line for the most urgent message; a thin rule if there is none.
pub(super) fn banner(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    // A stop that the rover has not heard precedes even the loss of the link, which may be its cause.
    let banner = stop(model, theme)
        .filter(|(_, urgent, _)| *urgent)
        .or_else(|| links(model, theme).filter(|(_, urgent, _)| *urgent))
        .or_else(|| stop(model, theme))
        .or_else(|| links(model, theme))
        .or_else(|| notification(model, theme));
    match banner {
        Some((text, _, style)) => {
            buf.set_style(area, style);
            put(buf, area.x + 1, area.y, area.width - 2, &text, style);
        }
        None => rule(buf, area.x, area.y, area.right(), theme.faint),
    }
}

/// Text, whether it precedes everything else, and style.
type BannerLine = (String, bool, Style);

fn links(model: &Model, theme: &Theme) -> Option<BannerLine> {
    let now = model.now;
    match model.network.serving(now) {
        Serving::AllDown(since) => {
            let text = format!(
                "✗ all endpoints down for {}: is it the radio? Values keep their age",
                format::age(since)
            );
            Some((text, true, theme.alarm_fill))
        }
        Serving::NeverReached => {
            let text = "✗ no endpoint answers: is the gateway running? Trying again".to_owned();
            Some((text, true, theme.caution))
        }
        Serving::By(_) | Serving::Connecting => {
            let failover = model.network.recent(now)?;
            let from = model.network.short_name_of(failover.from.as_deref()?);
            let to = model.network.short_name_of(failover.to.as_deref()?);
            let blackout = failover
                .blackout
                .map_or_else(String::new, |time| format!(", {} without data", format::millis(time)));
            let text = format!("↻ now on {to}; {from} was left: {}{blackout}", failover.cause.word());
            Some((text, false, theme.caution))
        }
    }
}

/// State of the operator's own stop, as long as a notification is shown.
fn stop(model: &Model, theme: &Theme) -> Option<BannerLine> {
    let command = model.stop.as_ref()?;
    let word = if command.engage { "stop" } else { "release" };
    match &command.answer {
        Some((_, _, at)) if model.now.since(*at) > crate::model::NOTIFICATION_DURATION => None,
        Some((true, message, _)) => Some((format!("✓ {word} accepted: {message}"), false, theme.strong)),
        Some((false, message, _)) => Some((format!("✗ {word} REFUSED: {message}"), false, theme.alarm_fill)),
        None if model.now.since(command.sent) < crate::model::STOP_TIMEOUT
            && model.network.active().is_some() =>
        {
            Some((format!("… {word} sent, waiting for an answer"), true, theme.caution))
        }
        // It is sent again until an endpoint accepts it.
        None if command.engage => {
            let asked = format::age(model.now.since(command.sent));
            let text = format!("✗ stop asked {asked} ago, not yet heard by the rover: use the red button");
            Some((text, true, theme.alarm_fill))
        }
        None if model.now.since(command.sent) < 8 * crate::model::STOP_TIMEOUT => {
            let text = format!("✗ {word} NOT ANSWERED: use the red button");
            Some((text, false, theme.alarm_fill))
        }
        None => None,
    }
}

fn notification(model: &Model, theme: &Theme) -> Option<BannerLine> {
    let notification = model.notification.as_ref()?;
    let (glyph, style) = if notification.serious { ("▲", theme.caution) } else { ("i", theme.screen) };
    Some((format!("{glyph} {}", notification.text), false, style))
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

pub(super) fn confirm(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let inner = dialog(theme, "Release the emergency stop?", theme.caution, (62, 7), area, buf);
    let state = match model.rover.emergency_stop.as_ref().map(|reading| reading.value) {
        Some(true) => "■ It is engaged. The rover may move once it is released.",
        Some(false) => "It is released already, as far as this console knows.",
        None => "Its state was never received.",
    };
    let lines = [
        (state, theme.screen),
        ("", theme.screen),
        ("Make sure that nobody is near the rover.", theme.strong),
        ("", theme.screen),
        ("y  release        n  leave it engaged", theme.accent),
    ];
    for ((text, style), y) in lines.iter().zip(inner.y..inner.bottom()) {
        put(buf, inner.x, y, inner.width, text, *style);
    }
}
