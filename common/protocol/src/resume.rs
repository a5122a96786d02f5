//! What a client has, and what an endpoint can still give: cursors, and the ring they point into.

mod cursors;
mod ring;

pub use cursors::{Cursors, Seen};
pub use ring::{Replay, Ring, RingLimits};
