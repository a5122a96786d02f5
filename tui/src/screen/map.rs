//! The Map screen: track, way-points and start from above.

mod keys;
pub mod model;
mod update;
mod view;

use crate::screen::drive;
use crate::screen_entry::{ScreenEntry, no_effect};

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    start: no_effect,
    tick: no_effect,
    // Both show the way-points.
    switched: drive::switched,
    scroll: update::scroll,
    draw: view::draw,
};
