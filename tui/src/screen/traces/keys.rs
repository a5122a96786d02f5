//! Keys of the Traces screen.

use crossterm::event::KeyCode;

use crate::keymap::{Context, char, key};
use crate::model::Model;
use crate::screen::traces::update::*;

static LIST: Context = Context {
    title: "Traces: list",
    keys: &[
        key(KeyCode::Enter, open_selected, "show the trace; of a topic, its slowest sample's").footer("open"),
        char('s', next_list, "newest, slowest, samples by topic").footer("newest/slowest/topics"),
        char('x', toggle_errors, "only failed ones").footer("failed"),
    ],
    text: None,
};

static TRACE: Context = Context {
    title: "Traces: one trace",
    keys: &[key(KeyCode::Esc, close, "back to the list").footer("list")],
    text: None,
};

pub(super) const ALL: &[&Context] = &[&LIST, &TRACE];

pub(super) fn active(model: &Model) -> Vec<&'static Context> {
    vec![if model.screens.traces.open.is_some() { &TRACE } else { &LIST }]
}
