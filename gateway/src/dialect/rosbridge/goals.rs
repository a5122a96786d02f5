//! The goals that a client has sent to action servers of the graph.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use roverline_source::ros::GoalId;

/// The active goals of one session, by the client's ids.
#[derive(Clone, Default)]
pub(super) struct Goals(Arc<Mutex<HashMap<String, (String, GoalId)>>>);

impl Goals {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<String, (String, GoalId)>> {
        self.0.lock()
    }
}
