//! What the Traces screen watches, and what its keys do.

use crate::effect::Effect;
use crate::format::{self, escape};
use crate::model::api::Watcher;
use crate::model::{Document, Model, Screen};
use crate::screen::traces::model::Listed;

/// Traces that are listed.
const LISTED_TRACES: usize = 100;

/// The lists are watched while they are shown.
pub(super) fn switched(model: &mut Model) -> Vec<Effect> {
    let watches = std::mem::take(&mut model.screens.traces.watches);
    let mut effects: Vec<Effect> = watches.into_iter().flat_map(|watch| model.unwatch(watch)).collect();
    if model.screen != Screen::Traces {
        return effects;
    }
    let state = &mut model.screens.traces;
    (state.list, state.topics) = (Document::default(), Document::default());
    let list = format!("/api/v2/traces?limit={LISTED_TRACES}");
    let watches: [(&str, Watcher); 2] = [
        (&list, |model, answer| {
            let now = model.now;
            model.screens.traces.list.take(answer, now, |_| 0);
        }),
        ("/api/v2/traces/topics", |model, answer| {
            let now = model.now;
            model.screens.traces.topics.take(answer, now, |_| 0);
        }),
    ];
    for (path, taken) in watches {
        let watch = model.watch(path, taken);
        if let Effect::Watch { number, .. } = &watch {
            model.screens.traces.watches.push(*number);
        }
        effects.push(watch);
    }
    effects
}

pub(super) fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    let state = &mut model.screens.traces;
    if state.open.is_some() {
        let last = state.trace.value.as_ref().map_or(0, |trace| trace.spans.len());
        state.scroll = state.scroll.saturating_add_signed(by).min(last);
    } else {
        let last = state.rows().saturating_sub(1);
        state.cursor = state.cursor.saturating_add_signed(by).min(last);
    }
    Vec::new()
}

pub(super) fn next_list(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.traces;
    state.listed = match state.listed {
        Listed::Newest => Listed::Slowest,
        Listed::Slowest => Listed::Topics,
        Listed::Topics => Listed::Newest,
    };
    state.cursor = 0;
    Vec::new()
}

pub(super) fn toggle_errors(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.traces;
    state.only_errors = !state.only_errors;
    state.cursor = 0;
    Vec::new()
}

pub(super) fn close(model: &mut Model) -> Vec<Effect> {
    model.screens.traces.open = None;
    Vec::new()
}

pub(super) fn open_selected(model: &mut Model) -> Vec<Effect> {
    match model.screens.traces.selected_trace() {
        Some(id) => open(model, &id),
        None => Vec::new(),
    }
}

/// Shows a trace in full. The caller switches to the screen.
pub fn open(model: &mut Model, id: &str) -> Vec<Effect> {
    let state = &mut model.screens.traces;
    (state.open, state.trace, state.scroll) = (Some(id.to_owned()), Document::default(), 0);
    let (request, wanted) = (("GET", format!("/api/v2/traces/{}", escape(id))), id.to_owned());
    let short = format::fit(&format::printable(id), 12);
    model.request(&format!("read trace {short}"), request, None, move |model, answer| {
        let now = model.now;
        let state = &mut model.screens.traces;
        if state.open.as_ref() == Some(&wanted) {
            state.trace.take(answer, now, |_| 0);
        }
        Vec::new()
    })
}
