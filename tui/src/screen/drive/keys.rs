//! Keys of the Drive screen beside those of every screen: the driving mode.

use crossterm::event::KeyCode;

use crate::keymap::{Context, TextInput, char, key};
use crate::model::Model;
use crate::screen::drive::update::driving::{
    change_dead_man, enter, gear, ignore, ignore_char, leave, rotation_limit, speed_limit,
};

pub(super) const ALL: &[&Context] = &[&READY, &DRIVING];

static READY: Context = Context {
    title: "Drive",
    keys: &[char('D', enter, "drive with the keyboard or a game controller: takes the lock drive")
        .footer("driving")
        .grave()],
    text: None,
};

const FORWARD: &str = "forward; with Shift in turbo";
const BACK: &str = "back";
const LEFT: &str = "rotate left";
const RIGHT: &str = "rotate right";
const GEAR: &str = "slow, normal, turbo: 25, 50 and 100 % of the limits";
const SPEED: &str = "the limit of speed";
const ROTATION: &str = "the limit of rotation";

/// While the rover is driven from here. What moves it is handled before this table, with its releases.
pub(super) static DRIVING: Context = Context {
    title: "Driving",
    keys: &[
        key(KeyCode::Esc, leave, "stop driving: zero is sent").footer("leave"),
        key(KeyCode::Up, ignore, FORWARD),
        char('w', ignore, FORWARD).footer("forward"),
        key(KeyCode::Down, ignore, BACK),
        char('s', ignore, BACK).footer("back"),
        key(KeyCode::Left, ignore, LEFT),
        char('a', ignore, LEFT).footer("left"),
        key(KeyCode::Right, ignore, RIGHT),
        char('d', ignore, RIGHT).footer("right"),
        char(' ', ignore, "zero at once; the dead-man key, if it is needed"),
        char('m', change_dead_man, "whether Space has to be held while driving"),
        char('1', gear::<0>, GEAR),
        char('2', gear::<1>, GEAR),
        char('3', gear::<2>, GEAR),
        char('+', speed_limit::<true>, SPEED).footer("limit"),
        char('-', speed_limit::<false>, SPEED),
        char(']', rotation_limit::<true>, ROTATION),
        char('[', rotation_limit::<false>, ROTATION),
    ],
    // No key of another screen acts.
    text: Some(TextInput { typed: ignore_char, pasted: None }),
};

pub(super) fn active(model: &Model) -> Vec<&'static Context> {
    match model.screens.drive.driving {
        Some(_) => vec![&DRIVING],
        None => vec![&READY],
    }
}
