//! A session's place: a standby that wants more becomes a client, and a client that wants little is
//! a standby again.

use roverline_protocol::{Scope, ScopeSet};

use crate::dialect::session::Context;

/// What a standby may listen to.
const HOT: ScopeSet = ScopeSet::of(&[Scope::Emergency]);

impl Context {
    /// Whether the session only stands by: it listens to little or nothing.
    pub fn stands_by(&self) -> bool {
        self.info.place.is_standby()
    }

    /// The client says what it has received elsewhere: it has lost its endpoint.
    pub fn resumed(&self) {
        self.info.place.resumed();
    }

    /// Whether the session may subscribe to topics about these scopes (`None`: about all); the error
    /// says where there is room.
    pub fn may_subscribe(&self, scopes: Option<ScopeSet>) -> Result<(), String> {
        if scopes.is_some_and(|scopes| HOT.covers(scopes)) || self.info.place.become_client() {
            return Ok(());
        }
        self.endpoint.turned_away(&self.info.client());
        Err(self.endpoint.full_sentence())
    }

    /// Gives the place back of a client that came as a standby and listens to nothing more than one.
    pub fn settle(&self) {
        if self.endpoint.hub.listens_only_to(self.info.id, HOT) {
            self.info.place.become_standby();
        }
    }
}
