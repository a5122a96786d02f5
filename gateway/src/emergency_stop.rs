//! The emergency stop: latched in a file shared by all endpoints of a computer, and published into ROS by
//! each of them until it is released. A relay has no latch: the rover's own gateway keeps it and confirms
//! each command.
//!
//! It is a software stop and never a replacement for the red button (ISO 13850).

mod error;
mod file;
mod latch;
mod latch_thread;
mod publisher;
mod state;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::limits;
use roverline_source::clock::unix_ns;
use roverline_source::{EmergencyStopRequest, PublishError, SourceControl};
use tokio::sync::oneshot;
use tracing::Span;

pub use crate::emergency_stop::error::StopError;
use crate::emergency_stop::file::LatchFile;
use crate::emergency_stop::latch::StopCommand;
use crate::emergency_stop::latch_thread::{Done, LatchThread};
use crate::emergency_stop::publisher::Published;
use crate::emergency_stop::state::Knowledge;
pub use crate::emergency_stop::state::StopState;
use crate::identity;
use crate::trace;

/// How long a start waits for the latch to be read.
const FIRST_READ: Duration = Duration::from_secs(1);
/// An engage is answered after this time even if the disk has not stored it: it is in effect already.
const STORE_WAIT: Duration = Duration::from_secs(1);
/// How long a release may take on disk, the wait for the lock included.
const RELEASE_WAIT: Duration = Duration::from_secs(3);
/// Longer than the source's own timeout, because the source gives a better reason.
const FORWARD: Duration = Duration::from_millis(limits::STOP_CONFIRM_MS + 500);

/// The emergency stop latch and its publisher.
pub struct EmergencyStop {
    topic: String,
    way: Destination,
    published: Mutex<Published>,
}

/// The destination of commands.
enum Destination {
    /// To the latch of this computer.
    Local(LatchThread),
    /// To the gateway that a relay reads from.
    Forwarded(Arc<dyn SourceControl>),
}

/// What the latch file of this state directory says, as a process reads it that starts there. For the fuzz
/// target: no damage reads as released.
pub fn stored_state(state_dir: &Path) -> StopState {
    Knowledge::of(LatchFile::new(state_dir).read()).state()
}

/// A command as a client gives it.
#[derive(Clone, Copy, Debug)]
pub struct StopRequest<'a> {
    /// The label of its identity.
    pub by: &'a str,
    /// Its id, one of this identity's.
    pub id: &'a str,
    /// Whether it engages the stop or releases it.
    pub engage: bool,
    /// The reason given.
    pub reason: &'a str,
}

/// The answer to a command that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopAnswer {
    /// What happened.
    pub message: String,
    /// Whether the stop is engaged now; a relay does not know.
    pub engaged: Option<bool>,
    /// Whether the command changed the state, as far as this process knows.
    pub changed: bool,
}

/// A command that has begun: an engage is in effect, a release waits for the disk.
#[must_use = "a release is not in effect before it is finished"]
pub struct BegunStop {
    engage: bool,
    changed: bool,
    note: String,
    outcome: Outcome,
}

enum Outcome {
    Known(Result<Done, StopError>),
    Disk(oneshot::Receiver<Result<Done, StopError>>),
    Rover(oneshot::Receiver<Result<String, PublishError>>),
}

impl EmergencyStop {
    /// Uses the latch in this state directory and publishes on `topic` (std_msgs/msg/Bool).
    pub fn new(state_dir: &Path, topic: &str) -> Arc<EmergencyStop> {
        let latch = LatchThread::start(LatchFile::new(state_dir), FIRST_READ);
        Arc::new(EmergencyStop {
            topic: topic.to_owned(),
            way: Destination::Local(latch),
            published: Mutex::default(),
        })
    }

    /// Forwards every command to the gateway that this source reads from.
    pub fn forwarded(source: Arc<dyn SourceControl>) -> Arc<EmergencyStop> {
        let (topic, way) = (String::new(), Destination::Forwarded(source));
        Arc::new(EmergencyStop { topic, way, published: Mutex::default() })
    }

    /// Begins a command. A local engage is in effect when this returns: it waits for nothing.
    pub fn begin(&self, request: StopRequest<'_>) -> BegunStop {
        let StopRequest { by, id, engage, reason } = request;
        match &self.way {
            Destination::Forwarded(source) => forward(source.as_ref(), request),
            Destination::Local(latch) if engage => begin_engage(latch, request),
            Destination::Local(latch) => {
                let command = StopCommand::new(id, false, reason, unix_ns()).by(by);
                let outcome = match latch.release(command) {
                    Ok(answer) => Outcome::Disk(answer),
                    Err(error) => Outcome::Known(Err(error)),
                };
                BegunStop { engage, changed: false, note: String::new(), outcome }
            }
        }
    }

