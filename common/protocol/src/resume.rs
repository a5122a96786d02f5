//! What a client has, and what an endpoint can still give: cursors, and the ring they point into.

mod cursors;
mod ring;
#[cfg(test)]
mod tests;
mod window;

pub use crate::resume::cursors::{Cursors, Seen};
pub use crate::resume::ring::{Replay, Ring, RingLimits};
