//! Closures that the library's listeners call.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::{ffi, library};

/// The callback for arriving data.
pub(crate) type OnData = Box<dyn Fn() + Send + Sync>;

/// The closures of one entity. The entity's listeners have its address, so it lives until the entity is deleted.
pub(crate) struct Wake {
    on_data: Option<OnData>,
    on_change: RwLock<Vec<Arc<dyn Fn() + Send + Sync>>>,
}

impl Wake {
    pub(crate) fn new(on_data: Option<OnData>) -> Wake {
        Wake { on_data, on_change: RwLock::default() }
    }

    /// Adds what is called when the discovered or matched endpoints change.
    pub(crate) fn on_change(&self, closure: impl Fn() + Send + Sync + 'static) {
        self.on_change.write().push(Arc::new(closure));
    }

    /// The pointer that the shim keeps with a listener and passes to [`roverline_on_wake`].
    pub(crate) fn context(self: &Arc<Self>) -> *const c_void {
        Arc::as_ptr(self).cast()
    }

    fn call(&self, event: i32) {
        if event == ffi::EVENT_DATA {
            self.on_data.iter().for_each(|closure| closure());
        } else {
            // Without the lock, so that a closure may add another.
            let closures = self.on_change.read().clone();
            closures.iter().for_each(|closure| closure());
        }
    }
}

/// Called by the listeners of all entities. A panic of a closure ends here.
pub(crate) extern "C" fn roverline_on_wake(context: *const c_void, event: i32) {
    // SAFETY: the context is the address of a `Wake` (`Wake::context`). Its entity owns it through an `Arc` that it
    // drops only after the deletion of the entity, which waits for listeners that run and prevents new ones.
    let wake = unsafe { &*context.cast::<Wake>() };
    if catch_unwind(AssertUnwindSafe(|| wake.call(event))).is_err() {
        library::log_panic();
    }
}
