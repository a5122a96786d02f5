//! Keys of the Log screen.

use crossterm::event::KeyCode;

use crate::keymap::{Context, TextInput, char, key};
use crate::model::Model;
use crate::screen::log::update::*;

static LIST: Context = Context {
    title: "Log",
    keys: &[
        char('/', start_filter, "filter by text").footer("filter"),
        char('s', next_level, "all, warnings, errors").footer("severity"),
        char('o', next_origin, "one source, or all").footer("source"),
        key(KeyCode::Enter, open_trace, "show its trace").footer("trace"),
        key(KeyCode::Esc, clear_filters, "clear the filters, follow the newest"),
    ],
    text: None,
};

static FILTER: Context = Context {
    title: "Log: filter",
    keys: &[
        key(KeyCode::Enter, accept_filter, "keep the filter").footer("keep"),
        key(KeyCode::Esc, clear_filters, "clear the filters").footer("clear"),
        key(KeyCode::Backspace, erase_filter, "erase a character"),
    ],
    text: Some(TextInput { typed: type_filter, pasted: Some(paste_filter) }),
};

pub(super) const ALL: &[&Context] = &[&LIST, &FILTER];

pub(super) fn active(model: &Model) -> Vec<&'static Context> {
    vec![if model.screens.log.is_filtering { &FILTER } else { &LIST }]
}
