//! The Team screen: locks, queues, values, people, robots.

mod keys;
mod locks;
pub mod model;
mod queues;
pub mod rates;
mod robots;
mod update;
mod values;
mod view;

pub use crate::screen::team::locks::{drive, release};
pub use crate::screen::team::queues::enqueue;
pub use crate::screen::team::update::select;
use crate::screen_entry::ScreenEntry;

/// The screen.
pub const ENTRY: ScreenEntry = ScreenEntry {
    contexts: keys::ALL,
    active: keys::active,
    start: update::start,
    tick: update::tick,
    switched: update::switched,
    scroll: update::scroll,
    draw: view::draw,
};
