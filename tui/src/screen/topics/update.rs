//! What the keys of the Topics screen do.

use roverline_protocol::printable::is_unprintable;

use crate::effect::Effect;
use crate::model::{FILTER_CHARS, Focus, Model, Topics};
use crate::update::{sample, subscriptions};

pub(super) fn switched(model: &mut Model) -> Vec<Effect> {
    model.screens.topics.fields.pending = true;
    subscriptions::adjust(model)
}

pub(super) fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    if model.topics.focus == Focus::Fields && !model.topics.filtering {
        model.screens.topics.fields.select(by);
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
    model.screens.topics.fields.clear();
    let mut effects = subscriptions::adjust(model);
    effects.extend(sample::decode_selected(model));
    effects
}
