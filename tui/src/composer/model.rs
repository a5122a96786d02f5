//! State of the composer.

use std::time::Duration;

use roverline_protocol::api::authority::AuthorityList;
use roverline_protocol::api::commands::{CommandDocument, CommandKind, CommandRequest, CommandState};
use uuid::Builder;

use crate::composer::catalogue::{Target, find};
use crate::composer::form::Form;
use crate::composer::saved::SavedCommands;

/// Characters of the query.
const QUERY_CHARS: usize = 64;
/// States of a command that are shown.
const MAX_STATES: usize = 8;

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// The targets.
    #[default]
    Pick,
    /// The form.
    Fill,
    /// What became of the command.
    Sent,
}

/// A command that was sent from here.
#[derive(Clone, Debug, PartialEq)]
pub struct SentCommand {
    /// As it was sent.
    pub request: CommandRequest,
    /// Its states, oldest first, and when each came.
    pub states: Vec<(CommandState, Duration)>,
    /// What the gateway knows of it.
    pub document: Option<CommandDocument>,
    /// Why it was refused, or why nothing is known of it.
    pub problem: Option<String>,
    /// When it was sent.
    pub at: Duration,
    /// The watch of it.
    pub watch: Option<u64>,
}

impl SentCommand {
    /// Takes what the gateway says about it.
    pub fn take(&mut self, document: CommandDocument, now: Duration) {
        // An answer that was overtaken.
        let is_final = self.document.as_ref().is_some_and(|known| known.state.is_final());
        if document.id != self.request.id || (is_final && !document.state.is_final()) {
            return;
        }
        let is_new = self.states.last().is_none_or(|(state, _)| *state != document.state);
        if is_new && self.states.len() < MAX_STATES {
            self.states.push((document.state, now));
        }
        (self.document, self.problem) = (Some(document), None);
    }
}

/// The state.
#[derive(Debug, Default)]
pub struct State {
    /// What is shown.
    pub stage: Stage,
    /// Only targets of this kind.
    pub kind: Option<CommandKind>,
    /// Letters of the wanted target.
    pub query: String,
    /// The selected target among those that are found.
    pub cursor: usize,
    /// Everything a command can be sent to.
    pub targets: Vec<Target>,
    /// Services and their types, as the gateway has listed them.
    pub services: Vec<(String, String)>,
    /// The target of the form.
    pub target: Option<Target>,
    /// The form.
    pub form: Form,
    /// Why there is none.
    pub problem: Option<String>,
    /// The field that is being typed.
    pub field: usize,
    /// The command of earlier days that is filled in.
    pub recalled: Option<usize>,
    /// Who has which authority.
    pub authority: Option<AuthorityList>,
    /// The last command that was sent.
    pub sent: Option<SentCommand>,
    /// Commands of earlier days.
    pub saved: SavedCommands,
    /// Random bits, for ids.
    pub seed: u64,
    /// Commands sent so far.
    pub count: u16,
}

impl State {
    /// The targets that the query finds, best first.
    pub fn found(&self) -> Vec<&Target> {
        find(&self.targets, &self.query, self.kind)
    }

    /// The text that is being typed, and how long it may be.
    pub fn typed(&mut self) -> Option<(&mut String, usize)> {
        match self.stage {
            Stage::Pick => Some((&mut self.query, QUERY_CHARS)),
            Stage::Fill => {
                let field = self.form.fields.get_mut(self.field)?;
                Some((&mut field.typed, crate::composer::form::VALUE_CHARS))
            }
            Stage::Sent => None,
        }
    }

    /// A new id: UUID version 7, by the wall clock, the console's random bits and a counter.
    pub fn next_id(&mut self, wall_ns: i64) -> String {
        self.count = self.count.wrapping_add(1);
        let mut bits = [0; 10];
        bits[..2].copy_from_slice(&self.count.to_be_bytes());
        bits[2..].copy_from_slice(&self.seed.to_be_bytes());
        let millis = u64::try_from(wall_ns / 1_000_000).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &bits).into_uuid().hyphenated().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_version_7() {
        let mut state = State { seed: 0x1234_5678_9abc_def0, ..State::default() };
        let mut other = State { seed: 0x1234_5678_9abc_def1, ..State::default() };
        let ids = [state.next_id(1_700_000_000_000_000_000), state.next_id(1_700_000_000_000_000_000)];
        assert!(ids[0] != ids[1] && other.next_id(1_700_000_000_000_000_000) != ids[0]);
        assert_eq!(uuid::Uuid::parse_str(&ids[0]).map(|id| id.get_version_num()), Ok(7));
        assert_eq!(uuid::Uuid::parse_str(&state.next_id(i64::MIN)).map(|id| id.get_version_num()), Ok(7));
    }
}
