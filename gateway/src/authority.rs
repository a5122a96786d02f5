//! Authority: of what moves the rover, one client at a time may command each part. An authority is a lock of the
//! coordination store with the name of the part; the guard of each endpoint passes the commands of its holder only, and
//! every endpoint stops the part when its holder falls silent.

pub mod claimant;
pub mod command_file;
pub mod guard;
pub mod silence;
#[cfg(test)]
mod tests;
pub mod velocity;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roverline_coordination::locks::LockView;
use roverline_coordination::store::Revision;

pub use crate::authority::claimant::{Admission, AuthorityHolder, AuthorityRefused, Claimant};
pub use crate::authority::guard::{Guard, PendingCommand};
use crate::config::Authorities;

/// The guards of one endpoint.
pub struct Guards(Vec<Arc<Guard>>);

impl Guards {
    /// The guards of these authorities; their commands are recorded in `directory`.
    pub fn new(settings: &Authorities, directory: &Path) -> Guards {
        let directory = directory.join("authority");
        Guards(
            settings.0.iter().map(|settings| Arc::new(Guard::open(settings.clone(), &directory))).collect(),
        )
    }

    /// No guards: a relay's rover has its own.
    pub fn none() -> Guards {
        Guards(Vec::new())
    }

    /// All of them, in the order of the configuration.
    pub fn all(&self) -> &[Arc<Guard>] {
        &self.0
    }

    /// The guard of this topic: the first whose patterns match.
    pub fn of_topic(&self, topic: &str) -> Option<&Arc<Guard>> {
        self.0.iter().find(|guard| guard.guards_topic(topic))
    }

    /// The guard of this service or action.
    pub fn of_service(&self, name: &str) -> Option<&Arc<Guard>> {
        self.0.iter().find(|guard| guard.guards_service(name))
    }

    /// Takes over the locks as the store had them at `revision`, read at `now` (monotonic).
    pub fn set_locks(&self, locks: &[LockView], revision: Revision, now: Duration) {
        for guard in &self.0 {
            guard.set_lock(locks.iter().find(|lock| lock.resource == guard.name()), revision, now);
        }
    }

    /// Records that the locks could not be read.
    pub fn set_problem(&self, why: &str) {
        self.0.iter().for_each(|guard| guard.set_problem(why));
    }
}
