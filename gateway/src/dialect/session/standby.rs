//! Changes between standby and client: a standby that subscribes to more becomes a client, and a client
//! that needs little becomes a standby again.

use roverline_protocol::{Scope, ScopeSet};

use crate::dialect::session::SessionContext;
use crate::endpoint::capacity::CapacityError;

/// The scopes that a standby may subscribe to.
const STANDBY_SCOPES: ScopeSet = ScopeSet::of(&[Scope::Emergency]);

impl SessionContext {
    /// Whether the session is a standby: it receives little or nothing.
    pub fn is_standby(&self) -> bool {
        self.info.slot().is_standby()
    }

    /// Lets the session use the reserve for clients that have lost their endpoint: it has received samples
    /// of this rover elsewhere.
    pub fn resumed(&self) {
        self.info.slot().mark_resumed();
    }

    /// Checks whether the session may subscribe to topics of these scopes (`None`: any scope). A
    /// rejection is recorded.
    pub fn authorize_subscribe(&self, scopes: Option<ScopeSet>) -> Result<(), CapacityError> {
        if scopes.is_some_and(|scopes| STANDBY_SCOPES.covers(scopes)) {
            return Ok(());
        }
        self.endpoint
            .become_client(self.info.slot())
            .inspect_err(|error| self.endpoint.record_rejection(&self.info.client(), *error))
    }

    /// Returns the client slot of a session that connected as a standby and no longer subscribes to more
    /// than one may.
    pub fn downgrade_to_standby(&self) {
        if self.endpoint.hub.listens_only_to(self.info.id, STANDBY_SCOPES) {
            self.info.slot().become_standby();
        }
    }
}
