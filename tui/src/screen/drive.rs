//! The Drive screen: the rover at a glance.

mod keys;
pub mod model;
mod view;

use crate::screen_entry::{ScreenEntry, no_effect, no_scroll};

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    start: no_effect,
    tick: no_effect,
    switched: no_effect,
    scroll: no_scroll,
    draw: view::draw,
};
