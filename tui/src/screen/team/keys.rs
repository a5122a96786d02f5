//! Keys of the Team screen.

use crossterm::event::KeyCode;

use crate::keymap::{Context, char, key};
use crate::model::Model;
use crate::screen::team::model::Pane;
use crate::screen::team::{locks, queues, robots, values};

/// On a lock.
static LOCKS: Context = Context {
    title: "Team: locks",
    keys: &[
        key(KeyCode::Enter, locks::take_or_release, "take or release").footer("take/release").grave(),
        char('h', locks::open_handover, "ask the holder to hand over").footer("ask for it"),
        char('w', locks::wait, "wait in the queue"),
        char('F', locks::open_force, "take it away from its holder (commander)").grave(),
        char('y', locks::open_grant, "hand it over to who asks for it"),
        char('n', locks::open_refusal, "keep it, with a reason"),
    ],
    text: None,
};

/// On a queue.
static QUEUES: Context = Context {
    title: "Team: queues",
    keys: &[
        char('e', queues::open_enqueue, "enqueue a message").footer("enqueue"),
        char('r', queues::open_redrive, "put dead messages back").footer("redrive"),
        char('X', queues::open_purge, "delete all messages (commander)").grave(),
    ],
    text: None,
};

/// On a value.
static VALUES: Context = Context {
    title: "Team: values",
    keys: &[key(KeyCode::Enter, values::open_edit, "change it").footer("change")],
    text: None,
};

/// On a robot.
static ROBOTS: Context = Context {
    title: "Team: robots",
    keys: &[key(KeyCode::Enter, robots::open_transition, "move it to a state").footer("move")],
    text: None,
};

/// On every row.
static EVERY_ROW: Context = Context {
    title: "Team",
    keys: &[char('v', values::open_put, "put a value under a key"), char('E', queues::open_new, NEW_QUEUE)],
    text: None,
};

const NEW_QUEUE: &str = "enqueue a message, to a queue by name";

pub(super) const ALL: &[&Context] = &[&LOCKS, &QUEUES, &VALUES, &ROBOTS, &EVERY_ROW];

pub(super) fn active(model: &Model) -> Vec<&'static Context> {
    match model.screens.team.selected().pane {
        Pane::Locks => vec![&LOCKS, &EVERY_ROW],
        Pane::Queues => vec![&QUEUES, &EVERY_ROW],
        Pane::Values => vec![&VALUES, &EVERY_ROW],
        Pane::People => vec![&EVERY_ROW],
        Pane::Robots => vec![&ROBOTS, &EVERY_ROW],
    }
}
