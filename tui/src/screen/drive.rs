//! The Drive screen: the rover at a glance.

mod keys;
pub mod model;
mod update;
mod view;

pub use crate::screen::drive::update::driving::{focus, pulse, supervise, take_key, take_pad};
pub use crate::screen::drive::update::switched;
pub use crate::screen::drive::view::{course, fence, motion, position_of};
use crate::screen_entry::{ScreenEntry, no_scroll};

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    start: update::start,
    tick: update::tick,
    switched: update::switched,
    scroll: no_scroll,
    draw: view::draw,
};
