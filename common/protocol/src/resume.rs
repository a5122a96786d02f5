//! Resuming a stream at another endpoint: the client's cursors, and the replay ring they point
//! into.

mod cursors;
mod ring;
#[cfg(test)]
mod tests;
mod window;

pub use crate::resume::cursors::{Cursors, Receipt};
pub use crate::resume::ring::{Replay, Ring, RingLimits};
