//! The Camera screen: pictures of a topic, with their age.

mod keys;
pub mod model;
mod update;
mod view;

pub use crate::screen::camera::update::{decoded, feed};
use crate::screen_entry::{ScreenEntry, no_effect, no_scroll};

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    start: no_effect,
    tick: update::tick,
    switched: update::switched,
    scroll: no_scroll,
    draw: view::draw,
};
