//! What the shim believes of a remote writer's HEARTBEAT and GAP submessages, for tests of it on its own.

use crate::ffi;

/// Where a remote writer is.
#[derive(Default)]
pub struct Position(ffi::Position);

impl Position {
    /// Notes a sample that arrived.
    pub fn data(&mut self, sequence_number: u64) {
        // SAFETY: the pointer is valid during the call.
        unsafe { ffi::roverline_position_data(&mut self.0, sequence_number) }
    }

    /// What is believed of a HEARTBEAT with the numbers `first` and `last`, which arrived at `now_ns`. `next` is the
    /// sample that is delivered next, `known` the highest one that is known to exist.
    pub fn heartbeat(
        &mut self,
        next: u64,
        known: u64,
        now_ns: i64,
        (mut first, mut last): (u64, u64),
    ) -> (u64, u64) {
        // SAFETY: the pointers are valid during the call.
        unsafe {
            ffi::roverline_position_heartbeat(&mut self.0, next, known, now_ns, &mut first, &mut last);
        }
        (first, last)
    }

    /// Whether a GAP that ends before the sample `end` is believed.
    pub fn gap(&self, next: u64, end: u64) -> bool {
        // SAFETY: the pointer is valid during the call.
        unsafe { ffi::roverline_position_gap(&self.0, next, end) != 0 }
    }
}
