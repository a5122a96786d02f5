//! The Map screen: track, way-points and start from above.

mod keys;
mod layers;
pub mod model;
mod update;
mod view;

pub use crate::screen::map::layers::{feed, scan_topic};
use crate::screen_entry::{ScreenEntry, no_effect};

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    start: no_effect,
    tick: no_effect,
    switched: update::switched,
    scroll: update::scroll,
    draw: view::draw,
};
