//! Commands: what a client does to the rover, done once at whichever endpoint and however often it is sent, and never after its
//! time to live. The journal of ids is in the shared store; without it no command is accepted, except the emergency stop, which
//! has its own way.

mod check;
mod dispatch;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use roverline_coordination::commands::{Begun, JournalEntry, JournalError};
use roverline_coordination::events::{Expected, NewEvent};
use roverline_protocol::Tier;
use roverline_protocol::api::commands::{CommandDocument, CommandKind, CommandState};
use roverline_source::clock::{monotonic, unix_ns};
use serde_json::Value;
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::authority::{AuthorityRefused, Guards};
use crate::endpoint::authority::{CommandRefused, Commander, GuardedRover};
pub use crate::endpoint::commands::check::{CheckedCommand, CommandInvalid, DEFAULT_MS, TTL_MS, age};
use crate::endpoint::commands::dispatch::Outcome;
use crate::identity;
use crate::trace;

/// Commands of one endpoint under way.
const RUNNING: usize = 64;
/// How long a repeated command waits for the outcome of the first one, beyond the time limits of both.
const KNOWN_WAIT: Duration = Duration::from_millis(1_000);
/// Interval at which it looks.
const KNOWN_POLL: Duration = Duration::from_millis(50);
/// Interval at which a client that has to acquire the authority first looks whether it has it.
const ACQUIRE_POLL: Duration = Duration::from_millis(5);

