//! Keys of the Alarms screen.

use crossterm::event::KeyCode;

use crate::keymap::{Context, char, key};
use crate::model::Model;
use crate::screen::alarms::update::*;

static LIST: Context = Context {
    title: "Alarms",
    keys: &[
        key(KeyCode::Enter, acknowledge, "acknowledge").footer("acknowledge").grave(),
        char('A', open_acknowledge_all, "acknowledge all that are listed").footer("all"),
        char('z', open_shelve, "shelve for ten minutes, with a reason").footer("shelve"),
        char('u', unshelve, "take off the shelf"),
        char('x', toggle_cleared, "with cleared ones, or without").footer("cleared"),
        char('o', open_trace, "show the trace of the sample that raised it"),
    ],
    text: None,
};

pub(super) const ALL: &[&Context] = &[&LIST];

pub(super) fn active(_model: &Model) -> Vec<&'static Context> {
    vec![&LIST]
}
