//! Keys of the Preflight screen.

use crossterm::event::KeyCode;

use crate::keymap::{Context, char, key};
use crate::model::Model;
use crate::screen::preflight::update::{confirm, open_stop_check};

static PREFLIGHT: Context = Context {
    title: "Preflight",
    keys: &[
        key(KeyCode::Enter, confirm, "confirm a line by hand, or take that back").footer("confirm"),
        char('s', open_stop_check, "try the emergency stop").footer("try the stop").grave(),
    ],
    text: None,
};

pub(super) const ALL: &[&Context] = &[&PREFLIGHT];

pub(super) fn active(_model: &Model) -> Vec<&'static Context> {
    vec![&PREFLIGHT]
}
