//! Discovery: the readers and writers of other participants, kept up to date.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;

use crate::entity::Entity;
use crate::ffi;

/// Endpoints of one kind that are remembered. Further ones are ignored, so that foreign participants cannot fill
/// the memory.
const MAX_ENDPOINTS: usize = 8_192;

/// A reader or writer of another participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredEndpoint {
    /// In network byte order. The first twelve bytes are the participant's.
    pub guid: [u8; 16],
    /// The DDS name of the topic.
    pub topic: String,
    /// The DDS name of the type.
    pub type_name: String,
    /// Whether a writer offers, or a reader requests, reliable delivery. An endpoint that does not announce it has
    /// its kind's default: a writer is reliable, a reader is not.
    pub reliable: bool,
    /// Whether a writer keeps samples for late readers, or a reader requests them.
    pub transient_local: bool,
    /// How many samples it keeps, if it announces that and the number is limited.
    pub history_depth: Option<u32>,
}

/// The endpoints of one kind.
pub(crate) struct Discovery {
    entity: Entity,
    /// The participant's own prefix: its endpoints are left out.
    own: [u8; 12],
    known: Mutex<HashMap<[u8; 16], DiscoveredEndpoint>>,
}

impl Discovery {
    /// On the library's reader that reports them.
    pub(crate) fn new(entity: Entity, own: [u8; 12]) -> Discovery {
        Discovery { entity, own, known: Mutex::default() }
    }

    /// Reads the changes since the last call, and returns all endpoints.
    pub(crate) fn endpoints(&self) -> Vec<DiscoveredEndpoint> {
        let mut known = self.known.lock();
        let context: *mut HashMap<[u8; 16], DiscoveredEndpoint> = &mut *known;
        // SAFETY: the context is the map, which `roverline_on_endpoint` expects; the lock is held during the call.
        // The prefix is valid for 12 bytes. If it fails, the map stays as it was.
        unsafe {
            ffi::roverline_take_endpoints(
                self.entity.handle(),
                self.own.as_ptr(),
                roverline_on_endpoint,
                context.cast(),
            )
        };
        known.values().cloned().collect()
    }
}

extern "C" fn roverline_on_endpoint(context: *mut c_void, endpoint: *const ffi::Endpoint) {
    // SAFETY: called only during `Discovery::endpoints`, with its map as the context and an endpoint whose strings
    // are valid during the call.
    let (known, endpoint) =
        unsafe { (&mut *context.cast::<HashMap<[u8; 16], DiscoveredEndpoint>>(), &*endpoint) };
    let _ = catch_unwind(AssertUnwindSafe(|| apply(known, endpoint)));
}

fn apply(known: &mut HashMap<[u8; 16], DiscoveredEndpoint>, change: &ffi::Endpoint) {
    if !change.alive {
        known.remove(&change.guid);
        return;
    }
    if known.len() >= MAX_ENDPOINTS && !known.contains_key(&change.guid) {
        return;
    }
    let endpoint = DiscoveredEndpoint {
        guid: change.guid,
        topic: name(change.topic),
        type_name: name(change.type_name),
        reliable: change.reliable,
        transient_local: change.transient_local,
        history_depth: (change.history_depth > 0).then_some(change.history_depth),
    };
    known.insert(change.guid, endpoint);
}

fn name(text: *const c_char) -> String {
    // SAFETY: an endpoint that is alive has its names, which are valid strings during the call.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: u32, alive: bool) -> ffi::Endpoint {
        let mut guid = [0; 16];
        guid[..4].copy_from_slice(&number.to_be_bytes());
        let (topic, type_name) = (c"rt/topic".as_ptr(), c"type".as_ptr());
        ffi::Endpoint {
            guid,
            alive,
            reliable: true,
            transient_local: false,
            history_depth: 0,
            topic,
            type_name,
        }
    }

    #[test]
    fn endpoints_beyond_the_limit_are_ignored_and_known_ones_are_not() {
        let mut known = HashMap::new();
        (0..10_000).for_each(|number| apply(&mut known, &change(number, true)));
        assert_eq!(known.len(), MAX_ENDPOINTS);
        apply(&mut known, &ffi::Endpoint { history_depth: 5, ..change(1, true) });
        assert_eq!(known[&change(1, true).guid].history_depth, Some(5));
        apply(&mut known, &change(1, false));
        apply(&mut known, &change(9_999, true));
        assert!(known.len() == MAX_ENDPOINTS && known.contains_key(&change(9_999, true).guid));
    }
}
