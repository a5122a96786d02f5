//! What a client has, and what an endpoint can still give: cursors, and the ring they point into.

mod cursors;
#[cfg(test)]
mod model;
mod ring;
mod window;

pub use cursors::{Cursors, Seen};
pub use ring::{Replay, Ring, RingLimits};
