//! Keys of the Topics screen.

use crossterm::event::KeyCode;

use crate::keymap::{Context, TextInput, char, key};
use crate::model::{Focus, Model};
use crate::screen::topics::alarm_settings::{open_limits, open_rate};
use crate::screen::topics::update::*;

/// The list.
static LIST: Context = Context {
    title: "Topics: list",
    keys: &[
        char('/', start_filter, "filter by name or type").footer("filter"),
        char('s', sort, "sort by the next column").footer("sort"),
        char('S', reverse_sort, "turn the order round"),
        char('e', open_rate, RATE),
        key(KeyCode::Enter, enter_fields, FIELDS).footer("fields"),
        key(KeyCode::Right, enter_fields, FIELDS),
        char('l', enter_fields, FIELDS),
        key(KeyCode::Esc, clear_filter, CLEAR),
    ],
    text: None,
};

const FIELDS: &str = "go to the fields";
const RATE: &str = "expected rate of the topic, for everybody";
const CLEAR: &str = "clear the filter";
const TOGGLE: &str = "open or close";
const EXPAND: &str = "open";
const COLLAPSE: &str = "close, then back to the list";

/// The fields of the selected topic.
static FIELD_TREE: Context = Context {
    title: "Topics: fields",
    keys: &[
        key(KeyCode::Enter, toggle, TOGGLE).footer("open/close"),
        key(KeyCode::Right, expand, EXPAND),
        char('l', expand, EXPAND),
        key(KeyCode::Left, collapse, COLLAPSE),
        char('h', collapse, COLLAPSE),
        char('v', toggle_plot, "plot of the number under the cursor, or none").footer("plot"),
        char('p', pin, "pin the plotted field to the Drive screen, or take it off").footer("pin"),
        char('x', open_limits, "limits of the plotted field, for everybody").footer("limits"),
        char('e', open_rate, RATE),
        char(',', cursor_back, "plot: cursor to the left"),
        char('.', cursor_on, "plot: cursor to the right, and off"),
        char('w', next_window, "plot: 1, 2, 5 or 10 minutes"),
        char('f', fix_scale, "plot: keep the scale as it is, or let it follow"),
        char('z', pause, "plot: pause, or go on"),
        key(KeyCode::Esc, leave_fields, "back to the list").footer("list"),
    ],
    text: None,
};

/// While a filter is typed.
static FILTER: Context = Context {
    title: "Filter",
    keys: &[
        key(KeyCode::Enter, accept_filter, "keep the filter").footer("keep"),
        key(KeyCode::Esc, clear_filter, CLEAR).footer("clear"),
        key(KeyCode::Backspace, erase_filter, "erase a character"),
        key(KeyCode::Down, filter_down, "down"),
        key(KeyCode::Up, filter_up, "up"),
    ],
    text: Some(TextInput { typed: type_filter, pasted: Some(paste_filter) }),
};

pub(super) const ALL: &[&Context] = &[&LIST, &FIELD_TREE, &FILTER];

pub(super) fn active(model: &Model) -> Vec<&'static Context> {
    match model.topics.focus {
        _ if model.topics.filtering => vec![&FILTER],
        Focus::List => vec![&LIST],
        Focus::Fields => vec![&FIELD_TREE],
    }
}
