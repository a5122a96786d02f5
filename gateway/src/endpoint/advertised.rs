//! The services and actions that clients advertise into the ROS graph, by name.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_source::ros::ServedService;

use crate::connection::outbox::Outbox;

/// The advertised services of an endpoint. A client that reconnects advertises its services while its old
/// session still exists: the newer session serves them. One of another identity cannot take them over.
#[derive(Default)]
pub struct AdvertisedServices(Mutex<HashMap<String, Advertisement>>);

struct Advertisement {
    session: u64,
    /// The label of the session's identity.
    by: String,
    outbox: Arc<Outbox>,
    _served: Vec<ServedService>,
}

impl AdvertisedServices {
    /// Advertises what `serve` returns under this name. If another session advertises the name, it is
    /// replaced and gets the message that `replaced` builds.
    pub fn insert<E>(
        &self,
        (session, by): (u64, String),
        outbox: Arc<Outbox>,
        name: &str,
        replaced: impl FnOnce() -> Bytes,
        serve: impl FnOnce() -> Result<Vec<ServedService>, E>,
    ) -> Result<(), E> {
        let mut all = self.0.lock();
        // The old one is withdrawn first, because withdrawing it later would remove the new one.
        if let Some(old) = all.remove(name).filter(|old| old.session != session) {
            old.outbox.control(replaced());
        }
        all.insert(name.to_owned(), Advertisement { session, by, outbox, _served: serve()? });
        Ok(())
    }

    /// The identity that advertises this name, if it is not this one.
    pub fn other_owner(&self, by: &str, name: &str) -> Option<String> {
        let all = self.0.lock();
        all.get(name).map(|advertisement| advertisement.by.clone()).filter(|owner| owner != by)
    }

    /// Withdraws what a session advertises under this name; returns whether it did.
    pub fn remove(&self, session: u64, name: &str) -> bool {
        let mut all = self.0.lock();
        let own = all.get(name).is_some_and(|advertisement| advertisement.session == session);
        own && all.remove(name).is_some()
    }

    /// How many services and actions a session advertises.
    pub fn count(&self, session: u64) -> usize {
        self.0.lock().values().filter(|advertisement| advertisement.session == session).count()
    }

    /// Withdraws everything that a session advertises.
    pub fn remove_session(&self, session: u64) {
        self.0.lock().retain(|_, advertisement| advertisement.session != session);
    }
}