/// Why a command is not accepted. Nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not valid.
    #[error(transparent)]
    Invalid(#[from] CommandInvalid),
    /// The client may not do it now.
    #[error(transparent)]
    Refused(#[from] CommandRefused),
    /// The journal does not take it.
    #[error("{0}; no command is accepted without the journal, except the emergency stop")]
    Journal(JournalError),
    /// The id belongs to another command.
    #[error(transparent)]
    IdUsed(JournalError),
    /// The target is not in the scopes of the endpoint.
    #[error("{target} is not in the scope of the {tier} endpoint; use the primary one")]
    NotServed {
        /// The target.
        target: String,
        /// The tier of the endpoint.
        tier: Tier,
    },
    /// Too many are under way.
    #[error("{RUNNING} commands are under way at this endpoint: try again")]
    Busy,
    /// The task that executed it ended.
    #[error("it is not known whether it was done: ask for its id")]
    Lost,
}

impl From<JournalError> for CommandError {
    fn from(error: JournalError) -> CommandError {
        match error {
            JournalError::IdUsed(_) => CommandError::IdUsed(error),
            _ => CommandError::Journal(error),
        }
    }
}

/// Executes the commands of one endpoint.
pub struct Commands {
    rover: GuardedRover,
    guards: Arc<Guards>,
    tier: Tier,
    running: Arc<Semaphore>,
}

impl Commands {
    /// Commands over this rover.
    pub fn new(rover: GuardedRover, guards: Arc<Guards>, tier: Tier) -> Commands {
        Commands { rover, guards, tier, running: Arc::new(Semaphore::new(RUNNING)) }
    }

    /// Executes a command if this endpoint serves its target, or returns the outcome of the first one with its id. It
    /// goes on if the caller is gone.
    pub async fn execute(
        self: &Arc<Self>,
        command: CheckedCommand,
        commander: Commander,
        is_served: bool,
    ) -> Result<CommandDocument, CommandError> {
        let permit = self.running.clone().try_acquire_owned().map_err(|_| CommandError::Busy)?;
        let this = self.clone();
        let running = async move {
            let _permit = permit;
            this.run(command, commander, is_served).await
        };
        tokio::spawn(running.in_current_span()).await.map_err(|_| CommandError::Lost)?
    }

    async fn run(
        &self,
        command: CheckedCommand,
        commander: Commander,
        is_served: bool,
    ) -> Result<CommandDocument, CommandError> {
        let deadline = monotonic() + command.ttl.saturating_sub(command.age);
        let journal = &self.rover.coordination.commands;
        // Whoever sends it again gets the first answer, whoever holds the authority by now.
        if let Some(known) = journal.get(&command.id).await.map_err(CommandError::from)? {
            return self.known(&command, known).await;
        }
        if !is_served {
            return Err(CommandError::NotServed { target: command.target, tier: self.tier });
        }
        let token = self.admit(&command, &commander, deadline).await?;
        let mut document = CommandDocument { token, ..self.document(&command, &commander) };
        match journal.begin(&command.id, &command.fingerprint, to_value(&document)).await? {
            Begun::New => {}
            Begun::Known(entry) => return self.known(&command, entry).await,
        }
        let outcome = match monotonic() < deadline {
            true => self.dispatch(&command, commander, token, &mut document).await,
            false => Outcome::expired(command.ttl),
        };
        outcome.record(&mut document);
        document.finished_ns = Some(unix_ns());
        let value = to_value(&document);
        if let Err(error) = journal.update(&command.id, &command.fingerprint, value, true).await {
            tracing::warn!(id = command.id, %error, "the outcome of a command is not in the journal");
        }
        self.log(&document);
        Ok(document)
    }

    /// Admits it to a guarded target, and acquires a free authority first: the fencing token; `None` if it is not guarded.
    async fn admit(
        &self,
        command: &CheckedCommand,
        commander: &Commander,
        deadline: Duration,
    ) -> Result<Option<u64>, CommandError> {
        let guard = match command.kind {
            CommandKind::Publish => self.guards.of_topic(&command.target),
            CommandKind::Call | CommandKind::Goal => self.guards.of_service(&command.target),
            // To cancel is to stop: whoever may do it needs no authority.
            CommandKind::Cancel | CommandKind::Parameter => None,
        };
        let Some(guard) = guard else { return Ok(None) };
        loop {
            let admission = self.rover.admit_call(guard, commander.clone());
            match admission.map_err(CommandRefused::from)? {
                crate::authority::Admission::Granted(token) => return Ok(Some(token)),
                _ if monotonic() >= deadline => {
                    let problem = "it could not be acquired in time".to_owned();
                    let name = guard.name().to_owned();
                    return Err(CommandRefused::from(AuthorityRefused::Unconfirmed { name, problem }).into());
                }
                _ => tokio::time::sleep(ACQUIRE_POLL).await,
            }
        }
    }

    /// The outcome of the first command with this id, as soon as it is known.
    async fn known(
        &self,
        command: &CheckedCommand,
        mut entry: JournalEntry,
    ) -> Result<CommandDocument, CommandError> {
        if entry.fingerprint != command.fingerprint {
            return Err(CommandError::IdUsed(JournalError::IdUsed(command.id.clone())));
        }
        let patience = monotonic() + command.ttl + command.timeout + KNOWN_WAIT;
        while !entry.finished && monotonic() < patience {
            tokio::time::sleep(KNOWN_POLL).await;
            match self.rover.coordination.commands.get(&command.id).await? {
                Some(newer) => entry = newer,
                None => break,
            }
        }
        let mut document: CommandDocument =
            serde_json::from_value(entry.document).map_err(|_| CommandError::Lost)?;
        if !entry.finished && !document.state.is_final() && document.goal_id.is_none() {
            document.state = CommandState::Failed;
            document.reason = Some(
                "the endpoint that had it ended before it knew the outcome: it may have been done, and is not done again"
                    .to_owned(),
            );
        }
        Ok(document)
    }

    fn document(&self, command: &CheckedCommand, commander: &Commander) -> CommandDocument {
        let context = trace::context_of(&tracing::Span::current());
        CommandDocument {
            id: command.id.clone(),
            kind: command.kind,
            target: command.target.clone(),
            type_name: command.type_name.clone(),
            state: CommandState::Accepted,
            reason: None,
            verified_by: None,
            result: None,
            goal_id: None,
            token: None,
            by: commander.claimant.identity.clone(),
            client: command.client.clone(),
            endpoint: self.tier.name().to_owned(),
            received_ns: unix_ns(),
            dispatched_ns: None,
            finished_ns: None,
            trace_id: context.map(|context| context.trace_id.to_string()),
        }
    }

    /// Appends the outcome to the event log; nobody waits for it.
    fn log(&self, document: &CommandDocument) {
        let shown = CommandDocument { result: None, ..document.clone() };
        let event = NewEvent {
            stream: format!("command/{}", document.kind.word()),
            kind: format!("command.{}", document.state.word()),
            at_ns: unix_ns(),
            data: to_value(&shown),
            by: identity::log_name(&document.by),
            client: identity::log_name(&document.client),
            id: Some(format!("command-{}", document.id)),
            correlation_id: Some(document.id.clone()),
            trace: trace::context_of(&tracing::Span::current()).map(|context| context.to_string()),
            ..NewEvent::default()
        };
        let coordination = self.rover.coordination.clone();
        tokio::spawn(async move {
            if let Err(error) = coordination.events.append(event, Expected::Any).await {
                tracing::warn!(%error, "a command is not in the event log");
            }
        });
    }
}

fn to_value(document: &CommandDocument) -> Value {
    // Our own types always serialize.
    serde_json::to_value(document).unwrap_or_default()
}
