//! What the keys of the Topics screen do.

use roverline_protocol::printable::is_unprintable;

use crate::effect::Effect;
use crate::model::{FILTER_CHARS, Focus, Model, Topics};
use crate::screen::topics::alarm_settings;
use crate::screen::topics::plot::{self, CURSOR_STEPS, Plot, WINDOWS};
use crate::update::{sample, subscriptions};

/// Parts of the time from which a scale is taken.
const SCALE_PARTS: usize = 256;

pub(super) fn switched(model: &mut Model) -> Vec<Effect> {
    model.screens.topics.fields.pending = true;
    let mut effects = alarm_settings::watch(model);
    effects.extend(subscriptions::adjust(model));
    effects
}

pub(super) fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    if model.topics.focus == Focus::Fields && !model.topics.filtering {
        model.screens.topics.fields.select(by);
        plot::follow(model);
        return Vec::new();
    }
    let before = model.topics.selected.clone();
    model.topics.select(by);
    if before == model.topics.selected { Vec::new() } else { selected(model) }
}

pub(super) fn filter_down(model: &mut Model) -> Vec<Effect> {
    scroll(model, 1)
}

pub(super) fn filter_up(model: &mut Model) -> Vec<Effect> {
    scroll(model, -1)
}

pub(super) fn enter_fields(model: &mut Model) -> Vec<Effect> {
    if model.topics.selected.is_some() {
        model.topics.focus = Focus::Fields;
        plot::follow(model);
    }
    Vec::new()
}

pub(super) fn leave_fields(model: &mut Model) -> Vec<Effect> {
    model.topics.focus = Focus::List;
    Vec::new()
}

pub(super) fn toggle(model: &mut Model) -> Vec<Effect> {
    model.screens.topics.fields.toggle(None);
    Vec::new()
}

pub(super) fn expand(model: &mut Model) -> Vec<Effect> {
    model.screens.topics.fields.toggle(Some(true));
    Vec::new()
}

pub(super) fn collapse(model: &mut Model) -> Vec<Effect> {
    if !model.screens.topics.fields.toggle(Some(false)) {
        model.topics.focus = Focus::List;
    }
    Vec::new()
}

pub(super) fn sort(model: &mut Model) -> Vec<Effect> {
    rearrange(model, |topics| topics.sort = topics.sort.next())
}

pub(super) fn reverse_sort(model: &mut Model) -> Vec<Effect> {
    rearrange(model, |topics| topics.reversed = !topics.reversed)
}

pub(super) fn start_filter(model: &mut Model) -> Vec<Effect> {
    model.topics.filtering = true;
    Vec::new()
}

pub(super) fn accept_filter(model: &mut Model) -> Vec<Effect> {
    model.topics.filtering = false;
    Vec::new()
}

pub(super) fn clear_filter(model: &mut Model) -> Vec<Effect> {
    rearrange(model, |topics| {
        topics.filtering = false;
        topics.filter.clear();
    })
}

pub(super) fn erase_filter(model: &mut Model) -> Vec<Effect> {
    rearrange(model, |topics| {
        topics.filter.pop();
    })
}

pub(super) fn type_filter(model: &mut Model, c: char) -> Vec<Effect> {
    paste_filter(model, c.encode_utf8(&mut [0; 4]))
}

pub(super) fn paste_filter(model: &mut Model, text: &str) -> Vec<Effect> {
    let room = FILTER_CHARS.saturating_sub(model.topics.filter.chars().count());
    let text: String = text.chars().filter(|c| !is_unprintable(*c)).take(room).collect();
    rearrange(model, |topics| topics.filter.push_str(&text))
}

fn rearrange(model: &mut Model, change: impl FnOnce(&mut Topics)) -> Vec<Effect> {
    let before = model.topics.selected.clone();
    change(&mut model.topics);
    model.topics.arrange(model.now);
    if before == model.topics.selected { Vec::new() } else { selected(model) }
}

/// Selects a topic by its name; a filter that hides it is cleared.
pub fn select(model: &mut Model, name: &str) -> Vec<Effect> {
    if !model.topics.rows.contains_key(name) {
        return Vec::new();
    }
    if !model.topics.visible.iter().any(|visible| visible == name) {
        model.topics.filter.clear();
    }
    model.topics.focus = Focus::List;
    rearrange(model, |topics| topics.selected = Some(name.to_owned()))
}

/// Another topic was selected.
fn selected(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.topics;
    state.fields.clear();
    state.plot = Plot { is_closed: state.plot.is_closed, window: state.plot.window, ..Plot::default() };
    let mut effects = subscriptions::adjust(model);
    effects.extend(sample::decode_selected(model));
    effects
}

pub(super) fn toggle_plot(model: &mut Model) -> Vec<Effect> {
    let plot = &mut model.screens.topics.plot;
    plot.is_closed = !plot.is_closed;
    plot::follow(model);
    Vec::new()
}

pub(super) fn pin(model: &mut Model) -> Vec<Effect> {
    if let Some((is_serious, text)) = plot::toggle_pin(model) {
        model.notify(is_serious, text);
    }
    subscriptions::adjust(model)
}

pub(super) fn cursor_back(model: &mut Model) -> Vec<Effect> {
    let cursor = &mut model.screens.topics.plot.cursor;
    *cursor = Some(cursor.map_or(0, |at| (at + 1).min(CURSOR_STEPS)));
    Vec::new()
}

pub(super) fn cursor_on(model: &mut Model) -> Vec<Effect> {
    let cursor = &mut model.screens.topics.plot.cursor;
    *cursor = cursor.and_then(|at| at.checked_sub(1));
    Vec::new()
}

pub(super) fn next_window(model: &mut Model) -> Vec<Effect> {
    let plot = &mut model.screens.topics.plot;
    plot.window = (plot.window + 1) % WINDOWS.len();
    Vec::new()
}

/// Keeps the scale as it is now, or lets it follow the values again.
pub(super) fn fix_scale(model: &mut Model) -> Vec<Effect> {
    let now = model.now.mono;
    let plot = &mut model.screens.topics.plot;
    plot.fixed = match (plot.fixed, &plot.series) {
        (None, Some(series)) => {
            let end = plot.end(now);
            let parts = series.columns(end.saturating_sub(plot.span()), end, SCALE_PARTS);
            Some(plot::bounds(&parts))
        }
        _ => None,
    };
    Vec::new()
}

pub(super) fn pause(model: &mut Model) -> Vec<Effect> {
    let now = model.now.mono;
    let plot = &mut model.screens.topics.plot;
    plot.paused = if plot.paused.is_some() { None } else { Some(now) };
    Vec::new()
}
