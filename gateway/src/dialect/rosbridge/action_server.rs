//! Actions that clients serve.

use serde_json::Value;

use super::request::Id;
use super::session::{Done, Session, full_name, refused};
use crate::session::Context;

/// The actions of one session.
pub(super) struct ActionServers;

impl ActionServers {
    pub(super) fn new(context: &Context) -> ActionServers {
        let _ = context;
        ActionServers
    }
}

impl Session<'_> {
    /// Offers an action to the graph.
    pub(super) fn advertise_action(&mut self, action: String, type_name: &str) -> Done {
        let _ = type_name;
        let name = full_name(&action)?;
        refused(format!("{name}: actions are not served through this gateway"))
    }

    /// Offers it no longer.
    pub(super) fn unadvertise_action(&mut self, action: &str) -> Done {
        let name = full_name(action)?;
        refused(format!("you do not offer {name}"))
    }

    /// The client tells how far a goal is.
    pub(super) fn action_feedback(&mut self, id: &Id, action: &str, values: Value) -> Done {
        let _ = (id, values);
        self.unadvertise_action(action)
    }

    /// The client tells what a goal came to.
    pub(super) fn action_result(
        &mut self,
        id: &Id,
        action: &str,
        values: Value,
        status: i8,
        result: bool,
    ) -> Done {
        let _ = (id, values, status, result);
        self.unadvertise_action(action)
    }
}
