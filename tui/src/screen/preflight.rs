//! The Preflight screen: go or no-go before a run.

mod keys;
pub mod model;
mod update;
mod view;

pub use crate::screen::preflight::update::{begin, begin_stop_check, follow_stop_check, read_topics};
pub use crate::screen::preflight::view::title;
use crate::screen_entry::{ScreenEntry, no_effect};

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    start: no_effect,
    tick: update::tick,
    switched: update::switched,
    scroll: update::scroll,
    draw: view::draw,
};
