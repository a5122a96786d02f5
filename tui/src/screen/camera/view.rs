//! The picture in a frame, with its age. One that is old has a red frame and says so.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, Widget};
use ratatui_image::Image;

use crate::format;
use crate::model::{Model, Overlay};
use crate::picture::{Drawing, Picture};
use crate::screen::camera::model::{FRAMED_LINES, OLD, topic, topics};
use crate::theme::{Theme, indexed};
use crate::widget::{heading, put, put_right};

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.screens.camera;
    let age = state.picture.as_ref().map(|(_, at)| model.now.since(*at));
    let is_old = age.is_some_and(|age| age > OLD) || (age.is_some() && !model.network.is_responsive());
    let style = if is_old { theme.alarm } else { theme.faint };
    let inner = frame(area, style, buf);
    let title_style = if is_old { theme.alarm } else { theme.strong };
    title(model, theme, area, title_style, buf);
    if let Some(age) = age {
        let age = format::age(age);
        let text = if is_old { format!(" ■ OLD {age} ") } else { format!(" {age} ago ") };
        let right = area.right().saturating_sub(1);
        put_right(
            buf,
            right,
            area.y,
            area.width / 2,
            &text,
            if is_old { theme.alarm_fill } else { theme.screen },
        );
    }
    let center = |buf: &mut Buffer, text: &str, style: Style| {
        put(buf, inner.x, inner.y, inner.width, text, style);
    };
    match (&state.picture, &state.fault) {
        (_, Some(fault)) => center(buf, &format!("✗ {fault}"), theme.invalid),
        (Some((picture, _)), None) => put_picture(model, theme, picture, inner, buf),
        (None, None) => center(buf, why_none(model), theme.faint),
    }
}

/// A frame around the picture, or a line above it.
fn frame(area: Rect, style: Style, buf: &mut Buffer) -> Rect {
    if area.height < FRAMED_LINES {
        heading(buf, area, "", style, style);
        return crate::widget::below(area, 1);
    }
    let block = Block::bordered().border_style(style);
    let inner = block.inner(area);
    block.render(area, buf);
    inner
}

fn title(model: &Model, theme: &Theme, area: Rect, style: Style, buf: &mut Buffer) {
    let Some(topic) = topic(model) else {
        put(buf, area.x + 1, area.y, area.width, " CAMERA ", theme.strong);
        return;
    };
    let all = topics(model);
    let at = all.iter().position(|other| *other == topic).map_or(0, |at| at + 1);
    let more = if all.len() > 1 { format!("  {at} of {}", all.len()) } else { String::new() };
    let about = model.screens.camera.picture.as_ref().map_or_else(String::new, |(picture, _)| {
        let (width, height) = picture.pixels;
        format!("  {width}×{height} {}", picture.format)
    });
    let text = format!(" {}{about}{more} ", format::printable(&topic));
    put(buf, area.x + 1, area.y, area.width.saturating_sub(16), &text, style);
}

fn put_picture(model: &Model, theme: &Theme, picture: &Picture, area: Rect, buf: &mut Buffer) {
    match &picture.drawing {
        Drawing::Text(lines) => {
            let width = lines.first().map_or(0, |line| line.chars().count() as u16).min(area.width);
            let x = area.x + (area.width - width) / 2;
            for (line, y) in lines.iter().zip(area.y..area.bottom()) {
                put(buf, x, y, width, line, theme.screen);
            }
        }
        // A dialog cannot be above what the terminal draws itself.
        Drawing::Protocol(protocol) if model.overlay != Overlay::None && !is_blocks(protocol) => {
            put(buf, area.x, area.y, area.width, "the picture is behind the dialog", theme.faint);
        }
        Drawing::Protocol(protocol) => {
            let size = protocol.size();
            let (width, height) = (size.width.min(area.width), size.height.min(area.height));
            let x = area.x + (area.width - width) / 2;
            let area = Rect { x, width, height, ..area };
            Image::new(protocol).allow_clipping(true).render(area, buf);
            if picture.is_indexed && is_blocks(protocol) {
                for position in area.positions() {
                    if let Some(cell) = buf.cell_mut(position) {
                        (cell.fg, cell.bg) = (indexed(cell.fg), indexed(cell.bg));
                    }
                }
            }
        }
    }
}

fn is_blocks(protocol: &ratatui_image::protocol::Protocol) -> bool {
    matches!(protocol, ratatui_image::protocol::Protocol::Halfblocks(_))
}

fn why_none(model: &Model) -> &'static str {
    match topic(model) {
        _ if model.is_past => "pictures are not recorded: Esc is now",
        None => "no topic with pictures is listed",
        Some(_) if !model.network.is_connected() => "no endpoint is connected",
        Some(_) => "waiting for a picture",
    }
}
