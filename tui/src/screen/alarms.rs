//! The Alarms screen: what needs an operator, and what operators did about it.

mod keys;
pub mod model;
mod update;
mod view;

use crate::screen_entry::{ScreenEntry, no_effect};

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    start: update::start,
    tick: update::tick,
    switched: no_effect,
    scroll: update::scroll,
    draw: view::draw,
};
