//! The Links screen: the endpoints, and the history of failovers.

mod keys;
pub mod model;
mod update;
mod view;

pub use crate::screen::links::view::summary;
use crate::screen_entry::{ScreenEntry, no_effect};

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    start: no_effect,
    tick: no_effect,
    switched: no_effect,
    scroll: update::scroll,
    draw: view::draw,
};
