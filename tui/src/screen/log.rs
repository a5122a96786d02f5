//! The Log screen: events, rosout, notifications and notes in one list.

mod events;
mod keys;
pub mod model;
mod update;
mod view;

pub use crate::screen::log::events::{ROSOUT, take_rosout};
pub use crate::screen::log::update::open_note;
use crate::screen_entry::{ScreenEntry, no_effect};

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    start: events::start,
    tick: events::tick,
    switched: no_effect,
    scroll: update::scroll,
    draw: view::draw,
};
