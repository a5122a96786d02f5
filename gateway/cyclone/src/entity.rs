//! An entity of the library, and the closures that its listeners call.

use std::sync::Arc;

use crate::error::Error;
use crate::wake::Wake;
use crate::{ffi, library};

/// Owns an entity: it is deleted when this is dropped, and only then are its closures.
pub(crate) struct Entity {
    handle: i32,
    wake: Option<Arc<Wake>>,
}

impl Entity {
    /// Takes over what a function of the shim has created: a handle, or an error code. `wake` is what its listeners
    /// were given.
    pub(crate) fn new(what: &'static str, created: i32, wake: Option<Arc<Wake>>) -> Result<Entity, Error> {
        library::check(what, created).map(|handle| Entity { handle, wake })
    }

    pub(crate) fn handle(&self) -> i32 {
        self.handle
    }

    /// Adds what is called when the matched endpoints change.
    pub(crate) fn on_change(&self, closure: impl Fn() + Send + Sync + 'static) {
        if let Some(wake) = &self.wake {
            wake.on_change(closure);
        }
    }

    pub(crate) fn guid(&self) -> Result<[u8; 16], Error> {
        let mut guid = [0; 16];
        // SAFETY: the pointer is valid for 16 bytes during the call.
        let code = unsafe { ffi::roverline_guid(self.handle, &mut guid) };
        library::check("reading a GUID", code).map(|_| guid)
    }
}

impl Drop for Entity {
    fn drop(&mut self) {
        // First the entity: this waits for listeners that run, and afterwards none runs.
        // SAFETY: the handle is an entity that this owns; deleting it twice would only return an error.
        unsafe { ffi::roverline_delete(self.handle) };
        // Then the closures, which are not called any more.
        drop(self.wake.take());
    }
}
