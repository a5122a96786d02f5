//! The Topics screen: all topics, and the fields of the selected one.

mod fields;
mod keys;
pub mod model;
mod update;
mod view;

use crate::screen_entry::ScreenEntry;
pub use crate::screen::topics::view::list;

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    switched: update::switched,
    scroll: update::scroll,
    draw: view::draw,
};
