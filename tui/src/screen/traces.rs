//! The Traces screen: where the time of requests and of samples went.

mod keys;
pub mod model;
mod update;
mod view;

pub use crate::screen::traces::update::open;
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
