//! The Topics screen: all topics, and the fields of the selected one.

pub mod alarm_settings;
mod fields;
mod keys;
pub mod model;
pub mod plot;
pub mod series;
mod update;
mod view;

pub use crate::screen::topics::update::select;
pub use crate::screen::topics::view::list;
pub use crate::screen::topics::view::plot::{draw_series, trend_of};
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
