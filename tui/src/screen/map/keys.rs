//! Keys of the Map screen.

use crossterm::event::KeyCode;

use crate::keymap::{Context, char, key};
use crate::model::Model;
use crate::screen::map::layers::{open_mark, open_unmark, toggle_scan};
use crate::screen::map::update::*;

const WEST: &str = "pan west";
const EAST: &str = "pan east";
const NORTH: &str = "pan north";
const SOUTH: &str = "pan south";

static MAP: Context = Context {
    title: "Map",
    keys: &[
        char('+', zoom_in, "nearer").footer("nearer"),
        char('=', zoom_in, "nearer"),
        char('-', zoom_out, "farther").footer("farther"),
        char('h', west, WEST),
        char('l', east, EAST),
        char('k', north, NORTH),
        char('j', south, SOUTH),
        key(KeyCode::Left, west, WEST),
        key(KeyCode::Right, east, EAST),
        key(KeyCode::Up, north, NORTH),
        key(KeyCode::Down, south, SOUTH),
        char('f', follow, "follow the rover").footer("follow"),
        char('m', measure, "measure from the middle, or end it").footer("measure"),
        char('w', open_way_point, "send the middle as a way-point").footer("way-point"),
        char('M', open_mark, "mark the middle, with a note, for everybody").footer("mark"),
        char('X', open_unmark, "delete the nearest mark"),
        char('s', toggle_scan, "the scan, or none"),
        char('y', copy_position, "copy the rover's position (OSC 52)").footer("copy"),
    ],
    text: None,
};

pub(super) const ALL: &[&Context] = &[&MAP];

pub(super) fn active(_model: &Model) -> Vec<&'static Context> {
    vec![&MAP]
}
