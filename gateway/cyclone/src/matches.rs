//! The endpoints of other participants that match one of ours.

use crate::ffi;

/// Endpoints that are listed at most.
const MAX_MATCHES: usize = 8_192;
/// Room for as many as usually match; if there are more, they are listed again.
const USUAL_MATCHES: usize = 16;

/// Which side is listed.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    /// The readers of a writer.
    Readers,
    /// The writers of a reader.
    Writers,
}

/// Lists the GUIDs of the other side; none if the entity is gone.
pub(crate) fn list(side: Side, entity: i32) -> Vec<[u8; 16]> {
    let (guids, count) = list_up_to(USUAL_MATCHES, side, entity);
    if count <= USUAL_MATCHES { guids } else { list_up_to(count.min(MAX_MATCHES), side, entity).0 }
}

/// Lists at most so many, and returns how many there are.
fn list_up_to(most: usize, side: Side, entity: i32) -> (Vec<[u8; 16]>, usize) {
    let mut guids = vec![[0; 16]; most];
    // SAFETY: the pointer is valid for `most` GUIDs during the call.
    let count = unsafe {
        match side {
            Side::Readers => ffi::roverline_matched_readers(entity, guids.as_mut_ptr(), most as u32),
            Side::Writers => ffi::roverline_matched_writers(entity, guids.as_mut_ptr(), most as u32),
        }
    };
    let count = usize::try_from(count).unwrap_or(0);
    guids.truncate(count);
    (guids, count)
}
