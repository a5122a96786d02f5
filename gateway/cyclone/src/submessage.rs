//! The shim's parser of submessages, for tests of it on its own.

use crate::ffi;
use crate::sample::SampleIdentity;

/// The identity of the related sample in the inline QoS of a DATA or DATA_FRAG submessage whose header fields are in
/// the byte order of this computer.
pub fn related_in(submessage: &[u8]) -> Option<SampleIdentity> {
    let mut related = ffi::Identity::default();
    // SAFETY: the pointers are valid during the call, the first one for as many bytes as are given.
    let found = unsafe { ffi::roverline_related_in(submessage.as_ptr(), submessage.len(), &mut related) };
    found.then(|| related.into())
}
