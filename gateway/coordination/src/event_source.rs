//! Event sources: derive domain events from changes of the store.

use crate::events::NewEvent;
use crate::store::{Change, Entry};

/// A source of domain events: the keys it watches and the events their changes mean.
pub(crate) trait EventSource {
    /// The name of its checkpoint.
    fn name(&self) -> &'static str;

    /// The prefix of the keys it watches.
    fn prefix(&self) -> &'static str;

    /// Whether it needs the state before the first change.
    fn is_seeded(&self) -> bool {
        false
    }

    /// Receives the state before the first change.
    fn seed(&mut self, _entries: &[Entry]) {}

    /// The events of one revision's changes.
    fn events(&mut self, changes: &[Change]) -> Vec<NewEvent>;
}