    /// Waits for the disk or the rover. `Ok` means that the command is in effect; the message says if an
    /// engage could not be stored.
    pub async fn finish(&self, begun: BegunStop) -> Result<StopAnswer, StopError> {
        let BegunStop { engage, changed, note, outcome } = begun;
        let stored = match outcome {
            Outcome::Known(result) => result,
            Outcome::Rover(answer) => return confirmed(answer, engage).await,
            Outcome::Disk(answer) => {
                let wait = if engage { STORE_WAIT } else { RELEASE_WAIT };
                match tokio::time::timeout(wait, answer).await {
                    Ok(Ok(result)) => result,
                    // Newer commands took its place.
                    Ok(Err(_)) => Err(StopError::Busy(latch_thread::WAITING_COMMANDS)),
                    Err(_) => Err(StopError::Slow(wait)),
                }
            }
        };
        let engaged = self.read().engaged;
        let message = match &stored {
            Ok(Done::Engaged) => format!("emergency stop engaged{note}"),
            Err(why) if engage => format!("emergency stop engaged{note}, but not stored: {why}"),
            Err(why) => return Err(why.clone()),
            Ok(Done::Released) => "emergency stop released".to_owned(),
            Ok(Done::NotEngaged) => "the emergency stop was not engaged".to_owned(),
            Ok(Done::Repeated) if engaged => {
                "already done; the emergency stop was engaged again since: release it with a new id"
                    .to_owned()
            }
            Ok(Done::Repeated) => "already done: the emergency stop is released".to_owned(),
        };
        let changed = changed || matches!(stored, Ok(Done::Released));
        Ok(StopAnswer { message, engaged: Some(engaged), changed })
    }

    /// Whether the stop is known to be in this state already, and no release is on its way.
    pub fn is_state(&self, engaged: bool) -> bool {
        matches!(&self.way, Destination::Local(latch) if latch.is_settled(engaged))
    }

    /// The state of the latch; a relay has none, and reads as not engaged.
    pub fn read(&self) -> StopState {
        self.local_state().unwrap_or_default()
    }

    /// The state of the latch; `None` at a relay, which does not know it.
    pub fn local_state(&self) -> Option<StopState> {
        match &self.way {
            Destination::Local(latch) => Some(latch.state()),
            Destination::Forwarded(_) => None,
        }
    }

    /// Whether the source has taken the present state, so that the rover hears it.
    pub fn is_published(&self) -> bool {
        self.published.lock().has(self.read().engaged)
    }

    /// The topic on which it is published.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Publishes the latch forever: at each change until the publisher accepts it, and if `repeated` once a
    /// second while engaged.
    pub async fn publish(&self, publisher: Arc<dyn SourceControl>, repeated: bool) {
        if let Destination::Local(latch) = &self.way {
            publisher::run(latch.changes(), publisher, &self.topic, repeated, &self.published).await;
        }
    }
}

fn begin_engage(latch: &LatchThread, request: StopRequest<'_>) -> BegunStop {
    let StopRequest { by, id, reason, .. } = request;
    let (now_ns, before) = (unix_ns(), latch.state());
    let id = if id.is_empty() { format!("engage-{}-{now_ns}", std::process::id()) } else { id.to_owned() };
    let command = StopCommand::new(&id, true, reason, now_ns).by(by);
    let same = (&before.id, &before.by) == (&command.id, &command.by);
    if before.stored && same && latch.is_settled(true) {
        let outcome = Outcome::Known(Ok(Done::Engaged));
        return BegunStop { engage: true, changed: false, note: " already".to_owned(), outcome };
    }
    let note = match latch.has_released(&command) {
        true => "; its id has released it before: use each id once".to_owned(),
        false => String::new(),
    };
    let outcome = Outcome::Disk(latch.engage(command));
    BegunStop { engage: true, changed: !before.engaged, note, outcome }
}

fn forward(source: &dyn SourceControl, request: StopRequest<'_>) -> BegunStop {
    let StopRequest { by, id, engage, reason } = request;
    let (answer, answered) = oneshot::channel();
    // To the rover, all ids of a relay's clients are the relay's.
    let id = if id.is_empty() { String::new() } else { identity::own_id(by, id) };
    let StopCommand { id, reason, .. } = StopCommand::new(&id, engage, reason, 0);
    let traceparent = trace::context_of(&Span::current()).map(|context| context.to_string());
    let request = EmergencyStopRequest { id, engage, reason, traceparent, answer };
    let outcome = match source.forward_emergency_stop(request) {
        Ok(()) => Outcome::Rover(answered),
        Err(error) => Outcome::Known(Err(StopError::Forward(error))),
    };
    BegunStop { engage, changed: true, note: String::new(), outcome }
}

/// The rover's confirmation of a forwarded command.
async fn confirmed(
    answer: oneshot::Receiver<Result<String, PublishError>>,
    engage: bool,
) -> Result<StopAnswer, StopError> {
    let message = match tokio::time::timeout(FORWARD, answer).await {
        Ok(Ok(answer)) => answer?,
        Ok(Err(_)) | Err(_) => return Err(StopError::Forward(PublishError::Unconfirmed)),
    };
    // A repeated release may leave the stop engaged.
    Ok(StopAnswer { message, engaged: engage.then_some(true), changed: true })
}
